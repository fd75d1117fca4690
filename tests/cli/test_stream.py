"""``--stream``: from a folder of files to a run, and from a run to a file of predictions."""

import polars as pl
import pytest

from tests.cli.test_cli import run_cli as run_cli  # a fixture
from tests.helpers import people


@pytest.mark.filterwarnings("default")
def test_from_a_folder_to_predictions_piece_by_piece(run_cli, tmp_path) -> None:
    (tmp_path / "rows").mkdir()
    for number, part in enumerate(people().iter_slices(100)):
        part.write_parquet(tmp_path / "rows" / f"{number}.parquet")
    code, out, err = run_cli(
        "train", "rows/", "--target", "rich", "--out", "run", "--epochs", "2", "--hidden", "8", "--stream"
    )
    assert code == 0, err
    assert "from 300 rows" in out
    assert "test (" in out
    code, _, err = run_cli("predict", "run", "rows/*.parquet", "--stream", "--with-input", "--out", "p.parquet")
    assert (code, "300 predictions written to p.parquet" in err) == (0, True), err
    written = pl.read_parquet(tmp_path / "p.parquet")
    assert written.columns[-3:] == ["prediction", "probability no", "probability yes"]
    code, out, _ = run_cli("predict", "run", "rows", "--stream")
    assert (code, len(out.splitlines())) == (0, 301)
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == written["prediction"].to_list()


def test_what_cannot_be_streamed_is_answered(run_cli, tmp_path) -> None:
    people().write_csv(tmp_path / "people.csv")
    code, _, err = run_cli("train", "people.csv", "--target", "rich", "--stream")
    assert (code, "only Parquet files are read piece by piece" in err) == (1, True)
    code, _, err = run_cli("predict", "run", "people.csv", "--stream", "--query", "x")
    assert (code, "leave one out" in err) == (1, True)
