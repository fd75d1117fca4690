"""The studio's addresses, asked without a port: who is let in, what is taken in, what comes back."""

import asyncio
import json
import time
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import plainnet
from plainnet.cli.cli import app as command_line
from plainnet.errors import RunError, SettingError
from plainnet.runs.train_run import train_run
from plainnet.studio import tables
from plainnet.studio.keep import predictions_csv
from plainnet.studio.session import Session
from plainnet.studio.state import Studio, events
from plainnet.studio.studio import serve
from tests.helpers import people
from tests.studio.helpers import HOST, Client, until

QUICK = {"effort": "quick", "members": 2, "epochs": 3}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    random = np.random.default_rng(0)
    age = random.integers(18, 80, 300)
    return pl.DataFrame(
        {
            HOSTILE: age,
            "town": random.choice(["Ulm", "Bonn", '=HYPERLINK("x")', "<img src=x onerror=alert(2)>"], 300),
            "joined": [f"{year}-03-0{day}" for year, day in zip(random.integers(1990, 2020, 300), random.integers(1, 9, 300), strict=True)],
            "bought": np.where(age + random.normal(0, 10, 300) > 50, "yes", "no"),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def client(rows, tmp_path_factory) -> Client:
    client = Client(tmp_path_factory.mktemp("work"))
    answer = client.post("/api/tables?name=shop.csv", content=rows.write_csv().encode())
    assert answer.json() == {"name": "shop.csv"}
    return client


@pytest.fixture(scope="module")
def run(client) -> str:
    return client.train(table="shop.csv", target="bought", **QUICK)


@pytest.fixture(scope="module")
def numbers_run(client) -> str:
    return client.train(table="shop.csv", target=HOSTILE, kinds={"joined": "ignored"}, **QUICK)


# Who is let in.


def test_the_address_works_once_and_leaves_a_cookie(tmp_path) -> None:
    client = Client(tmp_path)
    once = client.studio.once
    first = client.get(f"/?token={once}", let_in=False)
    assert first.status_code == 200
    cookie = first.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", client.studio.key))
    assert (
        "script-src" in first.headers["content-security-policy"]
        or "default-src 'self'" in first.headers["content-security-policy"]
    )
    assert client.get(f"/?token={once}", let_in=False).status_code == 401
    assert client.get("/?token=", let_in=False).status_code == 401
    assert client.get("/", let_in=False).status_code == 401
    assert client.get("/").status_code == 200
    assert client.get(f"/?token={once}").status_code == 303


@pytest.mark.parametrize("path", ["/api/state", "/api/runs/x", "/api/train/events", "/api/runs/x/model"])
def test_without_the_cookie_nothing_is_told(client, path) -> None:
    assert client.get(path, let_in=False).status_code == 401


def test_foreign_hosts_and_origins_are_refused(client) -> None:
    assert client.get("/api/state", host="evil.example").status_code == 421
    assert client.post("/api/train", json={}, headers={"Origin": "http://evil.example"}).status_code == 403
    assert (
        client.post("/api/columns", json={"table": "shop.csv"}, headers={"Origin": f"http://{HOST}"}).status_code == 200
    )


def test_every_file_of_the_page_is_there_and_asks_for_no_other_host(client) -> None:
    page = Path(plainnet.__file__).parent / "studio" / "page"
    for path in page.iterdir():
        assert client.get(f"/page/{path.name}", let_in=False).status_code == 200
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text
        assert "style=" not in text
    assert client.get("/page/../studio.py", let_in=False).status_code in (401, 404)


# What is taken in.


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../../etc/cron.d/x.csv", "x.csv"),
        ("..\\..\\evil.CSV", "evil.csv"),
        (".hidden.parquet", "hidden.parquet"),
        ("Häuser in Köln.csv.gz", "H_user_in_K_ln.csv.gz"),
        ("a" * 300 + ".csv", "a" * 76 + ".csv"),
        ("example-moons.csv", "my-example-moons.csv"),
        ("adult.csv.gz", "my-adult.csv.gz"),
        ("Con.csv", "my-Con.csv"),
        ("lpt1.x.csv", "my-lpt1.x.csv"),
        (".csv", None),
        ("script.py", None),
        ("x.parquet.gz", None),
        ("x.csv\0.sh", None),
        ("", None),
    ],
)  # fmt: skip
def test_no_name_leads_out_of_the_folder(name, kept) -> None:
    if kept is None:
        with pytest.raises(plainnet.TableError, match="of no kind that is read here"):
            tables.safe_name(name)
    else:
        assert tables.safe_name(name) == kept


def test_a_table_of_the_same_name_is_kept_beside_the_first(tmp_path) -> None:
    client = Client(tmp_path)
    for kept in ("t.csv", "t-2.csv", "t-3.csv"):
        assert client.post("/api/tables?name=t.csv", content=b"a,b\n1,2\n3,4\n").json() == {"name": kept}
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["t-2.csv", "t-3.csv", "t.csv"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("broken.parquet", b"PAR1 no", "is not a parquet file"),
        ("empty.csv", b"", "is empty: choose another"),
        ("zip.csv", b"PK\x03\x04 rest", "is not text"),
        ("x.exe", b"MZ", "of no kind that is read here"),
    ],
)
def test_what_is_no_table_is_refused_in_words_and_not_kept(tmp_path, name, content, why) -> None:
    client = Client(tmp_path)
    answer = client.post(f"/api/tables?name={name}", content=content)
    assert answer.status_code == 422
    assert why in answer.json()["error"]
    assert not list((tmp_path / "tables").iterdir())


def test_a_file_that_is_too_large_is_not_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tables, "MOST_BYTES", 1000)
    client = Client(tmp_path)
    answer = client.post("/api/tables?name=t.csv", content=b"a,b\n" + b"1,2\n" * 1000)
    assert answer.status_code == 422
    assert "the most that is uploaded" in answer.json()["error"]
    assert not list((tmp_path / "tables").iterdir())


@pytest.mark.parametrize("body", [b"{", b"[1]", b'{"table": 3, "target": "x"}', b'{"table": "shop.csv", "target": "bought", "epochs": 0}',
                                  b'{"table": "shop.csv", "target": "bought", "shell": "rm"}'])  # fmt: skip
def test_a_body_that_is_none_is_refused_in_words(client, body) -> None:
    answer = client.post("/api/train", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_an_upload_that_is_broken_off_is_not_kept(tmp_path, caplog) -> None:
    client = Client(tmp_path)
    parts = iter([{"type": "http.request", "body": b"a,b\n1,", "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive() -> dict:
        return next(parts)

    async def send(message: dict) -> None:
        sent.append(message)

    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    scope = {
        "type": "http", "method": "POST", "path": "/api/tables", "raw_path": b"/api/tables", "query_string": b"name=t.csv",
        "headers": [(b"host", HOST.encode()), (b"cookie", cookie.encode())], "http_version": "1.1", "scheme": "http", "root_path": "",
    }  # fmt: skip
    asyncio.run(client.app(scope, receive, send))
    assert sent[0]["status"] == 400
    assert not list((tmp_path / "tables").iterdir())
    assert not caplog.records


# Columns.


def test_what_reading_warns_of_is_said_on_the_page(client) -> None:
    name = client.post("/api/tables", params={"name": "twice.csv"}, content=b"size,size,y\n1,2,3\n4,5,6\n").json()[
        "name"
    ]
    for _ in range(2):  # read, and remembered
        notes = client.post("/api/columns", json={"table": name}).json()["notes"]
        assert notes == ["twice.csv: header cells that are empty or there twice were given the names 'size_2'."]
    assert client.post("/api/columns", json={"table": "shop.csv"}).json()["notes"] == []


def test_columns_are_told_with_kind_reason_missing_and_a_histogram(client) -> None:
    found = client.post("/api/columns", json={"table": "shop.csv"}).json()
    assert found["rows"] == found["looked_at"] == 300
    by = {column["name"]: column for column in found["columns"]}
    assert by[HOSTILE]["kind"] == "number"
    assert sum(by[HOSTILE]["bars"]) == 300
    assert by["town"]["kind"] == "category"
    assert sum(share for _, share in by["town"]["levels"]) == pytest.approx(1)
    assert by["joined"]["kind"] == "date"
    assert all(column["why"] for column in found["columns"])


def test_a_kind_can_be_overruled_and_an_impossible_one_is_refused(client) -> None:
    found = client.post("/api/columns", json={"table": "shop.csv", "kinds": {HOSTILE: "category"}}).json()
    assert found["columns"][0]["why"] == "chosen by the user"
    answer = client.post("/api/columns", json={"table": "shop.csv", "kinds": {"town": "number"}})
    assert answer.status_code == 422
    assert "cannot be a number" in answer.json()["error"]
    assert client.post("/api/columns", json={"table": "../shop.csv"}).status_code == 422


def test_wide_and_long_tables_are_described(tmp_path) -> None:
    client = Client(tmp_path)
    x = np.random.default_rng(0).normal(size=(60, 400)).round(3)
    wide = pl.DataFrame({f"x{i}": x[:, i] for i in range(400)})
    name = client.post("/api/tables?name=wide.csv", content=wide.write_csv().encode()).json()["name"]
    assert len(client.post("/api/columns", json={"table": name}).json()["columns"]) == 400
    pl.DataFrame({"a": np.arange(500_000) % 1000, "b": np.arange(500_000) % 2}).write_parquet(
        tmp_path / "tables" / "long.parquet"
    )
    found = client.post("/api/columns", json={"table": "long.parquet"}).json()
    assert (found["rows"], found["looked_at"]) == (500_000, 50_000)


# Training.


def test_a_run_made_here_is_an_ordinary_run(client, run) -> None:
    assert (client.studio.runs / run / "run.json").is_file()
    assert client.studio.session.facts()["share"] == 1.0
    listed = client.get("/api/state").json()["runs"]
    assert run in [each["name"] for each in listed]


def test_runs_made_elsewhere_in_the_folder_are_listed(client, run) -> None:
    train_run(
        client.studio.tables / "shop.csv",
        "bought",
        client.studio.runs / "by-hand",
        settings={"members": 1, "epochs": 2},
    )
    listed = client.get("/api/state").json()["runs"]
    assert {"by-hand", run} <= {each["name"] for each in listed}
    assert next(each for each in listed if each["name"] == "by-hand")["scores"][0]["rows"] == 60


async def _events(studio: Studio, count: int) -> list[dict]:
    found = []
    stream = events(studio)
    async for each in stream:
        found.append(json.loads(each.removeprefix(b"data: ")))
        if len(found) == count:
            break
    await stream.aclose()
    return found


def test_a_training_is_watched_paused_and_stopped_and_only_one_runs_at_a_time(tmp_path) -> None:
    client = Client(tmp_path)
    name = client.post("/api/examples", json={"name": "moons"}).json()["name"]
    order = {"table": name, "target": "colour", "effort": "quick", "hidden": [8], "epochs": 400, "seconds": 120}
    assert client.post("/api/train", json=order).status_code == 200
    session = client.studio.session
    until(lambda: session.surface is not None and len(session.curves[0][0]) > 2)
    second = client.post("/api/train", json=order)
    assert second.status_code == 409
    assert "only one at a time" in second.json()["error"]

    assert client.post("/api/train/pause").json()["paused"]
    until(lambda: _is_still(session))
    held = {member: len(losses) for member, (losses, _) in session.curves.items()}
    first, *_ = asyncio.run(_events(client.studio, 1))
    again, *_ = asyncio.run(_events(client.studio, 1))  # a second tab, or the same one reloaded, gets all of it again
    assert first["curves"] == again["curves"]
    assert {member: len(losses) for member, _, losses, _ in first["curves"]} == held
    assert len(first["surface"]) == first["plane"]["side"] ** 2
    assert first["plane"]["classes"] == ["blue", "orange"]
    assert first["network"]["widths"][-1] == 2
    client.post("/api/train/resume")
    until(lambda: len(session.curves[0][0]) > held[0])

    client.post("/api/train/stop")
    session.join(60)
    assert session.phase == "done", session.error
    facts = json.loads((client.studio.runs / session.run_name / "run.json").read_text())
    assert facts["training"]["stopped_by"] == "on_epoch"
    assert facts["training"]["members"] < 8
    assert client.post("/api/train/stop").status_code == 422


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def _is_still(session: Session) -> bool:
    version = session.version
    time.sleep(0.4)
    return session.version == version


def test_streams_end_with_the_server(tmp_path) -> None:
    client = Client(tmp_path)
    client.studio.is_ending = lambda: True
    assert asyncio.run(_events(client.studio, 1)) == []


def test_a_training_that_fails_says_why(tmp_path) -> None:
    client = Client(tmp_path)
    client.post("/api/tables?name=t.csv", content=b"a,b\n1,x\n2,x\n3,x\n")
    client.post("/api/train", json={"table": "t.csv", "target": "b"})
    client.studio.session.join(60)
    facts = client.studio.session.facts()
    assert facts["phase"] == "failed"
    assert "bug" not in facts["error"]
    assert facts["run"] is None


@pytest.mark.parametrize("name", ["circles", "spirals", "tutorial"])
def test_examples_are_tables(tmp_path, name) -> None:
    client = Client(tmp_path)
    made = client.post("/api/examples", json={"name": name}).json()["name"]
    assert plainnet.read_table(tmp_path / "tables" / made).height == {"tutorial": 100}.get(name, 600)
    assert client.post("/api/examples", json={"name": "../x"}).status_code == 422


# Judging, trying, keeping.


def test_classes_are_judged_on_the_test_rows(client, run) -> None:
    found = client.get(f"/api/runs/{run}").json()
    accuracy = next(each for each in found["scores"]["test"] if each["metric"] == "accuracy")
    confusion = np.array(found["confusion"])
    assert confusion.sum() == accuracy["rows"] == 60
    assert confusion.trace() / confusion.sum() == pytest.approx(accuracy["value"])
    assert sum(rows for _, _, rows in found["calibration"]["bins"]) == 60
    worst = found["worst"]
    assert len(worst["rows"]) == 10
    table = pl.read_csv(client.studio.tables / "shop.csv")
    assert [str(table["bought"][number - 1]) for number in worst["numbers"]] == [cells[0] for cells in worst["rows"]]


def test_numbers_are_judged_on_the_test_rows(client, numbers_run) -> None:
    found = client.get(f"/api/runs/{numbers_run}").json()
    assert len(found["residuals"]["points"]) == found["residuals"]["rows"] == sum(found["residuals"]["bars"]) == 60
    assert "confusion" not in found


def test_a_run_whose_table_has_changed_is_judged_by_its_scores_alone(client, run, tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes((client.studio.tables / "shop.csv").read_bytes())
    train_run(path, "bought", client.studio.runs / "changed", settings={"members": 1, "epochs": 2})
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    found = client.get("/api/runs/changed").json()
    assert "is not what the run was trained on" in found["unseen"]
    assert found["scores"]["test"]


@pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e", ".", "shop.csv"])
def test_a_run_that_is_not_there_is_refused(client, name) -> None:
    assert client.get(f"/api/runs/{name}").status_code in (401, 404)


def test_one_row_is_predicted_as_the_model_says(client, run, numbers_run) -> None:
    fields = {field["name"]: field for field in client.get(f"/api/runs/{run}/form").json()}
    assert fields[HOSTILE]["whole"]
    assert set(fields) == {HOSTILE, "town", "joined"}
    values = {HOSTILE: "75", "town": "Ulm", "joined": "2001-03-04"}
    said = client.post(f"/api/runs/{run}/answer", json=values).json()["classes"]
    model = plainnet.load(client.studio.runs / run / "model.safetensors")
    expected = model.predict_proba(pl.DataFrame({HOSTILE: [75], "town": ["Ulm"], "joined": ["2001-03-04"]}))[0]
    assert dict(said) == pytest.approx(dict(zip(["no", "yes"], expected.tolist(), strict=True)))
    missing = client.post(f"/api/runs/{run}/answer", json={"town": ""}).json()["classes"]
    assert sum(share for _, share in missing) == pytest.approx(1)
    number = client.post(f"/api/runs/{numbers_run}/answer", json={"town": "Ulm"}).json()
    assert number["low"] < number["value"] < number["high"]
    for name, value in ((HOSTILE, "old"), ("joined", "yesterday"), (HOSTILE, [1])):
        answer = client.post(f"/api/runs/{run}/answer", json={name: value})
        assert answer.status_code == 422
        assert "is none" in answer.json()["error"]


def test_predictions_come_back_without_formulas(client, run, rows) -> None:
    before = _files(client.studio.work)
    answer = client.post(
        f"/api/runs/{run}/predictions?name=new.csv", content=rows.head(40).drop("bought").write_csv().encode()
    )
    found = pl.read_csv(answer.content)
    assert found.columns == [HOSTILE, "town", "joined", "prediction", "probability no", "probability yes"]
    assert found.height == 40
    assert not found["town"].str.starts_with("=").any()
    assert found["town"].str.starts_with("'=HYPERLINK").any()
    assert _files(client.studio.work) == before
    lacking = client.post(f"/api/runs/{run}/predictions?name=new.csv", content=b"town\nUlm\n")
    assert lacking.status_code == 422
    assert "missing  joined" in lacking.json()["error"]


def test_the_model_is_downloaded_and_the_report_where_there_is_one(client, run, tmp_path) -> None:
    answer = client.get(f"/api/runs/{run}/model")
    assert f'filename="{run}-model.safetensors"' in answer.headers["content-disposition"]
    (tmp_path / "m.safetensors").write_bytes(answer.content)
    assert plainnet.load(tmp_path / "m.safetensors").classes_.tolist() == ["no", "yes"]
    report = client.studio.runs / run / "report.html"
    answer = client.get(f"/api/runs/{run}/report")
    assert answer.text == report.read_text()
    aside = report.rename(tmp_path / "report.html")
    assert client.get(f"/api/runs/{run}/report").status_code == 404
    aside.rename(report)
    assert answer.headers["content-disposition"].startswith("attachment")  # it is not shown as a page of this address


@pytest.mark.parametrize("which", ["run", "numbers_run"])
@pytest.mark.parametrize("kind", ["plainnet", "pytorch"])
def test_the_python_that_does_the_same_runs(client, request, which, kind, tmp_path, monkeypatch, capsys) -> None:
    name = request.getfixturevalue(which)
    text = client.get(f"/api/runs/{name}/script?kind={kind}").text
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "script.py", "exec"), {})  # noqa: S102 - what the studio wrote itself
    printed = capsys.readouterr().out
    if kind == "plainnet":
        scores = client.get(f"/api/runs/{name}").json()["scores"]["test"]
        wanted = next(each["value"] for each in scores if each["metric"] in ("accuracy", "R²"))
        assert float(printed) == pytest.approx(wanted)
        ours = load_file(client.studio.runs / name / "model.safetensors")
        assert all((weights == ours[key]).all() for key, weights in load_file("model.safetensors").items())
    else:
        assert printed.startswith(("accuracy", "RMSE"))
    assert client.get(f"/api/runs/{name}/script?kind=shell").status_code == 404


def test_the_script_names_what_is_not_the_default(client) -> None:
    settings = {"members": 1, "epochs": 2, "class_weight": {"yes": 2.0, "no": 1.0}, "dropout": 0.1}
    train_run(
        client.studio.tables / "shop.csv",
        "bought",
        client.studio.runs / "set",
        kinds={"joined": "ignored"},
        settings=settings,
    )
    text = client.get("/api/runs/set/script").text
    for part in (
        "members=1",
        "epochs=2",
        "dropout=0.1",
        "class_weight={'no': 1.0, 'yes': 2.0}",
        "kinds={'joined': 'ignored'}",
        "random_state=0",
    ):
        assert part in text
    assert "effort" not in text
    assert "verbose" not in text


# The command.


def test_the_command_says_what_it_does_and_refuses_a_taken_port(tmp_path) -> None:
    help_text = CliRunner().invoke(command_line, ["studio", "--help"]).output
    assert "--no-browser" in help_text
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(SettingError, match="is taken by another program"):
            serve(tmp_path, sock.getsockname()[1], opens=False, say=print)


def test_a_work_folder_that_cannot_be_made_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Choose --work"):
        Studio(tmp_path / "file" / "below")


def test_what_a_run_rests_on_and_what_made_a_row_s_prediction(client, run, numbers_run) -> None:
    found = client.get(f"/api/runs/{run}/importance").json()
    assert found["metric"] == "log-loss"
    assert {"town", "joined"} <= {each["column"] for each in found["columns"]}
    assert all(each["low"] <= each["value"] <= each["high"] for each in found["columns"])
    for name, output in ((run, None), (numbers_run, "prediction")):
        told = client.post(f"/api/runs/{name}/why", json={"town": "Ulm"}).json()
        total = told["base"] + sum(each["value"] for each in told["contributions"])
        assert total == pytest.approx(told["prediction"])
        assert output in (None, told["output"])
    answer = client.get(f"/api/runs/{run}/onnx")
    assert answer.headers["content-disposition"] == f'attachment; filename="{run}.onnx"'
    onnx.checker.check_model(onnx.load_from_string(answer.content))


def test_predictions_get_names_that_are_free() -> None:
    classifier = plainnet.NetClassifier(members=1, hidden=(4,), epochs=1).fit(people(), "rich")
    rows = (
        people(rows=3)
        .drop("rich")
        .with_columns(pl.lit("a").alias("prediction"), pl.lit("b").alias("prediction (plainnet)"))
    )
    text = predictions_csv(classifier, rows).decode()
    names = text.splitlines()[0].split(",")
    assert len(set(names)) == len(names)
    assert "prediction (plainnet) (plainnet)" in names
    assert text.splitlines()[1].count(",a,b,") == 1
