"""Trackers: the numbers are read back with TensorBoard's and MLflow's own readers."""

import importlib.util
import os
from pathlib import Path

import pytest

from plainnet import MissingExtraError, RunError, SettingError
from plainnet.runs.runs import read_run
from plainnet.runs.track import track
from plainnet.runs.train_run import train_run
from tests.helpers import people

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

pytestmark = [
    # MLflow uses what SQLAlchemy 2.1 is about to remove, and leaves its connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracked")
    people(200).write_csv(folder / "people.csv")
    settings = {"hidden": (8,), "epochs": 3, "members": 1, "learning_rate": 0.01}
    return train_run(folder / "people.csv", "rich", folder / "first", settings=settings)


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    """One database for all: MLflow takes seconds to make one."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def test_tensorboard_reads_the_numbers_of_the_run_folder(run, tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said = track(run, "tensorboard", str(tmp_path / "logs"))
    assert f"tensorboard --logdir {tmp_path / 'logs'}" in said
    found = EventAccumulator(str(tmp_path / "logs" / "first"))
    found.Reload()
    history = run.history()
    for name, values in (
        ("loss", history.losses),
        ("validation_loss", history.validation_losses),
        ("learning_rate", history.learning_rates),
    ):
        events = found.Scalars(name)
        assert [event.step for event in events] == [0, 1, 2]
        assert [event.value for event in events] == pytest.approx(values.tolist(), rel=1e-6)
    auc = next(score["value"] for score in run.facts["scores"]["test"] if score["metric"] == "AUC")
    assert found.Scalars("test/AUC")[0].value == pytest.approx(auc)
    assert "_hparams_/session_start_info" in found.PluginTagToContent("hparams")
    assert b"learning_rate" in found.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    assert str(run.path).encode() in found.Tensors("run/text_summary")[0].tensor_proto.string_val[0]
    with pytest.raises(RunError, match="is already there, and is not written to again"):
        track(run, "tensorboard", str(tmp_path / "logs"))


def test_mlflow_reads_the_numbers_of_the_run_folder(run, uri) -> None:
    from mlflow import MlflowClient

    said = track(run, "mlflow", uri)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("plainnet")
    kept = next(each for each in client.search_runs([experiment.experiment_id]) if each.info.run_id in said)
    assert (kept.info.status, kept.info.run_name) == ("FINISHED", "first")
    assert kept.data.params["learning_rate"] == "0.01"
    assert kept.data.params["hidden"] == "[8]"
    assert kept.data.params["target"] == "rich"
    assert kept.data.tags["plainnet.run"] == str(run.path)
    losses = [(metric.step, metric.value) for metric in client.get_metric_history(kept.info.run_id, "loss")]
    assert sorted(losses) == list(enumerate(run.history().losses.tolist()))
    rates = client.get_metric_history(kept.info.run_id, "learning_rate")
    assert sorted(each.value for each in rates) == sorted(run.history().learning_rates.tolist())
    for part, scores in run.facts["scores"].items():
        for score in scores:
            assert kept.data.metrics[f"{part}/{score['metric']}"] == pytest.approx(score["value"])


def test_mlflow_takes_the_scores_of_numbers(uri, tmp_path) -> None:
    from mlflow import MlflowClient

    people(100).write_csv(tmp_path / "people.csv")
    run = train_run(
        tmp_path / "people.csv", "income", tmp_path / "run", settings={"hidden": (4,), "epochs": 2, "members": 2}
    )
    kept = MlflowClient(tracking_uri=uri).get_run(track(run, "mlflow", uri).split()[2])
    coverage = next(each["value"] for each in run.facts["scores"]["test"] if each["metric"] == "90 % interval coverage")
    assert kept.data.metrics["test/90 percent interval coverage"] == pytest.approx(coverage)


def test_a_history_longer_than_one_request_is_written_whole(run, uri, monkeypatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setattr("plainnet.runs.track.MOST_METRICS", 4)
    key = track(run, "mlflow", uri).split()[2]
    assert len(MlflowClient(tracking_uri=uri).get_metric_history(key, "validation_loss")) == 3


def test_what_a_tracker_refuses_is_explained_and_the_run_stays(run, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        RunError, match=r"could not be written to mlflow: .*\. The run folder itself is complete; try again with"
    ):
        track(run, "mlflow", f"sqlite:///{tmp_path / 'file' / 'no.db'}")
    with pytest.raises(RunError, match="could not be written to tensorboard"):
        track(run, "tensorboard", str(tmp_path / "file"))
    assert read_run(run.path).facts["target"] == "rich"


def test_trackers_that_are_unknown_or_not_installed(run, monkeypatch) -> None:
    with pytest.raises(
        SettingError, match=r"runs are tracked by tensorboard or mlflow, not by 'mlfow' \(did you mean 'mlflow'\?\)"
    ):
        track(run, "mlfow")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "plainnet.runs.track.find_spec", lambda name: None if name in ("mlflow", "tensorboard") else find_spec(name)
    )
    with pytest.raises(
        MissingExtraError, match=r"^Writing runs to mlflow needs mlflow-skinny, .* pip install 'plainnet\[track\]'"
    ):
        track(run, "mlflow")
    with pytest.raises(MissingExtraError, match=r"needs tensorboard, .* pip install 'plainnet\[track\]'"):
        track(run, "tensorboard", str(Path("nowhere")))
