"""Trials of settings: short trainings of a few networks each, of which the promising ones are trained for longer.

A batch of settings is asked of Optuna at once, so that all their networks are trained side by side. They are trained for a ninth of
the epochs first; the best third go on to a third of them; and of those the best third to the end: successive halving (Jamieson and
Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016, arXiv:1502.07943), in which a
trial is compared with all trials so far (Li and others, MLSys 2020, arXiv:1810.05934). docs/decisions/0010-tuning.md tells why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, isfinite
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plainnet.engines.job import Loss
from plainnet.errors import PlainnetWarning
from plainnet.networks.shape import Shape
from plainnet.packs.jobs import Tools, fold_of_rows, member_trial
from plainnet.packs.members import Recipe, draw_recipes
from plainnet.packs.packs import adamw
from plainnet.settings import FitSettings
from plainnet.tables.target import ClassTarget
from plainnet.training.history import History
from plainnet.training.many import Trial, train_many

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

    from plainnet.tables.target import Target

__all__ = ["BATCH", "Bench", "Clock", "search", "settings_of", "space"]

#: Settings that are tried at once. It is the same on every machine: the trials depend on the seed, and not on the number of cores.
BATCH = 12
#: Trials drawn at random before Optuna's sampler begins to learn from them.
RANDOM_TRIALS = 12
#: Of the trials that came so far, this share goes on.
KEPT = 3
#: Networks of a trial: one of each of the pack's first groups, each holding out another fold, so that every row judges once.
NETWORKS = 3


def space(batch_size: int, fixed: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return what is searched, by name: docs/tuning.md gives the reason for each range.

    Args:
        batch_size: the default for the table.
        fixed: settings that the user has chosen, which are not searched.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    searched: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(3e-4, 5e-2, log=True),
        "weight_decay": FloatDistribution(1e-4, 0.5, log=True),
        "dropout": FloatDistribution(0.0, 0.5),
        "layers": IntDistribution(1, 4),
        "width": IntDistribution(32, 256, step=32),
        "activation": CategoricalDistribution(["silu", "relu", "mish", "tanh"]),
        "batch_size": CategoricalDistribution([max(1, batch_size // 2), batch_size, 2 * batch_size, 4 * batch_size]),
    }
    taken = {*fixed, *(("layers", "width") if "hidden" in fixed else ())}
    return {name: values for name, values in searched.items() if name not in taken}


def settings_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's parameters as settings of an estimator.

    >>> settings_of({"dropout": 0.1, "layers": 2, "width": 64})
    {'dropout': 0.1, 'hidden': [64, 64]}
    """
    settings = {name: value for name, value in params.items() if name not in ("layers", "width")}
    return settings | ({"hidden": [params["width"]] * params["layers"]} if "layers" in params else {})


class Clock:
    """When the trials are to end, and why they did."""

    def __init__(self, seconds: float | None) -> None:
        self._end = inf if seconds is None else perf_counter() + seconds
        self.stopped_by = ""

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - perf_counter()


#: Features and targets of the rows that a network learns from, and those of its validation rows.
Part = tuple[Tensor, Tensor, tuple[Tensor, Tensor]]


@dataclass
class Attempt:
    """The networks of one trial, so far as they are trained.

    Attributes:
        networks: each with its optimizer and schedule, which go on where they were.
        lowest: validation loss of each network; infinity where it could not be trained.
        epochs: that they were trained for.
    """

    networks: list[Trial]
    lowest: list[float]
    epochs: int = 0

    @property
    def loss(self) -> float:
        """The mean of the networks' lowest validation losses."""
        return float(np.mean(self.lowest))

    def learn(self, histories: Sequence[History], epochs: int) -> None:
        """Take note of further epochs."""
        for place, history in enumerate(histories):
            found = None if history.failure else history.validation_losses
            self.lowest[place] = inf if found is None else min(self.lowest[place], float(np.min(found)))
        self.epochs = epochs


@dataclass(frozen=True)
class Bench:
    """The rows that settings are tried on.

    Attributes:
        x: (N, F) features of the training rows.
        y: (N,) classes, or (N, C) standardised numbers.
        validation: features and targets of validation rows; None: each network holds out a fold.
        shape: of a network whose numbers have all their bins.
        target: of the rows.
        fixed: settings that all trials have.
        seed: of the folds, the weights and the shuffles, the same for all trials: they differ in their settings alone.
    """

    x: Tensor
    y: Tensor
    validation: tuple[Tensor, Tensor] | None
    shape: Shape
    target: Target
    fixed: Mapping[str, Any]
    seed: int

    def work(self, **settings: Any) -> FitSettings:
        """Return the dials of a fit with further settings."""
        names = ("effort", "batch_size", "epochs", "patience")
        chosen = {name: value for name, value in {**self.fixed, **settings}.items() if name in names}
        dials = FitSettings.derive(len(self.x), **chosen)
        return replace(dials, members=NETWORKS**2, folds=0 if self.validation else NETWORKS)

    @property
    def rungs(self) -> list[int]:
        """Epochs after which trials are compared; the last is all of them."""
        epochs = self.work().epochs
        return sorted({ceil(epochs / KEPT**2), ceil(epochs / KEPT), epochs})

    def begin(self, candidates: Sequence[Mapping[str, Any]]) -> list[Attempt]:
        """Build the networks of some settings."""
        parts = self._parts()
        with torch.random.fork_rng(devices=[]):
            return [Attempt(self._trials(settings, parts), [inf] * NETWORKS) for settings in candidates]

    def go_on(self, attempts: Sequence[Attempt], epochs: int, clock: Clock) -> bool:
        """Train the networks of some attempts side by side, up to an epoch.

        Returns:
            Whether all came so far; if not, ``clock`` says why.
        """
        if clock.left <= 0:
            clock.stopped_by = "time"
            return False
        networks = [network for attempt in attempts for network in attempt.networks]
        for attempt in attempts:
            for network in attempt.networks:
                network.options["epochs"] = epochs - attempt.epochs
                network.options["seed"] += attempt.epochs  # another shuffle than that of the epochs before
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore", category=PlainnetWarning):
            # A rate at which the loss diverges is an answer, too.
            torch.manual_seed(self.seed + epochs)  # of the dropout
            limit = clock.left if isfinite(clock.left) else None
            histories = train_many(networks, engine="fused", time_limit=limit, progress=False)
        stops = {history.stopped_by for history in histories} & {"interrupt", "time"}
        if stops:
            clock.stopped_by = min(stops)
            return False
        for number, attempt in enumerate(attempts):
            attempt.learn(histories[NETWORKS * number : NETWORKS * (number + 1)], epochs)
        return True

    def _parts(self) -> list[Part]:
        """Return the training and validation rows of each network: one copy, which all trials share."""
        if self.validation is not None:
            return [(self.x, self.y, self.validation)] * NETWORKS
        fold: npt.NDArray[np.int64] = fold_of_rows(self.y.numpy(), NETWORKS, self.seed)
        return [(self.x[fold != k], self.y[fold != k], (self.x[fold == k], self.y[fold == k])) for k in range(NETWORKS)]

    def _trials(self, settings: Mapping[str, Any], parts: Sequence[Part]) -> list[Trial]:
        known = {**self.fixed, **settings}
        dials = self.work(**settings)
        recipes = draw_recipes(
            dials,
            replace(self.shape, activation=known.get("activation", self.shape.activation)),
            is_class=isinstance(self.target, ClassTarget),
            has_logs=False,
            seed=self.seed,
            **{name: known.get(name) for name in ("hidden", "dropout", "learning_rate", "weight_decay")},
        )
        # Group k holds out fold k; without folds, a member is a group.
        chosen = [recipes[k * NETWORKS + k] if dials.folds else recipes[k] for k in range(NETWORKS)]
        torch.manual_seed(self.seed)
        loss: Loss = nn.CrossEntropyLoss() if isinstance(self.target, ClassTarget) else nn.MSELoss()
        tools = Tools(loss, Recipe.build, adamw, "cpu", "fused", None)
        trials = []
        for recipe, (x, y, validation) in zip(chosen, parts, strict=True):
            n_steps = dials.epochs * -(-len(x) // min(dials.batch_size, len(x)))
            trials.append(
                member_trial(recipe, dials, tools, n_steps, x=x, y=y, validation=validation, seed=recipe.seed)
            )
        return trials


def search(study: Study, bench: Bench, n_trials: int, clock: Clock, told: Callable[[], None]) -> None:
    """Try settings until the study has ``n_trials``, or the clock or Ctrl-C ends it.

    A batch that was cut short is not counted; tried again, it gives the same trials.

    Args:
        study: that has the trials so far.
        bench: the rows.
        n_trials: in all.
        clock: when to end; says afterwards why.
        told: called for each trial that came to its end.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    searched = space(bench.work().batch_size, bench.fixed)
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    while not clock.stopped_by:
        n_ended = len(study.get_trials(deepcopy=False, states=ended))
        if n_ended >= n_trials:
            return
        # A seed for each batch: a study that goes on from its file draws what one that never stopped would have drawn.
        study.sampler = TPESampler(seed=(bench.seed + n_ended) % 2**32, n_startup_trials=RANDOM_TRIALS)
        running = [study.ask(searched) for _ in range(min(BATCH, n_trials - n_ended))]
        losses: dict[int, dict[int, float]] = {trial.number: {} for trial in running}
        try:
            finished = _halve(study, bench, running, losses, clock)
        except KeyboardInterrupt:
            finished, clock.stopped_by = None, "interrupt"
        for trial in running:
            if finished is None:
                study.tell(trial, state=TrialState.FAIL)
                continue
            for step, loss in losses[trial.number].items():
                trial.report(loss, step)
            if trial.number in finished:
                study.tell(trial, finished[trial.number])
            else:
                study.tell(trial, state=TrialState.PRUNED)
            told()


def _halve(
    study: Study, bench: Bench, running: Sequence[Any], losses: dict[int, dict[int, float]], clock: Clock
) -> dict[int, float] | None:
    """Train a batch, rung by rung; fill in ``losses`` and return those of the trials that were trained to the end."""
    before = study.get_trials(deepcopy=False)
    alive = dict(zip(running, bench.begin([settings_of(trial.params) for trial in running]), strict=True))
    for rung in bench.rungs:
        if not bench.go_on(list(alive.values()), rung, clock):
            return None
        alive = {trial: attempt for trial, attempt in alive.items() if isfinite(attempt.loss)}
        for trial, attempt in alive.items():
            losses[trial.number][rung] = attempt.loss
        known = [trial.intermediate_values[rung] for trial in before if rung in trial.intermediate_values]
        known += [attempt.loss for attempt in alive.values()]
        if not alive or rung == bench.rungs[-1]:
            break
        bound = sorted(known)[ceil(len(known) / KEPT) - 1]
        alive = {trial: attempt for trial, attempt in alive.items() if attempt.loss <= bound}
        if not alive:
            break
    return {trial.number: attempt.loss for trial, attempt in alive.items()}
