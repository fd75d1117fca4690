"""The service, asked without a port: forms, batches, limits, the protocol, metrics, new files."""

import asyncio
import gzip
import io
import json
import os
import shutil
import threading

import httpx
import numpy as np
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

import plainnet
from plainnet.errors import ModelFileError, RunError, SettingError
from plainnet.service import requests as front
from plainnet.service.models import follow, name_models, read
from plainnet.service.service import Limits, Service, read_models, serve, service_of
from tests.helpers import people
from tests.service.conftest import rows_of

TABLE = people().drop("income", "rich")
STREAM, FILE = "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"


def written(table, media):
    """A table as CSV or Arrow."""
    buffer = io.BytesIO()
    if media == "text/csv":
        table.write_csv(buffer)
    elif media == STREAM:
        table.write_ipc_stream(buffer)
    else:
        table.write_ipc(buffer, compression="uncompressed")
    return buffer.getvalue()


def read_answer(reply):
    """The answer's table."""
    media, data = reply.headers["content-type"], io.BytesIO(reply.content)
    return {"text/csv": pl.read_csv, STREAM: pl.read_ipc_stream, FILE: pl.read_ipc}[media](data)


@pytest.mark.parametrize("media", ["text/csv", STREAM, FILE])
def test_every_form_in_and_out_gives_what_the_estimator_predicts(ask, paths, media):
    probabilities = plainnet.load(paths["rich"]).predict_proba(TABLE)
    classes = plainnet.load(paths["rich"]).predict(TABLE).tolist()
    as_json = ask.predict({"rows": TABLE.to_dicts()}).json()
    assert as_json["predictions"] == classes
    assert as_json["classes"] == ["no", "yes"]
    assert np.allclose(as_json["probabilities"], probabilities, atol=1e-6)
    headers = {"content-type": media, "accept": media}
    found = read_answer(ask("POST", "/models/rich/predict", content=written(TABLE, media), headers=headers))
    assert found.columns == ["prediction", "probability no", "probability yes"]
    assert found["prediction"].to_list() == classes
    assert np.allclose(found["probability yes"].to_numpy(), probabilities[:, 1], atol=1e-6)


def test_numbers_are_answered_as_numbers(ask, paths):
    table = people().select("age", "town")
    found = ask.predict(table.to_dicts(), "/models/income/predict").json()
    assert set(found) == {"predictions"}
    assert np.allclose(found["predictions"], plainnet.load(paths["income"]).predict(table))


def test_quantiles_and_labels_have_their_names(make, paths, tmp_path):
    table = people(120)
    settings = {"members": 1, "epochs": 2, "hidden": (4,)}
    spread = plainnet.NetRegressor(quantiles=[0.1, 0.9], **settings).fit(table.select("age", "income"), "income")
    spread.save(tmp_path / "q.safetensors")
    labels = np.random.RandomState(0).randint(0, 2, (120, 2))
    plainnet.NetClassifier(**settings).fit(table.select("town", "member"), labels).save(tmp_path / "l.safetensors")
    limits = Limits()
    models = read_models({"q": tmp_path / "q.safetensors", "l": tmp_path / "l.safetensors"}, limits)
    service = Service(models, limits)
    ask = make()
    ask.app = service_of(service, hosts=["127.0.0.1:8000"])
    csv = {"accept": "text/csv"}
    found = ask("POST", "/predict", json={"age": 31}, headers=csv)
    assert found.text.splitlines()[0] == "quantile 0.1,quantile 0.9"
    assert ask.predict({"age": 31}).json()["quantiles"] == [0.1, 0.9]
    row = {"town": "Ulm", "member": True}
    found = ask("POST", "/models/l/predict", json=row, headers=csv)
    assert found.text.splitlines()[0] == "label 0,label 1,probability 0,probability 1"
    outputs = ask("GET", "/v2/models/l").json()["outputs"]
    assert [output["shape"] for output in outputs] == [[-1, 2], [-1, 2]]
    service.close()


def test_requests_that_come_together_are_predicted_together_and_scattered_in_order(ask, monkeypatch):
    sizes, began = [], threading.Event()
    whole = front.answer

    def slow(estimator, table):
        sizes.append(len(table["age"]))
        if len(sizes) == 1:
            began.wait(0.2)  # so that the others wait meanwhile
        return whole(estimator, table)

    expected = ask.predict(TABLE.head(60).to_dicts()).json()["probabilities"]
    monkeypatch.setattr(front, "answer", slow)
    asked = [("POST", "/predict", {"json": row}) for row in TABLE.head(60).to_dicts()]
    replies = ask.all(asked)
    assert np.allclose([reply.json()["probabilities"][0] for reply in replies], expected, atol=1e-6)
    assert sum(sizes) == 60
    assert len(sizes) <= 10


def test_one_requests_trouble_is_not_the_others(ask, monkeypatch):
    whole = front.answer

    def picky(estimator, table):
        if 77 in list(table["age"]):
            raise RuntimeError("no")
        return whole(estimator, table)

    monkeypatch.setattr(front, "answer", picky)
    rows = [row | {"age": 77.0 if k == 3 else 30.0} for k, row in enumerate(rows_of(8))]
    replies = ask.all([("POST", "/predict", {"json": row}) for row in rows])
    assert [reply.status_code for reply in replies] == [200, 200, 200, 500, 200, 200, 200, 200]


def test_too_much_that_waits_is_sent_away(ask, monkeypatch):
    monkeypatch.setattr(front, "MOST_WAITING_ROWS", 5)
    replies = ask.all([("POST", "/predict", {"json": row}) for row in rows_of(20)])
    statuses = [reply.status_code for reply in replies]
    assert set(statuses) == {200, 503}
    late = next(reply for reply in replies if reply.status_code == 503)
    assert late.headers["retry-after"] == "1"
    assert ask.predict(rows_of(1)).status_code == 200


def test_what_waits_for_too_long_is_sent_away(make, monkeypatch):
    ask, hold = make(seconds=0.05), threading.Event()
    monkeypatch.setattr(front, "answer", lambda *_: hold.wait(0.3) and None)
    replies = ask.all(
        [("POST", "/predict", {"content": written(TABLE, "text/csv"), "headers": {"content-type": "text/csv"}})]
    )
    assert (replies[0].status_code, "no answer within 0.05 seconds" in replies[0].text) == (503, True)


def test_a_client_that_goes_away_does_not_stop_the_others(ask):
    async def both():
        model = ask.service.models["rich"]
        row = model.intake.rows_of_json(json.dumps(rows_of(1)).encode())
        gone = asyncio.create_task(ask.service.batches.ask(model, row))
        stays = asyncio.create_task(ask.service.batches.ask(model, row))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(both()).predictions


def test_limits_and_forms_are_explained(make):
    ask = make(body_bytes=2000, rows=4)
    csv = {"content-type": "text/csv"}
    assert ask("POST", "/predict", content=b"x" * 2001, headers=csv).status_code == 413
    assert ask("POST", "/predict", content=written(TABLE.head(5), "text/csv"), headers=csv).status_code == 413
    assert (
        ask("POST", "/predict", content=written(TABLE.head(5), STREAM), headers={"content-type": STREAM}).status_code
        == 413
    )
    assert ask.predict(rows_of(5)).status_code == 413
    reply = ask("POST", "/predict", content=b"a", headers={"content-type": "application/xml"})
    assert (reply.status_code, "Send application/json" in reply.json()["error"]) == (415, True)
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    assert ask("POST", "/predict", content=gzip.compress(b"{}"), headers=packed).status_code == 415
    assert ask("POST", "/predict", json=rows_of(1), headers={"accept": "image/png"}).status_code == 406
    assert ask("GET", "/nowhere").status_code == 404
    reply = ask("GET", "/predict")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert ask("HEAD", "/health").status_code == 200
    assert "version" not in ask("GET", "/health").text


@pytest.mark.parametrize(
    ("change", "column", "text"),
    [
        (pl.lit("x").alias("age"), "age", '"x" is not a number'),
        (pl.lit("Mai").alias("joined"), "joined", '"Mai" is not a date written as'),
        (pl.lit(7).alias("member"), "member", "it holds Int"),
        (pl.lit(7).alias("more"), "more", "the model has no such column"),
        (pl.lit([[1]]).alias("town"), "town", "it holds List"),
    ],
)
def test_a_wrong_column_of_a_table_is_named(ask, change, column, text):
    table = TABLE.head(3).with_columns(change)
    for media in ("text/csv", STREAM) if column != "town" else (STREAM,):
        reply = ask("POST", "/predict", content=written(table, media), headers={"content-type": media})
        assert (reply.status_code, reply.json()["column"]) == (422, column)
        assert text in reply.json()["error"]
    assert "is missing" in ask("POST", "/predict", content=b"a,b\n1,2\n", headers={"content-type": "text/csv"}).text


def test_infinity_and_a_bad_csv_are_refused(ask):
    table = TABLE.head(2).with_columns(age=pl.Series([1.0, float("inf")]))
    reply = ask("POST", "/predict", content=written(table, STREAM), headers={"content-type": STREAM})
    assert (reply.status_code, reply.json()["row"], reply.json()["column"]) == (422, 1, "age")
    for body in (b"", b"\0", b'a,"b\n', b"a,b\n1\n"):
        assert ask("POST", "/predict", content=body, headers={"content-type": "text/csv"}).status_code == 422


def test_hostile_bodies_are_refused_soon(ask):
    csv = {"content-type": "text/csv"}
    for body in (
        b"," * 2_000_000,
        b"a" + b";" * 2_000_000 + b"\n1",
        b'"\n"' * 500_000,
        b"a\n" * 200_000,
        b"\n" * 1_000_000,
    ):
        assert ask("POST", "/predict", content=body, headers=csv).status_code in (413, 422)
    names = {f"towm{k}": 1 for k in range(100_000)}
    for body in ([names], {"columns": {name: [1] for name in names}}, names):
        reply = ask.predict(body)
        assert (reply.status_code, reply.json()["column"]) == (422, "age")


def test_few_and_many_rows_at_once_do_not_disturb_each_other(ask):
    csv = {"content": written(TABLE, "text/csv"), "headers": {"content-type": "text/csv"}}
    whole = ask("POST", "/predict", **csv).json()["probabilities"]
    singles = [("POST", "/predict", {"json": row}) for row in TABLE.head(40).to_dicts()]
    replies = ask.all([("POST", "/predict", csv), *singles, ("POST", "/predict", csv)])
    assert replies[0].json()["probabilities"] == replies[-1].json()["probabilities"] == whole
    found = [reply.json()["probabilities"][0] for reply in replies[1:-1]]
    assert np.allclose(found, whole[:40], atol=1e-6)


def test_the_token_guards_everything_but_health_and_the_page(make):
    ask = make(token="secret")
    assert ask.predict(rows_of(1)).status_code == 401
    for path in ("/metrics", "/openapi.json", "/v2/models/rich", "/v2"):
        assert ask("GET", path).status_code == 401
    for path in ("/health", "/docs", "/docs.js", "/docs.css", "/v2/health/ready", "/v2/health/live"):
        assert ask("GET", path).status_code == 200
    own = {"authorization": "Bearer secret"}
    assert ask("POST", "/predict", json=rows_of(1), headers=own).status_code == 200
    assert ask("GET", "/openapi.json", headers=own).json()["security"] == [{"token": []}]


def test_the_page_needs_nothing_from_elsewhere(ask):
    assert ask("GET", "/").headers["location"] == "/docs"
    for path in ("/docs", "/docs.js", "/docs.css"):
        text = ask("GET", path).text
        assert "http:" not in text
        assert "https:" not in text
        assert "innerHTML" not in text


# The Open Inference Protocol.


def tensors(table):
    kinds = {"age": "INT64", "town": "BYTES", "member": "BOOL", "joined": "BYTES"}
    return [
        {"name": name, "shape": [table.height], "datatype": kind, "data": table[name].to_list()}
        for name, kind in kinds.items()
    ]


def test_the_open_inference_protocol_is_spoken(ask, paths):
    assert ask("GET", "/v2").json() == {"name": "plainnet", "version": "2", "extensions": []}
    assert ask("GET", "/v2/health/live").json() == {"live": True}
    assert ask("GET", "/v2/health/ready").json() == {"ready": True}
    assert ask("GET", "/v2/models/rich/ready").json() == {"name": "rich", "ready": True}
    metadata = ask("GET", "/v2/models/rich").json()
    assert metadata["inputs"][0] == {"name": "age", "datatype": "FP64", "shape": [-1]}
    assert [(each["name"], each["datatype"]) for each in metadata["outputs"]] == [
        ("predictions", "BYTES"),
        ("probabilities", "FP64"),
    ]
    table = TABLE.head(7)
    reply = ask("POST", "/v2/models/rich/infer", json={"id": "a", "inputs": tensors(table)}).json()
    assert (reply["id"], reply["model_name"]) == ("a", "rich")
    predictions, probabilities = reply["outputs"]
    estimator = plainnet.load(paths["rich"])
    assert predictions["data"] == estimator.predict(table).tolist()
    assert probabilities["shape"] == [7, 2]
    assert np.allclose(probabilities["data"], estimator.predict_proba(table).ravel(), atol=1e-6)
    body = {"inputs": [each | {"shape": [7, 1], "data": [[cell] for cell in each["data"]]} for each in tensors(table)]}
    body |= {"outputs": [{"name": "probabilities"}]}
    assert ask("POST", "/v2/models/rich/infer", json=body).json()["outputs"] == [probabilities]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"shape": [3]}, "its shape is [3] with 7 cells"),
        ({"datatype": "BYTES"}, "its datatype is 'BYTES', and has to be FP64"),
        ({"data": ["x"] * 7}, '"x" is not a number'),
        ({"data": [True] * 7}, "true is not a number"),
        ({"name": "member", "datatype": "BOOL"}, "two tensors of that name"),
        ({"name": "other"}, "the column is missing"),
        ({"data": {"a": 1}}, "not one of the protocol"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(ask, change, text):
    inputs = tensors(TABLE.head(7))
    inputs[0] = inputs[0] | change
    reply = ask("POST", "/v2/models/rich/infer", json={"inputs": inputs})
    assert (reply.status_code, text in reply.json()["error"]) == (422, True), reply.text


def test_an_output_that_there_is_not_and_what_is_no_json(ask):
    body = {"inputs": tensors(TABLE.head(2)), "outputs": [{"name": "x"}]}
    assert "no output 'x', only predictions and probabilities" in ask("POST", "/v2/models/rich/infer", json=body).text
    assert ask("POST", "/v2/models/rich/infer", content=b"{").status_code == 400


# Metrics.


def samples(ask):
    families = text_string_to_metric_families(ask("GET", "/metrics").text)
    return {(each.name, *sorted(each.labels.values())): each.value for family in families for each in family.samples}


@pytest.mark.filterwarnings("ignore::plainnet.errors.DataWarning")
def test_the_metrics_count_requests_rows_and_cells(ask):
    ask.predict(rows_of(3))
    ask.predict(rows_of(1)[0] | {"town": "Atlantis", "age": 500})
    ask.predict([{"x": 1}])
    ask("GET", "/nowhere/at/all")
    found = samples(ask)
    assert found["plainnet_requests_total", "/predict", "200"] == 2
    assert found["plainnet_requests_total", "/predict", "422"] == 1
    assert found["plainnet_requests_total", "404", "other"] == 1
    assert found["plainnet_request_seconds_count", "/predict"] == 3
    assert found["plainnet_rows_total", "rich"] == 4
    assert found["plainnet_missing_cells_total", "age", "rich"] == 1
    assert found["plainnet_unseen_cells_total", "rich", "town"] == 1
    assert found["plainnet_column_unseen_share", "rich", "town"] == 0.25
    assert found["plainnet_column_beyond_share", "age", "rich"] == 0.25
    assert ("plainnet_column_psi", "age", "rich") not in found  # four rows tell nothing


# New files.


@pytest.fixture
def copies(paths, tmp_path):
    shutil.copy(paths["rich"], tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def following(copies, steps):
    """Follow a file while ``steps`` (a coroutine of models, wake, results) does things to it."""

    async def run():
        models, wake, results = {"m": read("m", copies, 10)}, asyncio.Event(), []
        task = asyncio.create_task(follow(models, wake, 10, lambda name, model: results.append(model), seconds=0.02))
        await steps(models, wake, results)
        task.cancel()
        return models, results

    return asyncio.run(run())


async def until(results, n):
    async with asyncio.timeout(20):
        while len(results) < n:
            await asyncio.sleep(0.01)


def test_a_changed_file_takes_the_place_of_the_old_one_and_a_bad_one_does_not(copies, caplog):
    before = read("m", copies, 10)

    async def steps(models, wake, results):
        os.utime(copies, (1, 1))
        await until(results, 1)
        assert models["m"] is results[0]
        copies.write_bytes(b"not a model at all")
        await until(results, 2)
        assert (results[1], models["m"]) == (None, results[0])
        await asyncio.sleep(0.1)
        assert len(results) == 2  # a bad file is not read again and again
        copies.unlink()
        await asyncio.sleep(0.1)
        assert models["m"] is results[0]

    models, _ = following(copies, steps)
    assert models["m"].stamp != before.stamp
    assert "the new file cannot be used, and the old one goes on" in caplog.text


def test_a_signal_has_files_read_that_did_not_change(copies):
    async def steps(models, wake, results):
        wake.set()
        await until(results, 1)

    models, results = following(copies, steps)
    assert models["m"] is results[0]


def test_a_service_does_not_start_with_what_cannot_be_served(copies, tmp_path):
    with pytest.raises(RunError, match="there is no run folder or model file"):
        serve({"m": tmp_path / "nothing"}, port=0)
    copies.write_bytes(b"12345678 no model")
    with pytest.raises(ModelFileError, match="no plainnet model"):
        serve({"m": copies}, port=0)
    with pytest.raises(SettingError, match=r"--host 192\.168\.1\.1 is reached from other machines, and needs a token"):
        serve({"m": copies}, host="192.168.1.1", port=0)
    with pytest.raises(SettingError, match="limit rows is 0"):
        Limits(rows=0)


def test_models_are_named_for_their_urls(tmp_path):
    assert list(name_models([tmp_path / "a-1", tmp_path / "b" / "model.safetensors", tmp_path / "c.safetensors"])) == [
        "a-1",
        "b",
        "c",
    ]
    with pytest.raises(SettingError, match="two models are named 'a'"):
        name_models([tmp_path / "a"], [f"a={tmp_path}"])
    with pytest.raises(SettingError, match="has to be name=path"):
        name_models([], ["a"])
    with pytest.raises(SettingError, match="cannot be a model's name"):
        name_models([], [f"a/b={tmp_path}"])
    with pytest.raises(SettingError, match="no model to serve"):
        name_models([])


def test_bodies_in_memory_are_limited_together(make, monkeypatch):
    ask = make(body_bytes=1000)
    monkeypatch.setattr(front, "MOST_BODIES", 1)

    async def one_slow():
        waiting = asyncio.Event()

        async def slowly():
            yield b" " * 900
            await waiting.wait()
            yield json.dumps({"age": 1, "town": "Ulm"}).encode()

        transport = httpx.ASGITransport(app=ask.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            json_type = {"content-type": "application/json"}
            slow = asyncio.create_task(client.post("/models/income/predict", content=slowly(), headers=json_type))
            await asyncio.sleep(0.05)
            refused = await client.post("/models/income/predict", content=b" " * 200, headers=json_type)
            waiting.set()
            return (await slow).status_code, refused.status_code

    assert asyncio.run(one_slow()) == (200, 503)
