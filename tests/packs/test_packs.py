"""Packs: which rows each member holds out, how they vote, what they cost, how they end."""

import os
import signal
from time import perf_counter

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

import plainnet
from plainnet import NetClassifier, NetRegressor, SettingError
from plainnet.packs.jobs import fold_of_rows
from plainnet.packs.selection import vote_weights
from plainnet.settings import EFFORTS, FitSettings

QUICK = {"hidden": (16,), "epochs": 6, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def waves() -> tuple[dict, np.ndarray]:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-3, 3, 800), rng.choice(["north", "south"], 800)
    return {"a": a, "b": b}, np.sin(2 * a) + (b == "north") + rng.normal(0, 0.3, 800)


@pytest.fixture(scope="module")
def regressor(waves) -> NetRegressor:
    return NetRegressor(epochs=20).fit(*waves)


def test_every_row_is_held_out_once_by_each_group(regressor, waves) -> None:
    rows = len(waves[1])
    groups = {member.recipe.group for member in regressor.members_}
    for group in groups:
        held = np.concatenate([m.held_out for m in regressor.members_ if m.recipe.group == group])
        np.testing.assert_array_equal(np.sort(held), np.arange(rows))
    assert len(regressor.members_) == EFFORTS["default"].groups * EFFORTS["default"].folds


def test_weights_are_shares_and_members_say_what_they_are(regressor) -> None:
    assert sum(member.weight for member in regressor.members_) == pytest.approx(1)
    assert all(member.weight >= 0 and member.score > 0 for member in regressor.members_)
    assert "held_out=134 rows" in repr(regressor.members_[0])


def test_the_history_is_that_of_all_and_its_seconds_are_those_of_the_clock(waves) -> None:
    started = perf_counter()
    net = NetRegressor(members=6, epochs=30).fit(*waves)
    assert net.history_.seconds.sum() <= perf_counter() - started
    assert len(net.history_) == max(len(member.history) for member in net.members_)
    first = np.mean([member.history.losses[0] for member in net.members_])
    assert net.history_.losses[0] == pytest.approx(first)


def test_out_of_fold_predictions_are_honest(regressor, waves) -> None:
    """A row's out-of-fold prediction comes from members that held it out, so it errs like a new row's."""
    X, y = waves
    rng = np.random.default_rng(5)
    a, b = rng.uniform(-3, 3, 4000), rng.choice(["north", "south"], 4000)
    new = np.sin(2 * a) + (b == "north") + rng.normal(0, 0.3, 4000)
    of_new = np.sqrt(np.mean((regressor.predict({"a": a, "b": b}) - new) ** 2))
    of_folds = np.sqrt(np.mean((regressor.out_of_fold_ - y) ** 2))
    assert of_folds == pytest.approx(of_new, rel=0.12)
    assert of_new < 0.36  # the noise alone is 0.3
    member = regressor.members_[0]
    own = regressor.target_.encode(y)[member.held_out]
    assert member.score < np.mean(own**2)


def test_the_vote_is_the_weighted_mean_of_the_members(regressor, waves) -> None:
    from plainnet.tables.encode import encode

    X, y = waves
    x = torch.from_numpy(encode(regressor.schema_, plainnet.read_table(X))[0])
    with torch.no_grad():
        outputs = torch.stack([m.network(x) for m in regressor.members_]).double().numpy()[:, :, 0]
    low, high = (y.min() - y.mean()) / y.std(), (y.max() - y.mean()) / y.std()
    expected = np.average(np.clip(outputs, low, high), axis=0, weights=[m.weight for m in regressor.members_])
    np.testing.assert_allclose(regressor.predict(X), expected * y.std() + y.mean(), rtol=1e-4, atol=1e-4)


def test_the_votes_go_to_the_group_that_errs_less() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(500, 1))
    good, bad = y + rng.normal(0, 0.1, y.shape), y + rng.normal(0, 1, y.shape)
    weights = vote_weights(np.stack([bad, good]), y, lambda joint, y: ((joint - y) ** 2).mean(axis=1))
    assert weights.tolist() == [0, 1]  # with less than a tenth of the votes, a group is left out


def test_groups_that_err_alike_and_apart_share_the_vote() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(2000, 1))
    groups = np.stack([y + rng.normal(0, 1, y.shape) for _ in range(3)])
    weights = vote_weights(groups, y, lambda joint, y: ((joint - y) ** 2).mean(axis=1))
    np.testing.assert_allclose(weights, 1 / 3, atol=0.08)


def test_folds_have_the_same_share_of_each_class() -> None:
    y = np.array([0] * 80 + [1] * 16)
    fold = fold_of_rows(y, 8, seed=3)
    assert [int(np.sum(y[fold == k])) for k in range(8)] == [2] * 8
    assert np.bincount(fold).tolist() == [12] * 8
    assert not np.array_equal(fold, fold_of_rows(y, 8, seed=4))


def test_the_same_seed_gives_the_same_pack_and_another_another(waves) -> None:
    a, b, other = (NetRegressor(members=4, random_state=seed, **QUICK).fit(*waves) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.predict(waves[0]), b.predict(waves[0]))
    assert not np.array_equal(a.predict(waves[0]), other.predict(waves[0]))


def test_one_member_is_a_single_plain_network(waves) -> None:
    net = NetRegressor(members=1, **QUICK).fit(*waves)
    assert len(net.members_) == 1
    assert type(net.network_) is nn.Sequential
    known = np.isfinite(net.out_of_fold_)
    np.testing.assert_array_equal(np.flatnonzero(known), net.members_[0].held_out)


@pytest.mark.parametrize(("members", "folds"), [(4, 4), (6, 6), (3, 6), (12, 6)])
def test_a_pack_of_few_members_holds_out_every_row_where_it_can(members, folds) -> None:
    assert FitSettings.derive(1000, members=members).folds == folds


@pytest.mark.parametrize("effort", EFFORTS)
def test_each_effort_trains_what_it_says(waves, effort) -> None:
    net = NetRegressor(effort=effort, epochs=1).fit(*waves)
    assert len(net.members_) == EFFORTS[effort].groups * EFFORTS[effort].folds
    shapes = {member.recipe.group: member.recipe.shape for member in net.members_}
    assert len(set(shapes.values())) == EFFORTS[effort].groups  # each group sees numbers in its own way


def test_large_tables_have_fewer_members_and_larger_batches() -> None:
    small, large = FitSettings.derive(5000), FitSettings.derive(500_000)
    assert small.members > large.members >= EFFORTS["default"].folds
    assert small.batch_size < large.batch_size
    assert small.epochs > large.epochs
    with pytest.raises(SettingError, match="effort is one of 'quick', 'default', 'best', not 'most'"):
        NetClassifier(effort="most").fit([[1.0]] * 4, [0, 1, 0, 1])


def test_networks_losses_and_optimizers_of_ones_own(waves) -> None:
    X, y = waves
    seen = []

    def network(n_in: int, n_out: int) -> nn.Module:
        seen.append((n_in, n_out))
        return nn.Sequential(nn.Linear(n_in, 12), nn.Tanh(), nn.Linear(12, n_out))

    net = NetRegressor(
        members=4, epochs=25, network=network, loss=nn.HuberLoss(), optimizer=lambda p: torch.optim.Adam(p, lr=0.02)
    ).fit(X, y)
    assert len(seen) == 4
    assert net.score(X, y) > 0.6
    with pytest.raises(SettingError, match="built by your own network="):
        net.save("nowhere.safetensors")
    with pytest.raises(SettingError, match="returns an nn.Module, and this one returned a int"):
        NetRegressor(network=lambda n_in, n_out: 3).fit(X, y)
    with pytest.raises(SettingError, match="returns a torch optimizer, and this one returned a list"):
        NetRegressor(optimizer=list).fit(X, y)
    with pytest.raises(SettingError, match="loss is 'poisson', a loss such as nn.HuberLoss.., or None, not 'hinge'"):
        NetRegressor(loss="hinge").fit(X, y)


def test_quantiles_are_in_order_and_cover_what_they_say(waves, tmp_path) -> None:
    X, y = waves
    net = NetRegressor(quantiles=[0.1, 0.5, 0.9], epochs=20).fit(X, y)
    predicted = net.predict(X)
    assert predicted.shape == (800, 3)
    assert (np.diff(predicted, axis=1) >= 0).all()
    shares = (y[:, None] < net.out_of_fold_).mean(axis=0)
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.06)
    assert 0.3 < net.score(X, y) < 1  # D²: 0 would be the quantiles of all rows
    net.save(tmp_path / "q")
    np.testing.assert_array_equal(plainnet.load(tmp_path / "q").predict(X), predicted)
    for wrong in ([], [0.5, 0.1], [0.0, 0.5], [1.5], "half"):
        with pytest.raises(SettingError, match="numbers between 0 and 1, ascending"):
            NetRegressor(quantiles=wrong).fit(X, y)
    with pytest.raises(SettingError, match="quantiles are those of one number"):
        NetRegressor(quantiles=[0.5], loss=nn.HuberLoss()).fit(X, y)


def test_intervals_cover_new_rows_as_often_as_they_say(regressor, tmp_path) -> None:
    rng = np.random.default_rng(9)
    a, b = rng.uniform(-3, 3, 4000), rng.choice(["north", "south"], 4000)
    y = np.sin(2 * a) + (b == "north") + rng.normal(0, 0.3, 4000)
    for coverage in (0.5, 0.9):
        low, high = regressor.predict_interval({"a": a, "b": b}, coverage).T
        assert np.mean((low <= y) & (y <= high)) == pytest.approx(coverage, abs=0.05)
    regressor.save(tmp_path / "m")
    again = plainnet.load(tmp_path / "m").predict_interval({"a": a, "b": b}, 0.9)
    np.testing.assert_array_equal(again, regressor.predict_interval({"a": a, "b": b}, 0.9))
    with pytest.raises(SettingError, match="coverage is a probability between 0 and 1"):
        regressor.predict_interval({"a": a, "b": b}, 90)
    tiny = NetRegressor(**QUICK).fit(np.arange(20.0)[:, None], np.arange(20.0))
    with pytest.raises(SettingError, match="this fit has none"):
        tiny.predict_interval([[1.0]])


def test_counts_are_predicted_as_positive_expectations(tmp_path) -> None:
    rng = np.random.default_rng(2)
    X = rng.uniform(-1, 1, (1500, 2))
    rate = np.exp(1 + 1.5 * X[:, 0])
    y = rng.poisson(rate)
    net = NetRegressor(loss="poisson", epochs=20).fit(X, y)
    assert (net.predict(X) > 0).all()
    assert np.corrcoef(net.predict(X), rate)[0, 1] > 0.95
    assert net.predict(X).mean() == pytest.approx(y.mean(), rel=0.05)
    net.save(tmp_path / "m")
    np.testing.assert_array_equal(plainnet.load(tmp_path / "m").predict(X), net.predict(X))
    with pytest.raises(plainnet.TableError, match="loss='poisson' is for counts, and the target holds -1"):
        NetRegressor(loss="poisson").fit(X, -np.ones(1500))


def test_a_time_limit_leaves_a_network_that_predicts(waves) -> None:
    started = perf_counter()
    net = NetRegressor(epochs=10**5, time_limit=1.0).fit(*waves)
    assert perf_counter() - started < 30
    assert net.history_.stopped_by == "time"
    assert 0 < len(net.members_) < 18
    assert np.isfinite(net.predict(waves[0])).all()
    assert sum(member.weight for member in net.members_) == pytest.approx(1)


def test_the_shortest_time_limit_still_leaves_one_network(waves) -> None:
    net = NetRegressor(epochs=50, time_limit=1e-9).fit(*waves)
    assert len(net.members_) >= 1
    assert len(net.members_[0].history) >= 1
    assert np.isfinite(net.predict(waves[0])).all()


def test_ctrl_c_keeps_the_members_so_far(waves) -> None:
    pressed = []

    def press(number, *_):
        if not pressed:
            pressed.append(number)
            os.kill(os.getpid(), signal.SIGINT)

    net = NetRegressor(epochs=10**5).fit(*waves, on_epochs=press)
    assert net.history_.stopped_by == "interrupt"
    assert np.isfinite(net.predict(waves[0])).all()


def test_validation_rows_of_ones_own_replace_the_folds(waves) -> None:
    X, y = waves
    first, last = ({name: column[rows] for name, column in X.items()} for rows in (slice(600), slice(600, None)))
    net = NetRegressor(**QUICK).fit(first, y[:600], validation=(last, y[600:]))
    assert net.out_of_fold_ is None
    assert all(len(member.held_out) == 0 and member.score > 0 for member in net.members_)


def test_rows_without_weight_have_no_out_of_fold_prediction(waves) -> None:
    X, y = waves
    weight = np.ones(800)
    weight[10:30] = 0
    net = NetRegressor(members=4, **QUICK).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(net.out_of_fold_)), np.arange(10, 30))


def test_out_of_fold_probabilities_are_probabilities_that_beat_the_baseline() -> None:
    adult = plainnet.load_adult().head(1500)
    net = NetClassifier(effort="quick").fit(adult, "income")
    y = np.array(adult["income"].to_list()) == net.classes_[1]
    np.testing.assert_allclose(net.out_of_fold_.sum(axis=1), 1, rtol=1e-6)
    assert log_loss(y, net.out_of_fold_[:, 1]) < 0.75 * log_loss(y, np.full(len(y), y.mean()))


def test_a_skewed_target_is_learnt_as_a_logarithm_too_and_the_held_out_rows_choose(tmp_path) -> None:
    rng = np.random.default_rng(4)
    X = rng.uniform(-1, 1, (1500, 3))
    y = np.exp(4 * X[:, 0] + X[:, 1]) * 1000
    net = NetRegressor(epochs=15).fit(X, y)
    share = {is_log: sum(m.weight for m in net.members_ if m.recipe.is_log is is_log) for is_log in (False, True)}
    assert share[True] > share[False]
    assert {member.recipe.is_log for member in net.members_} == {True, False}
    raw = NetRegressor(epochs=15, loss=nn.MSELoss()).fit(X, y)
    assert not any(member.recipe.is_log for member in raw.members_)
    errors = [np.sqrt(np.mean((each.out_of_fold_ - y) ** 2)) for each in (net, raw)]
    assert errors[0] < errors[1]
    net.save(tmp_path / "m")
    np.testing.assert_array_equal(plainnet.load(tmp_path / "m").predict(X), net.predict(X))


@pytest.mark.parametrize("y", [np.arange(100.0), np.linspace(-5, 5, 100) ** 3, np.full(100, 7.0), np.zeros(100)])
def test_other_targets_are_not(y) -> None:
    from plainnet.tables.target import NumberTarget

    assert NumberTarget.learn(y).logs is None


def test_logarithms_and_back_are_the_numbers() -> None:
    from plainnet.tables.target import NumberTarget

    y = np.random.default_rng(0).exponential(1e5, 500)
    target = NumberTarget.learn(y)
    assert target.logs is not None
    back = target.decode(target.opinions(target.from_logs(target.to_logs(target.encode(y)))))
    np.testing.assert_allclose(back, y, rtol=1e-4, atol=1)


def test_a_pack_goes_on_from_where_it_was_also_from_a_file(waves, tmp_path) -> None:
    """One more pass changes every member a little, and those that learn logarithms learn logarithms still."""
    rng = np.random.default_rng(4)
    X = rng.uniform(-1, 1, (600, 3))
    y = np.exp(4 * X[:, 0] + X[:, 1]) * 1000
    net = NetRegressor(members=12, epochs=15, learning_rate=0.01).fit(X, y)
    assert any(member.recipe.is_log for member in net.members_)
    before = net.score(X, y)
    net.save(tmp_path / "m")
    for each in (net, plainnet.load(tmp_path / "m")):
        first = [member.network[-1].bias.detach().clone() for member in each.members_]
        each.partial_fit(X, y)
        assert each.score(X, y) > before - 0.1
        assert not any(torch.equal(a, m.network[-1].bias) for a, m in zip(first, each.members_, strict=True))
        assert len(each.history_) == 1


@pytest.mark.parametrize(("time_limit", "trained"), [(None, 3), (1e-9, 1)])
def test_where_members_train_in_turn_the_time_limit_ends_it_between_two(
    waves, monkeypatch, time_limit, trained
) -> None:
    """On a GPU, which this machine need not have: the same members, one after the other."""
    from plainnet.packs import packs

    whole = NetRegressor(members=3, **QUICK).fit(*waves)

    def in_turn(trials, *, time_limit, progress, **_):
        for trial in trials:
            del trial.options["dropout_seed"]  # which no GPU's pack has
        return packs._train_in_turn(trials, "cpu", time_limit, progress=progress)

    monkeypatch.setattr(packs, "train_many", in_turn)
    net = NetRegressor(members=3, time_limit=time_limit, **QUICK).fit(*waves)
    assert len(net.members_) == trained
    assert net.members_[0].score == pytest.approx(whole.members_[0].score, rel=1e-3)
    assert net.history_.stopped_by == ("" if time_limit is None else "time")


def test_several_labels_a_row(tmp_path) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(900, 4))
    Y = (X[:, :3] + 0.3 * rng.normal(size=(900, 3)) > 0).astype(int)
    net = NetClassifier(epochs=12).fit(X[:600], Y[:600])
    assert net.predict(X).shape == net.predict_proba(X).shape == (900, 3)
    assert (net.predict(X[600:]) == Y[600:]).mean() > 0.85
    assert ((net.out_of_fold_ > 0.5) == Y[:600]).mean() > 0.85
    net.save(tmp_path / "m")
    np.testing.assert_array_equal(plainnet.load(tmp_path / "m").predict_proba(X), net.predict_proba(X))


@pytest.mark.parametrize("kind", ["classes", "labels", "counts", "numbers", "logs", "quantiles"])
def test_the_network_alone_says_what_the_estimator_says(kind) -> None:
    """``network_`` is a module of torch alone: its outputs, decoded, are the predictions."""
    from plainnet.tables.encode import encode

    rng = np.random.default_rng(8)
    X = rng.uniform(-1, 1, (400, 3))
    rate = np.exp(2 * X[:, 0])
    y = {
        "classes": np.digitize(X[:, 0], [-0.3, 0.3]), "labels": (X > 0).astype(int), "counts": rng.poisson(rate),
        "numbers": X[:, 0] - X[:, 1] ** 2, "logs": 100 * rate**2, "quantiles": X[:, 0] + rng.normal(0, 0.1, 400),
    }[kind]  # fmt: skip
    options = {"counts": {"loss": "poisson"}, "quantiles": {"quantiles": [0.2, 0.8]}}.get(kind, {})
    net = (NetClassifier if kind in ("classes", "labels") else NetRegressor)(epochs=6, **options).fit(X, y)
    assert kind != "logs" or any(member.recipe.is_log and member.weight > 0 for member in net.members_)
    x = torch.from_numpy(encode(net.schema_, plainnet.read_table(X))[0])
    with torch.no_grad():
        outputs = net.network_.eval()(x)
    if kind == "classes":
        found, expected = outputs.softmax(dim=1).numpy(), net.predict_proba(X)
    elif kind == "labels":
        found, expected = outputs.sigmoid().numpy(), net.predict_proba(X)
    else:
        numbers = outputs.double().numpy()
        found = net.target_.decode(np.exp(numbers) if kind == "counts" else np.sort(numbers, axis=1))
        expected = net.predict(X)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_a_member_that_runs_out_of_memory_is_left_out_and_the_others_vote(waves, monkeypatch) -> None:
    from plainnet.training import many

    real, calls = many.record, []

    def short_of_memory(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("cannot allocate 3 GiB")
        return real(*arguments)

    monkeypatch.setattr(many, "record", short_of_memory)
    with pytest.warns(
        plainnet.PlainnetWarning, match=r"1 of 4 trials failed: trial \d: MemoryError: cannot allocate 3 GiB"
    ):
        net = NetRegressor(members=4, **QUICK).fit(*waves)
    assert len(net.members_) == 3
    assert sum(member.weight for member in net.members_) == pytest.approx(1)
    assert np.isfinite(net.predict(waves[0])).all()
