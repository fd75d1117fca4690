"""The scripts in examples/ run, with small settings, and say what they promise; those of the tutorial: reference/test_tutorial.py."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from docs.notebooks import NOTEBOOKS, cells_of

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_on_adult_leaves_a_report(tmp_path, capsys) -> None:
    run = example("adult_with_report").main(tmp_path / "run", rows=1500, effort="quick")
    assert (tmp_path / "run" / "report.html").exists()
    auc = run.facts["scores"]["test"][0]
    assert auc["metric"] == "AUC"
    assert auc["value"] > 0.8
    assert "report.html" in capsys.readouterr().out


def test_intervals_hold_about_what_they_should(capsys) -> None:
    found = example("intervals").main(rows=1600, effort="quick")
    assert 0.85 < found["interval"] < 0.95
    assert 0.8 < found["quantiles"] < 0.97
    assert "km by" in capsys.readouterr().out


def test_a_loss_of_ones_own_is_least_at_its_quantile(capsys) -> None:
    history, below = example("own_network_and_loss").main(rows=800, epochs=30)
    assert history.losses[-1] < history.losses[0]
    assert 0.65 < below < 0.85
    assert "75 % were asked for" in capsys.readouterr().out


def test_a_sweep_finds_that_too_narrow_and_too_slow_is_worst(capsys) -> None:
    found = example("sweep").main(rows=400, epochs=40, seeds=1)
    assert len(found) == 12
    assert max(found, key=found.get) == (4, 0.001)
    assert capsys.readouterr().out.count("validation loss") == 3


def test_the_service_answers_as_the_model_predicts(capsys) -> None:
    answer = example("serve_and_ask").main(rows=500)
    assert len(answer["predictions"]) == 5
    assert set(answer["predictions"]) <= {"<=50K", ">50K"}
    assert capsys.readouterr().out.count("with a probability of") == 5


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_says_what_it_is_and_can_be_imported_without_running(path, capsys) -> None:
    module = example(path.stem)
    assert module.__doc__
    assert callable(module.main)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_its_page_and_has_been_run(name) -> None:
    notebook = json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    assert cells == cells_of(NOTEBOOKS[name]), f"examples/{name}.ipynb is out of date: run make docs"
    for cell in notebook["cells"]:
        assert cell["cell_type"] == "markdown" or cell["execution_count"], cell["source"]
        assert all(output["output_type"] in ("stream", "display_data") for output in cell.get("outputs", []))
    for link in re.findall(
        r"\]\((?!https?:)([^)#\s]+)", "\n".join(source for kind, source in cells if kind == "markdown")
    ):
        assert (EXAMPLES / link).exists(), link
