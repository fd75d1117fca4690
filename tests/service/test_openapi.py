"""The OpenAPI document is what the service does: schemathesis makes requests of it, good and bad, and finds nothing."""

import contextlib

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from plainnet.service.requests import Limits, Service
from plainnet.service.service import read_models, service_of
from tests.service.conftest import rows_of

#: The forms whose schema says what is right: a string of CSV that fits nothing is valid to its schema.
MEDIA = "application/json"


@pytest.fixture(scope="module")
def app(paths):
    limits = Limits()
    service = Service(read_models(paths, limits), limits)
    yield service_of(service, hosts=["localhost", "testserver"])
    service.close()


@pytest.fixture(scope="module")
def api(app):
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def says_all(case):
    """Whether the schema says all there is to say about a body: not that lists are as long as each other, or what CSV holds."""
    lists = case.body.get("columns") if isinstance(case.body, dict) else None
    is_rows = case.operation.label == "POST /models/income/predict" and case.media_type == MEDIA
    return case.operation.method == "get" or (is_rows and (lists is None or len({*map(len, lists.values())}) == 1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_the_service_does_what_its_description_says(api, mode):
    asked = set()
    for result in api.get_all_operations():
        operation = result.ok()
        strategy = operation.as_strategy(generation_mode=mode)

        @given(case=strategy)
        @settings(
            max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        def check(case):
            asked.add(case.operation.label)
            case.call_and_validate(excluded_checks=[] if says_all(case) else [positive_data_acceptance])

        with contextlib.suppress(Unsatisfiable):
            check()
    assert {"POST /predict", "POST /v2/models/rich/infer"} <= asked


def test_the_description_names_every_column(ask):
    document = ask("GET", "/openapi.json").json()
    row = document["components"]["schemas"]["rich.Row"]
    assert row["required"] == ["age", "town", "member", "joined"]
    assert row["properties"]["age"]["type"] == ["number", "null"]
    assert (
        "18 … 79 in the training rows. Missing in 28 of the training rows." in row["properties"]["age"]["description"]
    )
    assert "One of: " in row["properties"]["town"]["description"]
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"][MEDIA]["example"]
    assert ask.predict(example).status_code == 200
    assert set(rows_of(1)[0]) - set(row["properties"]) == set()
