"""Two small models, and a service of them that is asked without a port."""

import asyncio

import httpx
import pytest

import plainnet
from plainnet.service.guard import allowed_hosts
from plainnet.service.service import Limits, Service, read_models, service_of
from tests.helpers import people


def rows_of(n=3):
    """Rows of the model 'rich', as a client sends them."""
    return people().drop("income", "rich").head(n).to_dicts()


@pytest.fixture(scope="session")
def paths(tmp_path_factory):
    """Model files: 'rich' predicts classes of columns of every kind, 'income' numbers."""
    folder, table = tmp_path_factory.mktemp("models"), people()
    settings = {"members": 1, "epochs": 3, "hidden": (8,)}
    plainnet.NetClassifier(**settings).fit(table.drop("income"), "rich").save(folder / "rich.safetensors")
    plainnet.NetRegressor(**settings).fit(table.select("age", "town", "income"), "income").save(
        folder / "i.safetensors"
    )
    return {"rich": folder / "rich.safetensors", "income": folder / "i.safetensors"}


class Client:
    """Asks an app, each time in a loop of its own."""

    def __init__(self, service, app):
        self.service, self.app = service, app

    def __call__(self, method, path, **how):
        return self.all([(method, path, how)])[0]

    def all(self, asked):
        """Send requests at once: (method, path, options), … -> answers."""

        async def ask():
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
                return await asyncio.gather(*(client.request(method, path, **how) for method, path, how in asked))

        return asyncio.run(ask())

    def predict(self, body, path="/predict"):
        return self("POST", path, json=body)


@pytest.fixture
def make(paths):
    """Limits, a token -> a client of a new service."""
    made = []

    def client(token=None, **limits):
        limits = Limits(**limits)
        service = Service(read_models(paths, limits), limits, needs_token=token is not None)
        made.append(service)
        return Client(service, service_of(service, hosts=allowed_hosts("127.0.0.1", 8000), token=token))

    yield client
    for service in made:
        service.close()


@pytest.fixture
def ask(make):
    """A client of a service with the usual limits."""
    return make()
