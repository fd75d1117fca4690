"""report.html: one file that says what was trained, escapes what the table holds, and can be made again."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plainnet import NetRegressor, PlainnetWarning, RunError
from plainnet.runs.again import find_table, report_again
from plainnet.runs.report import Evidence, gather, write_report
from plainnet.runs.runs import read_run
from plainnet.runs.train_run import train_run
from plainnet.tables.split import split_rows
from tests.helpers import people

QUICK = {"hidden": (8,), "epochs": 3, "members": 4}
EVIL = "<script>alert(1)</script>"
#: Names and cells that would break out of text, attributes, comments, styles, or matplotlib's formulas.
NAMES = {
    "age": f"{EVIL}\"'><img src=x onerror=alert(2)>",
    "income": r"$\frac{$ {{ 7 * 7 }} {% raw %}",
    "town": '--><svg onload=alert(3)>&lt;b id="x" url(#y) href="#z"',
    "member": "a\nb\tc\x1b[31m\u202e \U0001f600 表",
}
TOWNS = {"Ulm": EVIL, "Bonn": '" onmouseover="alert(4)', "Köln": "</style></td></svg>", "Jena": "$a_{$"}


class Tags(HTMLParser):
    """All start tags of a page, and its visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    people().write_csv(folder / "people.csv")
    return folder


@pytest.fixture(scope="module")
def finished(folder) -> Path:
    return train_run(folder / "people.csv", "rich", folder / "run", settings=QUICK).path


def test_cross_validation_comes_first(folder) -> None:
    run = train_run(folder / "people.csv", "rich", folder / "crossed", settings=QUICK, folds=3)
    text = " ".join("".join(Tags((run.path / "report.html").read_text(encoding="utf-8")).text).split())
    crossed = run.facts["scores"]["cross-validation"]
    assert "rows in cross-validation: each predicted by networks that were trained without its fold" in text
    assert f"{crossed[0]['value']:.4g}" in text
    assert all(
        f"folds {each['mean']:.5g} ± {each['deviation']:.5g}" in text for each in crossed if each["mean"] is not None
    )


@pytest.fixture(scope="module")
def hostile(folder) -> Path:
    table = people().with_columns(pl.col("town").replace(TOWNS), pl.col("rich").replace({"yes": EVIL, "no": "$x^{$"}))
    table = table.rename(NAMES | {"rich": "y <b>"})
    table.write_csv(folder / "hostile.csv")
    return train_run(folder / "hostile.csv", "y <b>", folder / "run <i>&'", settings=QUICK).path


def page_of(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def test_the_page_says_what_run_json_says(finished) -> None:
    page, facts = page_of(finished), read_run(finished).facts
    text = " ".join(" ".join(Tags(page).text).split())
    assert 10_000 < len(page.encode()) < 2 * 2**20
    assert facts["table"]["sha256"] in text
    for part in facts["scores"].values():
        for score in part:
            assert f"{score['value']:.5g}" in text
            assert f"{score['baseline']:.5g}" in text
    for column in read_run(finished).estimator().schema_.columns:
        assert column.why in text
    assert "its name says so, and all 240 values differ" in text
    assert "plainnet train" in text
    assert "60 test rows" in text
    for title in ("ROC curve", "Precision and recall", "Confusion matrix", "Calibration", "Loss", "Importance"):
        assert f"<strong>{title}</strong>" in page
    assert "loss, mean of 4 networks" in text  # text of a picture, which can be selected
    assert "20,8" not in facts["target"]
    for member in read_run(finished).estimator().members_:
        assert f"{member.weight:.3f}" in text


def test_the_page_asks_for_nothing(finished) -> None:
    page = Tags(page_of(finished))
    assert {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "base", "form"} == set()
    policy = next(attrs for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), attrs
        assert not [name for name in attrs if name.startswith("on")]
    assert not re.search(r"@import|url\((?!#)", page_of(finished))


def test_ids_and_landmarks_are_there_once(finished) -> None:
    tags = Tags(page_of(finished)).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in tags:
        for name in ("href", "xlink:href"):
            if (attrs.get(name) or "").startswith("#"):
                assert attrs[name][1:] in ids
    assert ("html", {"lang": "en"}) in tags
    assert [tag for tag, _ in tags if tag in ("h1", "main", "header", "footer")] == ["header", "h1", "main", "footer"]
    assert all(attrs.get("aria-label") for _, attrs in tags if attrs.get("role") == "img")


def test_hostile_names_and_levels_are_text(hostile) -> None:
    page = Tags(page_of(hostile))
    assert {tag for tag, _ in page.tags} & {"script", "img", "b", "i"} == set()
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    text = "".join(page.text)
    assert EVIL in text
    assert NAMES["age"] in text
    assert "{{ 7 * 7 }}" in text
    assert "$a_{$" in text
    assert "y <b>" in text
    assert not any(letter in page_of(hostile) for letter in ("\x1b", "\u202e", "\x00"))


def test_the_same_training_gives_the_same_page(finished, folder, tmp_path) -> None:
    run = train_run(folder / "people.csv", "rich", tmp_path / "run", settings=QUICK)
    parts = [re.sub(r"\d{4}-\d\d-\d\dT[\d:+]*|[\d.]+ s, engine", "", page_of(path)) for path in (run.path, finished)]
    assert parts[0] == parts[1]


def test_a_report_is_made_again_from_the_folder_and_the_table(finished, folder, tmp_path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    path = report_again(read_run(tmp_path / "run"))
    again, first = Tags(path.read_text()), Tags(page_of(finished))
    assert "of 4 networks" not in "".join(again.text)  # the members' own losses are not kept

    def labels(page: Tags) -> list[str | None]:
        return [attrs["aria-label"] for _, attrs in page.tags if attrs.get("role") == "img"]

    assert labels(again) == labels(first)  # the same curves from the same rows, so the same areas and shares
    assert len(labels(again)) == 6


def test_a_table_that_is_gone_or_changed_is_asked_for(finished, folder, tmp_path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    shutil.copy(folder / "people.csv", tmp_path / "moved.csv")
    facts["table"]["source"] = str(tmp_path / "gone.csv")
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    run = read_run(tmp_path / "run")
    with pytest.raises(
        RunError, match=r"gone.csv', cannot be read: .*Name the table: the one that the run was trained on"
    ):
        report_again(run)
    assert report_again(run, str(tmp_path / "moved.csv")).exists()
    people(299).write_csv(tmp_path / "moved.csv")
    with pytest.raises(RunError, match="is not what the run was trained on: its SHA-256 is"):
        report_again(run, str(tmp_path / "moved.csv"))
    del facts["test_share"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="does not say how many rows were held out: train again"):
        report_again(read_run(tmp_path / "run"))


def test_the_rows_found_again_are_those_that_were_held_out(finished, folder) -> None:
    whole, own = find_table(read_run(finished))
    y = np.array(people()["rich"].to_list())
    assert np.array_equal(own.scored["test"], split_rows(300, 0.2, seed=0, stratify=y)[1])
    assert whole.width == own.table.width + 1


def test_without_test_rows_the_page_shows_rows_out_of_fold_or_says_that_there_are_none(folder, tmp_path) -> None:
    run = train_run(folder / "people.csv", "rich", tmp_path / "run", settings=QUICK, test_share=0)
    text = " ".join("".join(Tags(page_of(run.path)).text).split())
    assert "Drawn on 300 training rows, each predicted by networks that did not see it" in text
    assert "The networks were trained on these rows, which flatters all columns" in text
    text = " ".join("".join(Tags(report_again(run).read_text()).text).split())
    assert "No picture of predictions and no importance" in text


def test_numbers_quantiles_and_many_classes_have_pages(folder, tmp_path) -> None:
    source = folder / "people.csv"
    run = train_run(source, "income", tmp_path / "a", settings=QUICK)
    page = page_of(run.path)
    assert "<strong>Residuals</strong>" in page
    assert "data:image/png;base64" in page  # the points
    assert "It predicts no number below" in page
    table, y = people().select("age", "town"), people()["income"].to_numpy()
    quantiles = NetRegressor(quantiles=[0.1, 0.6, 0.9], members=1, epochs=2).fit(table, y)
    page = write_report(run, quantiles, Evidence("test", table, y, quantiles.predict(table), 300)).read_text()
    away = np.quantile(y - quantiles.predict(table)[:, 1], 0.25)
    assert f"half of them lie between {away:.4g}" in page
    assert "growth of the pinball loss" in page
    page = page_of(train_run(source, "town", tmp_path / "c", settings=QUICK).path)
    assert page.count("(AUC = ") == 4
    people().with_columns(shop="s" + (pl.col("person_id") % 30).cast(pl.String)).write_csv(tmp_path / "shops.csv")
    run = train_run(tmp_path / "shops.csv", "shop", tmp_path / "d", settings=QUICK | {"members": 1})
    page = page_of(run.path)
    assert "<strong>Confusion matrix</strong>" not in page
    assert "hardly known" in page


def test_many_columns_are_folded_up_and_long_texts_cut(tmp_path) -> None:
    rng = np.random.RandomState(0)
    table = pl.DataFrame({f"c{k}": rng.randn(80) for k in range(60)} | {"n" * 5000: rng.randn(80), "y": rng.rand(80)})
    table.write_csv(tmp_path / "wide.csv")
    page = page_of(train_run(tmp_path / "wide.csv", "y", tmp_path / "run", settings=QUICK | {"members": 1}).path)
    assert "<details><summary>61 columns</summary>" in page
    assert "n" * 199 + "…" in page
    assert "n" * 201 not in page


def test_scores_with_intervals_show_them(finished, tmp_path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    facts["scores"]["test"][0] |= {"low": 0.8125, "high": 0.9375}
    without = facts["scores"]["test"][1] | {"low": None, "high": None, "value": 0.123456}
    facts["scores"]["test"][1] = without
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    page = report_again(read_run(tmp_path / "run")).read_text()
    assert "[0.8125, 0.9375]" in page
    assert "0.8125 … 0.9375" in page
    assert "0.12346 [" not in page


def test_rows_to_show_are_drawn_where_there_are_many(finished, monkeypatch) -> None:
    (_, own), estimator = find_table(read_run(finished)), read_run(finished).estimator()
    monkeypatch.setattr("plainnet.runs.report.MOST_ROWS", 25)
    found = gather(estimator, own)
    assert (found.part, len(found.y), found.n_rows, found.predictions.shape) == ("test", 25, 60, (25, 2))
    assert np.allclose(estimator.predict_proba(found.table), found.predictions)


def test_a_report_does_not_take_long_for_an_importance(finished, monkeypatch, tmp_path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr("plainnet.runs.report.IMPORTANCE_WORK", 50 * 3 * 4 * 5 - 1)  # rows, shuffles, networks, columns
    page = report_again(read_run(tmp_path / "run")).read_text()
    assert "Not measured for this page: it has too many columns" in page
    monkeypatch.setattr("plainnet.runs.report.IMPORTANCE_WORK", 50 * 3 * 4 * 5)
    page = report_again(read_run(tmp_path / "run")).read_text()
    assert "on 50 of the same rows" in page


def test_ctrl_c_during_the_report_keeps_the_run(folder, tmp_path, monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("plainnet.runs.report.permutation_importance", interrupted)
    with pytest.warns(
        PlainnetWarning, match="the report was stopped by Ctrl-C, the run is complete; .*plainnet report"
    ):
        run = train_run(folder / "people.csv", "rich", tmp_path / "run", settings=QUICK)
    assert read_run(run.path).estimator().predict(people()).shape == (300,)
    assert not (run.path / "report.html").exists()


def test_a_run_with_a_report_is_overwritten_when_asked(folder, tmp_path) -> None:
    for seed in (0, 1):
        run = train_run(
            folder / "people.csv", "rich", tmp_path / "run", settings=QUICK | {"members": 1}, seed=seed, overwrite=True
        )
    assert "--seed 1" in page_of(run.path)


def test_a_run_of_a_few_rows_has_a_page(tmp_path) -> None:
    people(12).write_csv(tmp_path / "small.csv")
    page = page_of(train_run(tmp_path / "small.csv", "rich", tmp_path / "run", settings=QUICK, test_share=0.1).path)
    assert "Model card" in page
