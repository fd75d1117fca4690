"""Scores against scikit-learn's, and their intervals against known answers and against a bootstrap by hand."""

import warnings
from functools import partial

import numpy as np
import polars as pl
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from plainnet import NetClassifier, NetRegressor, TableError
from plainnet.evaluation import bootstrap
from plainnet.evaluation.evaluation import baseline_of, score, threshold_of, what_is_left_out

EXACT = partial(pytest.approx, rel=1e-12, abs=1e-12)


def fitted(y: np.ndarray, **options):
    """A network whose target is learnt, and whose predictions the tests make up."""
    kind = NetRegressor if y.dtype.kind == "f" and y.ndim == 1 else NetClassifier
    table = pl.DataFrame({"x": np.arange(float(len(y)))})
    return kind(members=1, hidden=(), epochs=1, **options).fit(table, y)


def probabilities(codes: np.ndarray, n_classes: int, noise: float = 1.5, decimals: int = 8) -> np.ndarray:
    """Probabilities that lean to the right class, with ties where they are rounded."""
    random = np.random.RandomState(1)
    logits = np.eye(n_classes)[codes] + noise * random.randn(len(codes), n_classes)
    p = np.round(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), decimals) + 1e-9
    return p / p.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def two() -> NetClassifier:
    return fitted(np.array(["no", "no", "yes"] * 5))


@pytest.fixture(scope="module")
def seven() -> NetClassifier:
    return fitted(np.arange(7).repeat(3).astype(str))


@pytest.fixture(scope="module")
def number() -> NetRegressor:
    return fitted(np.arange(20.0))


def by_name(scores) -> dict:
    return {each.metric: each for each in scores}


def test_scores_of_two_classes_are_scikit_learns(two) -> None:
    codes = np.random.RandomState(0).randint(0, 2, 400)
    p = probabilities(codes, 2, decimals=2)
    y, at = np.array(["no", "yes"])[codes], 0.37
    found = by_name(score(two, p, y, np.array([2 / 3, 1 / 3]), threshold=at))
    says = p.argmax(axis=1)
    assert list(found) == [
        "AUC", "average precision", "accuracy", "balanced accuracy", "F1", "log-loss", "Brier score", "calibration error",
    ]  # fmt: skip
    assert found["AUC"].value == EXACT(metrics.roc_auc_score(codes, p[:, 1]))
    assert found["average precision"].value == EXACT(metrics.average_precision_score(codes, p[:, 1]))
    assert found["average precision"].baseline == EXACT(codes.mean())
    assert found["accuracy"].value == EXACT(metrics.accuracy_score(codes, says))
    assert found["balanced accuracy"].value == EXACT(metrics.balanced_accuracy_score(codes, says))
    assert found["F1"].value == EXACT(metrics.f1_score(codes, p[:, 1] >= at))
    assert found["F1"].baseline == EXACT(metrics.f1_score(codes, np.ones(400)))
    assert found["log-loss"].value == EXACT(metrics.log_loss(codes, p))
    assert found["Brier score"].value == EXACT(metrics.brier_score_loss(codes, p[:, 1]))
    right, said = calibration_curve(codes, p[:, 1], n_bins=10)
    rows = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], p[:, 1]), minlength=10)
    assert found["calibration error"].value == EXACT(np.abs(right - said) @ rows[rows > 0] / 400)
    assert by_name(score(two, p, y, np.array([2 / 3, 1 / 3])))["F1 at 0.5"].value == EXACT(
        metrics.f1_score(codes, p[:, 1] >= 0.5)
    )


def test_scores_of_many_classes_are_scikit_learns(seven) -> None:
    codes = np.random.RandomState(0).randint(0, 7, 300)
    p = probabilities(codes, 7)
    found = by_name(score(seven, p, codes.astype(str), np.full(7, 1 / 7)))
    assert list(found) == [
        "AUC", "accuracy", "balanced accuracy", "macro F1", "top-3 accuracy", "log-loss", "Brier score", "calibration error",
    ]  # fmt: skip
    says = p.argmax(axis=1)
    assert found["AUC"].value == EXACT(metrics.roc_auc_score(codes, p, multi_class="ovr"))
    assert found["balanced accuracy"].value == EXACT(metrics.balanced_accuracy_score(codes, says))
    assert found["macro F1"].value == EXACT(metrics.f1_score(codes, says, average="macro"))
    assert found["top-3 accuracy"].value == EXACT(metrics.top_k_accuracy_score(codes, p, k=3))
    assert found["Brier score"].value == EXACT(metrics.brier_score_loss(codes, p))
    right, said = calibration_curve(says == codes, p.max(axis=1), n_bins=10)
    rows = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], p.max(axis=1)), minlength=10)
    assert found["calibration error"].value == EXACT(np.abs(right - said) @ rows[rows > 0] / 300)


def test_scores_of_numbers_are_scikit_learns(number) -> None:
    random = np.random.RandomState(0)
    y = random.rand(300) + 0.5
    p = y + 0.3 * random.randn(300)
    reach = np.full(300, 0.4)
    found = by_name(score(number, p, y, np.array([1.0]), reach=reach))
    assert list(found) == [
        "RMSE", "MAE", "R²", "median absolute error", "MAPE", "90 % interval coverage", "90 % interval width",
    ]  # fmt: skip
    assert found["RMSE"].value == EXACT(metrics.root_mean_squared_error(y, p))
    assert found["MAE"].value == EXACT(metrics.mean_absolute_error(y, p))
    assert found["R²"].value == EXACT(metrics.r2_score(y, p))
    assert found["median absolute error"].value == EXACT(metrics.median_absolute_error(y, p))
    assert found["MAPE"].value == EXACT(metrics.mean_absolute_percentage_error(y, p))
    assert found["90 % interval coverage"].value == EXACT(np.mean(np.abs(y - p) <= 0.4))
    assert found["90 % interval coverage"].aim == 0.9
    assert found["90 % interval coverage"].baseline == EXACT(0.9, abs=1 / 300)
    assert found["90 % interval width"].value == EXACT(0.8)
    assert "MAPE" not in by_name(score(number, p, y * (np.arange(300) > 0), np.array([1.0])))


def test_quantiles_are_scored_by_the_pinball_loss_beside_the_training_rows_quantiles() -> None:
    y = np.arange(40.0)
    regressor = fitted(y, quantiles=[0.1, 0.5, 0.9])
    base = baseline_of(regressor, y)
    assert base.tolist() == EXACT([3.9, 19.5, 35.1])
    p = np.stack([y - 3, y + 1, y + 2], axis=1)
    found = by_name(score(regressor, p, y, base))
    losses = [metrics.mean_pinball_loss(y, p[:, k], alpha=share) for k, share in enumerate((0.1, 0.5, 0.9))]
    assert found["pinball loss"].value == EXACT(np.mean(losses))
    coverage = found["80 % interval coverage"]
    assert (coverage.value, coverage.baseline, coverage.aim) == (1.0, EXACT(0.8), 0.8)


def test_counts_are_scored_by_the_poisson_deviance() -> None:
    random = np.random.RandomState(0)
    y = random.poisson(2, 100).astype(float)
    regressor = fitted(y, loss="poisson")
    p = np.exp(random.randn(100))
    found = by_name(score(regressor, p, y, baseline_of(regressor, y)))["Poisson deviance"]
    assert found.value == EXACT(metrics.mean_poisson_deviance(y, p))
    assert found.baseline == EXACT(metrics.mean_poisson_deviance(y, np.full(100, y.mean())))
    assert found.low < found.value < found.high


def test_several_labels_and_several_numbers_a_row() -> None:
    random = np.random.RandomState(0)
    y = random.randint(0, 2, (60, 3))
    classifier = fitted(y)
    p = random.rand(60, 3)
    base = baseline_of(classifier, y)
    assert base.tolist() == EXACT(y.mean(axis=0).tolist())
    found = by_name(score(classifier, p, y, base))
    assert found["macro AUC"].value == EXACT(metrics.roc_auc_score(y, p))
    assert found["subset accuracy"].value == EXACT(metrics.accuracy_score(y, p > 0.5))
    assert found["log-loss"].value == EXACT(np.mean([metrics.log_loss(y[:, k], p[:, k]) for k in range(3)]))
    targets = random.randn(60, 2)
    table = pl.DataFrame({"x": np.arange(60.0)})
    regressor = NetRegressor(members=1, hidden=(), epochs=1).fit(table, targets)
    numbers = by_name(score(regressor, p[:, :2], targets, baseline_of(regressor, targets)))
    assert numbers["RMSE"].value == EXACT(metrics.root_mean_squared_error(targets, p[:, :2]))
    assert numbers["R²"].value == EXACT(metrics.r2_score(targets, p[:, :2]))
    assert all(each.low < each.value < each.high for each in numbers.values())


def by_hand(metric, y, p) -> np.ndarray:
    """The same resamples, each given to scikit-learn."""
    counts = bootstrap.draw_counts(len(y)).astype(int)
    return np.array([metric(np.repeat(y, own, axis=0), np.repeat(p, own, axis=0)) for own in counts[:60]])


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("AUC", lambda y, p: metrics.roc_auc_score(y, p[:, 1])),
        ("average precision", lambda y, p: metrics.average_precision_score(y, p[:, 1])),
        ("accuracy", lambda y, p: metrics.accuracy_score(y, p.argmax(axis=1))),
        ("balanced accuracy", lambda y, p: metrics.balanced_accuracy_score(y, p.argmax(axis=1))),
        ("F1", lambda y, p: metrics.f1_score(y, p[:, 1] >= 0.4)),
        ("log-loss", lambda y, p: metrics.log_loss(y, p)),
        ("Brier score", lambda y, p: metrics.brier_score_loss(y, p[:, 1])),
    ],
)
def test_resampled_scores_of_two_classes_are_scikit_learns_on_the_same_resamples(two, name, metric) -> None:
    codes = np.random.RandomState(0).randint(0, 2, 80)
    p = probabilities(codes, 2, decimals=1)
    found = {each.metric: each for each in score(two, p, two.classes_[codes], np.array([0.5, 0.5]), threshold=0.4)}
    np.testing.assert_allclose(found[name].replicates[:60], by_hand(metric, codes, p), rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("RMSE", metrics.root_mean_squared_error),
        ("MAE", metrics.mean_absolute_error),
        ("R²", metrics.r2_score),
        ("median absolute error", metrics.median_absolute_error),
        ("MAPE", metrics.mean_absolute_percentage_error),
    ],
)
@pytest.mark.parametrize("n_rows", [50, 51])
def test_resampled_scores_of_numbers_are_scikit_learns_on_the_same_resamples(number, name, metric, n_rows) -> None:
    random = np.random.RandomState(0)
    y = random.rand(n_rows) + 0.1
    p = y + random.randn(n_rows)
    found = {each.metric: each for each in score(number, p, y, np.array([0.6]))}
    np.testing.assert_allclose(found[name].replicates[:60], by_hand(metric, y, p), rtol=1e-10)


def test_resampled_scores_of_many_classes(seven) -> None:
    codes = np.random.RandomState(0).randint(0, 7, 700)
    p = probabilities(codes, 7)
    found = {each.metric: each for each in score(seven, p, codes.astype(str), np.full(7, 1 / 7))}
    macro = by_hand(lambda y, p: metrics.f1_score(y, p.argmax(axis=1), average="macro"), codes, p)
    np.testing.assert_allclose(found["macro F1"].replicates[:60], macro, rtol=1e-10)
    auc = by_hand(lambda y, p: metrics.roc_auc_score(y, p, multi_class="ovr"), codes, p)
    first_order = found["AUC"].replicates[:60]
    assert np.abs(first_order - auc).max() < 0.2 * auc.std()


def test_the_interval_of_an_accuracy_is_the_binomial_one(two) -> None:
    """For n rows of which a share s is right, s ± 1.96 √(s (1 - s) / n); four times the rows, half the width."""
    widths = {}
    for n_rows in (400, 1600, 25_600):  # of the last not all rows are resampled
        right = np.arange(n_rows) % 5 > 0
        p = np.where(right[:, None], [0.2, 0.8], [0.8, 0.2])
        found = by_name(score(two, p, np.full(n_rows, "yes"), np.array([0.5, 0.5])))["accuracy"]
        reach = 1.96 * np.sqrt(0.8 * 0.2 / n_rows)
        assert (found.low, found.high) == pytest.approx((0.8 - reach, 0.8 + reach), abs=0.15 * reach)
        widths[n_rows] = found.high - found.low
    assert widths[400] / widths[1600] == pytest.approx(2, rel=0.1)
    assert widths[400] / widths[25_600] == pytest.approx(8, rel=0.15)


def test_an_interval_is_the_same_each_time(two) -> None:
    codes = np.random.RandomState(0).randint(0, 2, 200)
    p = probabilities(codes, 2)
    first, second = (score(two, p, two.classes_[codes], np.array([0.5, 0.5])) for _ in range(2))
    assert first == second
    assert all(each.low <= each.value <= each.high for each in first)


def test_rows_of_one_class_and_few_rows_are_scored_as_far_as_they_can_be(two, number) -> None:
    p = np.array([[0.2, 0.8]] * 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = by_name(score(two, p, np.full(9, "yes"), np.array([0.5, 0.5])))
        one = by_name(score(number, np.array([3.0]), np.array([2.0]), np.array([1.0])))
    assert not {"AUC", "average precision", "F1 at 0.5"} & set(found)
    assert (found["accuracy"].value, found["accuracy"].low, found["accuracy"].high) == (1.0, None, None)
    assert what_is_left_out(two, np.full(9, "yes")) == [
        "AUC, average precision and F1 are left out, as the rows are all of the class yes",
        "there are no intervals, as 9 rows are too few to stand for others",
    ]
    assert "R²" not in one
    assert one["MAE"].value == 1.0
    assert what_is_left_out(number, np.full(20, 2.5)) == ["R² is left out, as all rows have the target 2.5"]


def test_classes_that_are_missing_leave_out_the_auc(seven) -> None:
    codes = np.arange(6).repeat(5)
    found = by_name(score(seven, probabilities(codes, 7), codes.astype(str), np.full(7, 1 / 7)))
    assert "AUC" not in found
    assert "macro F1" in found
    assert what_is_left_out(seven, codes.astype(str)) == ["AUC is left out, as the rows hold 6 of 7 classes"]


def test_the_threshold_is_that_of_the_highest_f1(two, seven) -> None:
    codes = np.random.RandomState(0).randint(0, 2, 300)
    p = probabilities(codes, 2)
    at = threshold_of(two, p, two.classes_[codes])
    reached = metrics.f1_score(codes, p[:, 1] >= at)
    assert reached == max(metrics.f1_score(codes, p[:, 1] >= each) for each in p[:, 1])
    assert reached > metrics.f1_score(codes, p[:, 1] >= 0.5)
    assert threshold_of(two, p, np.full(300, "no")) is None
    assert threshold_of(seven, np.full((2, 7), 1 / 7), np.array(["1", "2"])) is None


def test_targets_that_cannot_be_scored(two, number) -> None:
    with pytest.raises(TableError, match="classes the training rows did not have: .'maybe'."):
        score(two, np.array([[0.5, 0.5]]), np.array(["maybe"]), np.array([0.5, 0.5]))
    with pytest.raises(TableError, match="holds NaN or infinity"):
        score(number, np.array([1.0]), np.array([np.inf]), np.array([1.0]))
    with pytest.raises(TableError, match="no rows to score"):
        score(number, np.zeros(0), np.zeros(0), np.array([1.0]))
