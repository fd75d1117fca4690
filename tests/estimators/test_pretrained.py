"""Folders as model hubs lay them out."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from plainnet import NetClassifier, NetRegressor, load
from plainnet.errors import ModelFileError, RunError
from tests.helpers import people


@pytest.fixture(scope="module")
def classifier() -> NetClassifier:
    table = people(120).rename({"town": "to|wn\n<b>"})
    return NetClassifier(members=2, epochs=2, hidden=(4,)).fit(table, "rich")


def test_a_folder_comes_back_as_it_was(classifier, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "hub" / "rich")
    assert {file.name for file in (tmp_path / "hub" / "rich").iterdir()} == {
        "model.safetensors",
        "config.json",
        "README.md",
    }
    again = NetClassifier.from_pretrained(tmp_path / "hub" / "rich")
    table = people(20).rename({"town": "to|wn\n<b>"})
    np.testing.assert_array_equal(again.predict_proba(table), classifier.predict_proba(table))
    assert type(load(tmp_path / "hub" / "rich")) is NetClassifier


def test_the_folder_can_be_read_by_people(classifier, tmp_path: Path) -> None:
    (tmp_path / "rich").mkdir()
    classifier.save_pretrained(str(tmp_path / "rich"))  # an empty folder is there for it
    config = json.loads((tmp_path / "rich" / "config.json").read_text())
    assert config["estimator"] == "NetClassifier"
    assert config["target"]["classes"] == ["no", "yes"]
    assert config["settings"]["hidden"] == [4]
    assert {"name": "age", "kind": "number", "why": "Int64"} in config["columns"]
    assert config["n_parameters"] == sum(p.numel() for p in classifier.network_.parameters())
    card = (tmp_path / "rich" / "README.md").read_text()
    _, front, page = card.split("---\n", 2)
    assert "library_name: plainnet\n" in front
    assert "- tabular-classification\n" in front
    assert "2 classes: no, yes" in page
    assert "| to\\|wn &lt;b> | category |" in page


def test_the_card_says_what_is_predicted(tmp_path: Path) -> None:
    table = people(80).select("age", "town")
    y = table["town"].str.len_chars().to_numpy()
    one = {"members": 1, "epochs": 1, "hidden": (2,)}
    both = np.stack([y > 3, y > 4], axis=1).astype(int)
    for number, (estimator, target, answer) in enumerate(
        [
            (NetRegressor(**one), y, "a number"),
            (NetRegressor(**one), both, "2 numbers a row"),
            (NetRegressor(**one, quantiles=[0.1, 0.9]), y, "the quantiles 0.1, 0.9 of a number"),
            (NetRegressor(**one, loss="poisson"), y, "a count"),
            (NetClassifier(**one), both, "2 labels, each there or not"),
            (NetClassifier(**one), np.arange(80) % 25, f"25 classes: {', '.join(map(str, range(20)))} and 5 more."),
        ]
    ):
        estimator.fit(table, target).save_pretrained(tmp_path / str(number))
        assert f"It predicts {answer}" in (tmp_path / str(number) / "README.md").read_text()


def test_what_is_there_is_replaced_only_if_asked_and_only_if_it_is_ours(classifier, tmp_path: Path) -> None:
    folder = tmp_path / "rich"
    classifier.save_pretrained(folder)
    with pytest.raises(RunError, match="is already there, and is not overwritten"):
        classifier.save_pretrained(folder)
    classifier.save_pretrained(folder, overwrite=True)
    (folder / "diary.txt").write_text("dear diary")
    with pytest.raises(RunError, match="holds other files too, such as 'diary.txt', and is not replaced"):
        classifier.save_pretrained(folder, overwrite=True)
    assert (folder / "diary.txt").exists()
    with pytest.raises(NotFittedError):
        NetClassifier().save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_downloaded_and_no_other_estimator_is_returned(classifier, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="'someone/model' is no folder on this machine, and nothing is downloaded"):
        NetClassifier.from_pretrained("someone/model")
    with pytest.raises(ModelFileError, match="is a folder without model.safetensors"):
        NetClassifier.from_pretrained(tmp_path)
    classifier.save_pretrained(tmp_path / "rich")
    with pytest.raises(ModelFileError, match="holds a NetClassifier: read it with NetClassifier.from_pretrained"):
        NetRegressor.from_pretrained(tmp_path / "rich")
