"""What the documents say runs: every page's Python, the pictures and pages they point to."""

import importlib
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from plainnet import errors

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: A block of Python, and the comment in the line above it, if any.
BLOCK = re.compile(r"^(?:<!--(?P<comment>[^\n]*)-->\n)?```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
NOT_RUN = re.compile(r" not run: \S.{9,} ")

#: What has to be true once a page has run, beyond what its own blocks assert.
PROMISES = {
    "README.md": (
        "len(history.losses) == 5000",
        "probabilities.shape == (48842, 2)",
        "between.shape == (5, 2)",
        "spread.predict(adult.head(3)).shape == (3, 3)",
    ),
    "docs/evaluation.md": ("'AUC: 0.' in shown", "'calibration error: 0.' in shown", "len(found.folds) == 3"),
    "docs/explain.md": ("len(importance.columns) == 14", "Path('explained.png').exists()", "roc.roc_auc > 0.8"),
    "docs/export.md": (
        "all(np.allclose(own, expected(), rtol=0, atol=1e-5) for own in (probabilities, same.numpy(), again))",
        "labels.tolist() == answers == classifier.predict(adult.tail(5)).tolist()",
        "abs(probability - alone()) <= 1e-5",
    ),
    "docs/monotone.md": ("steps.min() >= -1e-3", "steps.max() > 20"),
}


def blocks_of(page: Path) -> list[str]:
    """Return the blocks of Python of a page that are run."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [each["code"] for each in found if "not run" not in (each["comment"] or "")]


#: The peers in the README's headline, as the results and as the README call them.
PEERS = {"catboost": "CatBoost", "lightgbm": "LightGBM", "sklearn_mlp": "scikit-learn's MLP"}

RUNNING = [page for page in PAGES if blocks_of(page)]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder to run in, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    importlib.invalidate_caches()
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_the_python_of_a_page_runs(page: Path, scratch: Path, capsys) -> None:
    names: dict[str, object] = {}
    for block in blocks_of(page):
        exec(compile(block, name_of(page), "exec"), names)  # noqa: S102 - our own page
    if name_of(page) not in PROMISES:
        return

    def expected():
        return names["classifier"].predict_proba(names["adult"].tail(5))

    def alone():
        classifier = names["classifier"]
        row = dict.fromkeys(classifier.feature_names_in_) | names["row"]
        return classifier.predict_proba({name: [cell] for name, cell in row.items()})[0, 1]

    names |= {"shown": capsys.readouterr().out, "np": np, "Path": Path, "expected": expected, "alone": alone}
    for promise in PROMISES[name_of(page)]:
        assert eval(promise, names), promise  # noqa: S307 - our own words, above


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for each in BLOCK.finditer(text):
        assert each["comment"] is None or NOT_RUN.fullmatch(each["comment"]), each["comment"]
    assert len(BLOCK.findall(text)) == text.count("```python"), "a block whose fence is indented or has further words"


def test_promises_are_of_pages_that_run() -> None:
    assert set(PROMISES) <= {name_of(page) for page in RUNNING}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_sites_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs").as_posix()
        assert path in contents or path.startswith("decisions/"), path


def test_the_page_on_errors_has_the_tree_of_the_code() -> None:
    tree = errors.__doc__.split("\n\n    ", 1)[1].split("\n\nA message")[0]
    assert textwrap.dedent(f"    {tree}") in (ROOT / "docs" / "reference" / "errors.md").read_text()


def cells_of(path: Path) -> dict[str, list[str]]:
    """The rows of a page's tables by their first cell; where one is there twice, the first."""
    rows = [line.strip("| \n").split(" | ") for line in path.read_text(encoding="utf-8").splitlines()]
    return {first: rest for first, *rest in reversed(rows) if rest}


def test_the_headline_figures_are_those_that_were_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    speed = json.loads((ROOT / "benchmarks/speed/training.json").read_text())["works"][0]["seconds"]
    quality = {
        who: float(cells[4]) for who, cells in cells_of(ROOT / "benchmarks/quality/results.md").items() if who in PEERS
    }
    row = cells_of(ROOT / "benchmarks/speed/results.md")
    ours, theirs = (
        float(row[f"one row: {who}"][0])
        for who in ("the default pack, polars row", "scikit-learn's pipeline, pandas row")
    )
    for shown in (
        f"{speed['plainnet']:.3f} s | {speed['the loop by hand']:.2f} s the loop by hand · {speed['JAX, lax.scan']:.3f} s JAX |",
        " · ".join(f"{quality[who]:.2f} {name}" for who, name in PEERS.items()),
        f"| {ours:.2f} ms | {theirs:.2f} ms scikit-learn's pipeline",
    ):
        assert shown in readme


def test_the_page_of_benchmarks_is_that_of_the_results(monkeypatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "speed")
    import pages

    results = json.loads((ROOT / "benchmarks/speed/training.json").read_text())
    assert pages.page(results) == (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def test_contributing_stays_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 50
