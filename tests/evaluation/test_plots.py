"""Displays: what they draw is what was measured; scikit-learn's own work with our estimators."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.calibration import CalibrationDisplay, calibration_curve
from sklearn.inspection import PartialDependenceDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, PredictionErrorDisplay, RocCurveDisplay

from plainnet import NetClassifier, NetRegressor, RunError, SettingError, TableError, load
from plainnet.evaluation.plots import (
    ContributionsDisplay,
    DependenceDisplay,
    ImportanceDisplay,
    LossDisplay,
    ReliabilityDisplay,
    as_label,
    save_figure,
)
from tests.helpers import people

COLUMNS = ["age", "town", "member", "joined"]


@pytest.fixture(scope="module")
def pack() -> NetClassifier:
    return NetClassifier(members=4, hidden=(8,), epochs=5).fit(people().select(*COLUMNS, "rich"), "rich")


@pytest.fixture(scope="module")
def regressor() -> NetRegressor:
    return NetRegressor(members=1, hidden=(8,), epochs=5).fit(people().select(*COLUMNS, "income"), "income")


def axes():
    return Figure(figsize=(7, 4)).subplots()


def test_scikit_learns_displays_take_our_estimators_and_any_data_frame(pack, regressor) -> None:
    table, frame = people(), people().to_pandas()
    for X in (table, frame):
        y, income = X["rich"].to_numpy(), X["income"].to_numpy()
        assert RocCurveDisplay.from_estimator(pack, X, y, ax=axes()).roc_auc > 0.5
        assert PrecisionRecallDisplay.from_estimator(pack, X, y, ax=axes()).average_precision > 0.5
        assert ConfusionMatrixDisplay.from_estimator(pack, X, y, ax=axes()).confusion_matrix.sum() == 300
        assert len(CalibrationDisplay.from_estimator(pack, X, y, ax=axes()).prob_true) > 1
        assert len(PredictionErrorDisplay.from_estimator(regressor, X, income, ax=axes()).y_pred) == 300
    known = frame[COLUMNS].assign(age=frame["age"].fillna(40))  # scikit-learn's grid is NaN where a cell is missing
    drawn = PartialDependenceDisplay.from_estimator(regressor, known, ["age"], grid_resolution=5, ax=axes())
    assert drawn.pd_results[0]["average"].shape == (1, 5)
    assert plt.get_fignums() == []


def test_losses_of_a_pack_are_bold_and_those_of_its_members_faint(pack, regressor) -> None:
    display = LossDisplay.from_estimator(pack, ax=axes())
    bold = [line for line in display.ax_.lines if line.get_linewidth() == 2]
    faint = [line for line in display.ax_.lines if line.get_linewidth() < 1]
    assert (len(bold), len(faint)) == (2, 8)
    assert np.array_equal(bold[0].get_ydata(), pack.history_.losses)
    assert np.array_equal(faint[1].get_ydata(), pack.members_[1].history.losses)
    single = LossDisplay.from_history(regressor.history_, ax=axes())
    assert np.array_equal(single.ax_.lines[0].get_ydata(), regressor.history_.losses)
    assert single.figure_ is single.ax_.figure


def test_a_model_file_holds_no_losses_to_draw(pack, tmp_path) -> None:
    pack.save(tmp_path / "m.safetensors")
    with pytest.raises(SettingError, match="read from a model file, which holds no history"):
        LossDisplay.from_estimator(load(tmp_path / "m.safetensors"))


def test_reliability_is_scikit_learns_with_the_rows_counted() -> None:
    rng = np.random.RandomState(0)
    given = rng.rand(2000)
    happened = rng.rand(2000) < given
    display = ReliabilityDisplay.from_predictions(happened, given, ax=axes())
    observed, predicted = calibration_curve(happened, given, n_bins=10)
    assert display.observed == pytest.approx(observed)
    assert display.predicted == pytest.approx(predicted)
    assert display.counts.sum() == 2000
    assert {f"{count:,}" for count in display.counts} <= {text.get_text() for text in display.ax_.texts}
    low, high = display.intervals()
    assert (low <= display.predicted).sum() >= 8
    assert (display.predicted <= high).sum() >= 8


def test_wilsons_interval_worked_by_hand() -> None:
    """5 of 10: 0.5 ± 0.2634, from any table of Wilson's intervals; 0 of 10: 0 … 0.2775."""
    low, high = ReliabilityDisplay(np.array([0.5, 0.1]), np.array([0.5, 0.0]), np.array([10, 10])).intervals()
    assert low == pytest.approx([0.2366, 0], abs=1e-4)
    assert high == pytest.approx([0.7634, 0.2775], abs=1e-4)


def test_reliability_of_two_classes_and_of_many(pack) -> None:
    table = people()
    assert ReliabilityDisplay.from_estimator(pack, table, "rich", ax=axes()).name == "yes"
    towns = NetClassifier(members=1, epochs=2).fit(table.select("age", "income"), table["town"])
    display = ReliabilityDisplay.from_estimator(towns, table, table["town"], ax=axes())
    assert (display.name, display.counts.sum()) == ("the predicted class", 300)
    with pytest.raises(TableError, match="no rows"):
        ReliabilityDisplay.from_predictions([], [])


def test_importance_is_drawn_largest_on_top(pack) -> None:
    display = ImportanceDisplay.from_estimator(pack, people(), "rich", n_repeats=2, ax=axes())
    widths = [bar.get_width() for bar in display.ax_.patches]
    assert widths == [each.value for each in display.importance.columns]
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == [
        each.column for each in display.importance.columns
    ]
    assert display.ax_.yaxis_inverted()
    assert display.ax_.get_xlabel() == "growth of the log-loss when shuffled"


def test_dependence_is_a_line_or_points(pack, regressor) -> None:
    display = DependenceDisplay.from_estimator(pack, people(), "age", ax=axes())
    bold = display.ax_.lines[-2]
    assert bold.get_ydata() == pytest.approx(display.dependence.average)
    assert display.ax_.get_ylabel() == "probability of yes"
    display = DependenceDisplay.from_estimator(regressor, people(), "town", ax=axes())
    assert sorted(label.get_text() for label in display.ax_.get_xticklabels()) == ["Bonn", "Jena", "Köln", "Ulm"]
    assert display.ax_.get_ylabel() == "prediction"


def test_contributions_are_drawn_with_the_cells(regressor) -> None:
    table = people()
    display = ContributionsDisplay.from_estimator(regressor, table[1:2], table, ax=axes())
    assert [bar.get_width() for bar in display.ax_.patches] == [
        each.value for each in display.explanation.contributions
    ]
    assert any(label.get_text() == f"town = {table['town'][1]}" for label in display.ax_.get_yticklabels())


def test_without_axes_a_display_opens_one_figure_of_pyplot(regressor) -> None:
    LossDisplay.from_estimator(regressor)
    assert len(plt.get_fignums()) == 1


def test_names_are_never_formulas(tmp_path) -> None:
    assert as_label("a\n\tb\x00c") == "a b c"
    assert as_label("x" * 50) == "x" * 27 + "…"
    table = people().rename({"age": r"$\frac{$", "town": "a $ b $ c_{"})
    regressor = NetRegressor(members=1, epochs=1).fit(table.select(r"$\frac{$", "a $ b $ c_{", "income"), "income")
    display = ImportanceDisplay.from_estimator(regressor, table, "income", n_repeats=1, ax=axes())
    save_figure(display.figure_, tmp_path / "picture.svg")
    assert "picture.svg" in [path.name for path in tmp_path.iterdir()]
    with pytest.raises(RunError, match="a picture is saved as .png, .svg or .pdf"):
        save_figure(display.figure_, tmp_path / "picture.doc")
