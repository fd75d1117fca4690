"""Explanations, each against a second way to the same numbers: the table changed by hand, all subsets, scikit-learn."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, root_mean_squared_error

from plainnet import DataWarning, NetClassifier, NetRegressor, SettingError, TableError
from plainnet.evaluation.encoded import feature_blocks
from plainnet.evaluation.explain import partial_dependence, permutation_importance
from plainnet.evaluation.shapley import explain_row
from plainnet.tables.encode import encode, feature_names
from tests.helpers import people

COLUMNS = ["age", "town", "member", "joined"]


@pytest.fixture(scope="module")
def classifier() -> NetClassifier:
    return NetClassifier(members=2, hidden=(16,), epochs=20).fit(people().select(*COLUMNS, "rich"), "rich")


@pytest.fixture(scope="module")
def regressor() -> NetRegressor:
    return NetRegressor(members=1, hidden=(16,), epochs=20).fit(people().select(*COLUMNS, "income"), "income")


def test_the_features_of_a_column_are_those_that_change_with_it(classifier) -> None:
    schema = classifier.schema_
    table = people().select(COLUMNS)
    x, _ = encode(schema, table)
    blocks = feature_blocks(schema)
    assert sorted(np.concatenate(list(blocks.values()))) == list(range(len(feature_names(schema))))
    for name, block in blocks.items():
        other, _ = encode(schema, table.with_columns(table[name].reverse()))
        assert set(np.flatnonzero((other != x).any(axis=0))) <= set(block)
        assert (other[:, block] != x[:, block]).any()


def test_importance_is_the_growth_of_the_loss_of_a_table_whose_column_was_shuffled(classifier, regressor) -> None:
    table, y, income = people().select(COLUMNS), people()["rich"].to_numpy(), people()["income"].to_numpy()
    order = np.random.RandomState(5).permutation(table.height)
    found = permutation_importance(classifier, table, y, n_repeats=1, random_state=5)
    numbers = permutation_importance(regressor, table, income, n_repeats=1, random_state=5)
    assert (found.metric, numbers.metric, found.rows, found.n_repeats) == ("log-loss", "RMSE", 300, 1)
    assert numbers.loss == pytest.approx(root_mean_squared_error(income, regressor.predict(table)))
    for name in COLUMNS:
        shuffled = table.with_columns(table[name][order])
        wanted = log_loss(y, classifier.predict_proba(shuffled)) - log_loss(y, classifier.predict_proba(table))
        assert {each.column: each.value for each in found.columns}[name] == pytest.approx(wanted, abs=1e-6)
        wanted = root_mean_squared_error(income, regressor.predict(shuffled)) - numbers.loss
        assert {each.column: each.value for each in numbers.columns}[name] == pytest.approx(wanted, rel=1e-5)


def test_importance_finds_what_the_target_depends_on(classifier) -> None:
    found = permutation_importance(classifier, people(seed=1).select(*COLUMNS, "rich"), "rich")
    assert found.columns[0].column == "age"
    assert [each.value for each in found.columns] == sorted((each.value for each in found.columns), reverse=True)
    for each in found.columns:
        assert each.low < each.value < each.high
    by_name = {each.column: each for each in found.columns}
    assert by_name["age"].low > 0
    assert by_name["joined"].high < by_name["age"].low
    assert found.to_json()["columns"][0]["column"] == "age"


def test_the_interval_is_as_wide_as_other_rows_differ(regressor) -> None:
    """Drawn rows of a large population: 95 % intervals hold the population's value about 95 times of 100."""
    whole = people(20_000, seed=3).select(*COLUMNS, "income")
    truth = permutation_importance(regressor, whole, "income", n_repeats=2, max_samples=20_000).columns[0]
    assert truth.column == "age"
    held = 0
    for seed in range(60):
        found = permutation_importance(regressor, whole, "income", max_samples=300, random_state=seed)
        held += found.columns[0].low <= truth.value <= found.columns[0].high
    assert 50 <= held <= 60


def test_rows_are_drawn_and_counted(regressor, classifier) -> None:
    table = people(3000)
    assert permutation_importance(regressor, table, "income", n_repeats=1).rows == 3000
    found = permutation_importance(regressor, table, "income", n_repeats=1, max_samples=200)
    assert (found.rows, found.rows_given) == (200, 3000)
    pack = NetClassifier(members=4, hidden=(4,), epochs=1).fit(people().select("age", "rich"), "rich")
    assert sum(member.weight > 0 for member in pack.members_) == 4
    assert permutation_importance(pack, table, "rich", n_repeats=1).rows == 1000


@pytest.mark.parametrize(
    ("estimator", "target", "metric"),
    [
        (NetRegressor(quantiles=[0.1, 0.5, 0.9], epochs=2, members=1), lambda t: t["income"], "pinball loss"),
        (NetRegressor(loss="poisson", epochs=2, members=1), lambda t: (t["income"] / 1000).floor(), "RMSE"),
        (
            NetRegressor(epochs=2, members=1),
            lambda t: t.select("income", "person_id"),
            "RMSE of the standardised targets",
        ),
        (
            NetClassifier(epochs=2, members=1),
            lambda t: np.stack([t["income"] > 5000, t["member"]], 1).astype(int),
            "log-loss",
        ),
        (NetClassifier(epochs=2, members=1), lambda t: t["town"], "log-loss"),
    ],
    ids=["quantiles", "counts", "two numbers", "labels", "four classes"],
)
def test_every_kind_of_target_can_be_explained(estimator, target, metric) -> None:
    table = people()
    x, y = table.select("age", "member", "joined"), target(table)
    estimator.fit(x, y)
    found = permutation_importance(estimator, x, y, n_repeats=2)
    assert (found.metric, len(found.columns)) == (metric, 3)
    assert all(np.isfinite([each.low, each.high]).all() for each in found.columns)
    row = explain_row(estimator, x[:1], x[:20], n_permutations=2)
    assert row.base + sum(each.value for each in row.contributions) == pytest.approx(row.prediction, rel=1e-9)
    assert len(partial_dependence(estimator, x, "age").grid) > 5


def test_importance_of_counts_is_in_their_own_unit() -> None:
    table = people().select("age", "member")
    counts = (people()["income"] / 1000).floor()
    regressor = NetRegressor(loss="poisson", epochs=5, members=1).fit(table, counts)
    found = permutation_importance(regressor, table, counts, n_repeats=1)
    assert found.loss == pytest.approx(root_mean_squared_error(counts, regressor.predict(table)), rel=1e-6)


def test_tiny_numbers_and_perfect_predictions_have_an_importance() -> None:
    table = pl.DataFrame({"x": np.arange(80) / 80})
    found = {}
    for size in (1.0, 1e-200):
        y = table["x"].to_numpy() ** 2 * size
        regressor = NetRegressor(members=1, hidden=(8,), epochs=20).fit(table, y)
        found[size] = permutation_importance(regressor, table, y)
    assert found[1e-200].loss == pytest.approx(found[1.0].loss * 1e-200, rel=0.01, abs=0)
    assert found[1e-200].columns[0].value == pytest.approx(found[1.0].columns[0].value * 1e-200, rel=0.01, abs=0)
    constant = NetRegressor(members=1, hidden=(8,), epochs=1).fit(table, np.ones(80))
    exact = permutation_importance(constant, table, constant.predict(table))
    assert (exact.columns[0].value, exact.columns[0].low, exact.columns[0].high) == pytest.approx((0, 0, 0), abs=1e-6)


def test_partial_dependence_is_the_mean_prediction_of_a_table_whose_column_holds_one_value(
    classifier, regressor
) -> None:
    table = people().select(COLUMNS)
    for name, value in (("age", None), ("town", "Köln"), ("member", True), ("joined", None)):
        found = partial_dependence(regressor, table, name)
        place = len(found.grid) // 2 if value is None else found.grid.index(value)
        same = table.with_columns(pl.lit(found.grid[place], dtype=table[name].dtype).alias(name))
        assert found.average[place] == pytest.approx(regressor.predict(same).mean(), rel=1e-5)
        assert found.individual[:, place] == pytest.approx(regressor.predict(same), rel=1e-5)
    found = partial_dependence(classifier, table, "age", grid_resolution=7, max_samples=50)
    assert (found.output, found.kind, found.individual.shape) == ("yes", "number", (50, 7))
    assert found.grid == sorted(found.grid)
    assert found.average[-1] > found.average[0]
    no = partial_dependence(classifier, table, "age", output="no", grid_resolution=7, max_samples=50)
    assert no.average == pytest.approx(1 - found.average)
    towns = partial_dependence(regressor, table, "town").grid
    counts = [table["town"].to_list().count(town) for town in towns]
    assert (sorted(towns), counts) == (["Bonn", "Jena", "Köln", "Ulm"], sorted(counts, reverse=True))


def exact_shapley(predict, row: pl.DataFrame, background: pl.DataFrame) -> dict[str, float]:
    """Shapley values by their definition: over all subsets of the columns."""
    names = row.columns

    def worth(subset: tuple[str, ...]) -> float:
        mixed = background.with_columns(pl.lit(row[name][0], dtype=row[name].dtype).alias(name) for name in subset)
        return float(predict(mixed).mean())

    found = {}
    for name in names:
        others, total = [other for other in names if other != name], 0.0
        for size in range(len(names)):
            share = math.factorial(size) * math.factorial(len(names) - size - 1) / math.factorial(len(names))
            for subset in itertools.combinations(others, size):
                total += share * (worth((*subset, name)) - worth(subset))
        found[name] = total
    return found


def test_contributions_are_the_shapley_values(classifier) -> None:
    table = people().select(COLUMNS)
    row, background = table[7:8], table[100:130]
    wanted = exact_shapley(lambda rows: classifier.predict_proba(rows)[:, 1], row, background)
    found = explain_row(classifier, row, background, output="yes", n_permutations=3000)
    assert found.n_permutations == 3000
    for each in found.contributions:
        assert each.cell == row[each.column][0]
        assert each.value == pytest.approx(wanted[each.column], abs=4 * each.error + 1e-6)
    assert max(each.error for each in found.contributions) < 0.01


def test_contributions_add_up_however_few_orders_are_drawn(classifier, regressor) -> None:
    table = people().select(COLUMNS)
    found = explain_row(regressor, table[3:4], table[10:40], n_permutations=1)
    assert (found.background_rows, found.n_permutations) == (30, 60)
    assert found.prediction == pytest.approx(regressor.predict(table[3:4])[0], rel=1e-6)
    assert found.base == pytest.approx(regressor.predict(table[10:40]).mean(), rel=1e-6)
    assert found.base + sum(each.value for each in found.contributions) == pytest.approx(found.prediction, rel=1e-12)
    found = explain_row(classifier, table[3:4], table)
    assert (found.output, found.background_rows) == (classifier.predict(table[3:4])[0], 100)
    assert found.prediction == pytest.approx(classifier.predict_proba(table[3:4]).max(), abs=1e-6)
    assert found.base + sum(each.value for each in found.contributions) == pytest.approx(found.prediction, rel=1e-12)
    assert [abs(each.value) for each in found.contributions] == sorted(
        (abs(each.value) for each in found.contributions), reverse=True
    )


def test_a_row_like_the_background_has_nothing_to_explain(regressor) -> None:
    table = people().select(COLUMNS)
    found = explain_row(regressor, table[3:4], table[3:4])
    assert [each.value for each in found.contributions] == [0.0] * 4


def test_what_cannot_be_explained_is_said(classifier, regressor) -> None:
    table = people()
    with pytest.raises(SettingError, match="the network sees no column 'agee' .did you mean 'age'"):
        partial_dependence(classifier, table, "agee")
    with pytest.raises(SettingError, match="there is no output 'maybe' to explain. There are: 'no', 'yes'"):
        explain_row(classifier, table[:1], table, output="maybe")
    with pytest.raises(TableError, match="one row is explained at a time, and this table has 3"):
        explain_row(classifier, table[:3], table)
    with pytest.raises(TableError, match="no row has a value in the column 'town'"):
        partial_dependence(classifier, table.with_columns(pl.lit(None, dtype=pl.String).alias("town")), "town")
    with pytest.raises(SettingError, match="n_repeats is a whole number from 1, not 0"):
        permutation_importance(classifier, table, "rich", n_repeats=0)
    with pytest.raises(TableError, match="the target holds NaN or infinity"):
        permutation_importance(regressor, table.select(COLUMNS), np.where(np.arange(table.height) == 3, np.nan, 1.0))
    with pytest.raises(TableError, match="the table has 1 with a target: pass more"):
        permutation_importance(classifier, table[:1], "rich")
    with pytest.raises(TableError, match="classes the training rows did not have"):
        permutation_importance(classifier, table, table["town"])
    with pytest.raises(TableError, match="predicts numbers, and the target column holds '(yes|no)'"):
        permutation_importance(regressor, table, "rich")
    with pytest.raises(TableError, match="missing  town"):
        explain_row(classifier, table.drop("town")[:1], table)
    with pytest.warns(DataWarning, match="never held: 1 in 'town'"):
        explain_row(classifier, table[:1].with_columns(pl.lit("Oslo").alias("town")), table)
