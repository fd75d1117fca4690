"""The members of a pack: what each is to be, and what it has become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from plainnet.engines.forward import FlatNetwork
from plainnet.networks.monotone import Monotone
from plainnet.networks.shape import Shape
from plainnet.packs.shards import Rows as EncodedRows
from plainnet.settings import FitSettings
from plainnet.tables.target import NumberTarget, Target
from plainnet.training.history import History

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["DECAY", "GROUPS", "Group", "Member", "PackData", "Recipe", "default_rate", "draw_recipes"]

Rows = npt.NDArray[np.int64]
Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PackData:
    """What the members learn from.

    Shapes: N training rows, M validation rows, F features, C outputs.

    Attributes:
        x: (N, F) features.
        y: (N,) classes, or (N, C) standardised numbers.
        target: what the members vote with, and how a vote is judged.
        weight: (N,) of each row; None: all 1.
        validation: ((M, F), targets, (M,) weights or None) that find the best epoch of every member; None: each holds out a fold.
    """

    x: Tensor
    y: Tensor
    target: Target
    weight: npt.NDArray[np.float64] | None = None
    validation: tuple[Tensor, Tensor, npt.NDArray[np.float64] | None] | None = None

    @classmethod
    def of(cls, rows: EncodedRows, target: Target, validation: EncodedRows | None) -> PackData:
        """Return the features, targets and weights of training rows and of validation rows as pack data."""
        from torch import from_numpy

        held = None if validation is None else (from_numpy(validation[0]), from_numpy(validation[1]), validation[2])
        return cls(from_numpy(rows[0]), from_numpy(rows[1]), target, rows[2], held)

    def part(self, which: Any) -> tuple[Tensor, Tensor, npt.NDArray[np.float64] | None]:
        """Return the features, targets and weights of some training rows."""
        return self.x[which], self.y[which], None if self.weight is None else self.weight[which]


@dataclass(frozen=True)
class Group:
    """What the members of a group share; each of them holds out another fold.

    Groups see numbers differently, so that their members err differently. ``docs/log.md`` tells what was tried.

    Attributes:
        bins: of the code of a number at most; 0: numbers are not coded, and their positions are plain features.
        hidden: width of each hidden layer.
        scale: of the codes: small ones are learnt slowly, which keeps what is learnt smooth.
        dropout: share of each hidden layer's outputs set to 0 in training. It costs more time than it brings, but for many bins.
    """

    bins: int
    hidden: tuple[int, ...] = (96, 96)
    scale: float = 1.0
    dropout: float = 0.0


#: One after the other, as many as the pack has members for: bends, smooth functions of many numbers, steps; then more of each.
GROUPS = (
    Group(bins=24, scale=0.5),
    Group(bins=0, hidden=(96, 96, 96)),
    Group(bins=64, dropout=0.1),
    Group(bins=8, hidden=(128, 128)),
    Group(bins=32, hidden=(192, 192), scale=0.2, dropout=0.1),
)
#: Learning rates: the surer a row's target follows from its features, the larger the steps in which it is learnt.
RATES = {"two classes": 3e-3, "classes": 8e-3, "numbers": 1.5e-2}
DECAY = 0.02


@dataclass(frozen=True)
class Recipe:
    """What one member is to be.

    Attributes:
        shape: of its network.
        learning_rate: the highest of its schedule.
        weight_decay: of AdamW, on weights.
        group: its number.
        fold: the fold it holds out; -1: none.
        seed: of its weights and its shuffle.
        is_log: it learns the logarithm of the target.
        monotone: in which direction it goes with its features; None: in any.
    """

    shape: Shape
    learning_rate: float
    weight_decay: float
    group: int
    fold: int
    seed: int
    is_log: bool = False
    monotone: Monotone | None = None

    def build(self, network: Callable[[int, int], nn.Module] | None = None) -> nn.Module:
        """Return the network, its weights freshly drawn; ``network`` is as for ``Shape.build``."""
        built = self.shape.build(network)
        if self.monotone is not None:
            self.monotone.begin(built, self.shape)
        return built

    def targets(self, y: Tensor, target: Target) -> Tensor:
        """Return encoded targets as this member learns them: as they are, or as logarithms."""
        if self.is_log and isinstance(target, NumberTarget):
            from torch import from_numpy

            return from_numpy(target.to_logs(y.numpy()))
        return y


class Member:
    """One network of a pack.

    A plain network is kept as one array of weights; ``network`` is it as a torch module, made when it is first asked for,
    whose parameters are views of the array: what is changed in one is changed in the other.

    Args:
        network: encoded features -> logits, or standardised numbers or logarithms; or a plain network's weights, (weights,)
            float32 in the order of ``Shape.tensors``.
        held_out: as the attribute, and so on.

    Attributes:
        held_out: (M,) rows of the training table it did not train on; empty where it trained on all.
        weight: its share of the vote.
        score: its loss on those rows, or on the validation rows: log-loss, or squared error of the standardised target; NaN
            without such rows.
        history: its training.
        recipe: what it was to be.
    """

    def __init__(
        self,
        network: nn.Module | npt.NDArray[np.float32],
        held_out: Rows,
        weight: float,
        score: float,
        history: History,
        recipe: Recipe,
    ) -> None:
        self.held_out, self.weight, self.score, self.history, self.recipe = held_out, weight, score, history, recipe
        self._network: nn.Module | None = None
        self._flat: FlatNetwork | None = None
        if isinstance(network, np.ndarray):
            self._flat = FlatNetwork(recipe.shape, network)
        else:
            self._network = network
            if self._flattened() is not None:
                self._network = None

    @property
    def network(self) -> nn.Module:
        """The network as a torch module."""
        if self._network is None:
            from plainnet.networks.networks import network_of_values

            assert self._flat is not None  # noqa: S101 - one of the two is always there
            self._network = network_of_values(self.recipe.shape, self._flat.values)
        return self._network

    def _flattened(self) -> FlatNetwork | None:
        """Return the network as one array of weights; None where it is another than the recipe's shape says."""
        if self._network is not None:
            from plainnet.networks.networks import flattened

            before = None if self._flat is None else self._flat.values
            values = flattened(self._network, self.recipe.shape, before)
            if values is not before:
                self._flat = None if values is None else FlatNetwork(self.recipe.shape, values)
        return self._flat

    def opinions(self, x: Features, target: Target, threads: int | None = None) -> npt.NDArray[np.float64]:
        """Return what it votes with on rows x, (N, features): probabilities, or encoded numbers, (N, outputs)."""
        return target.opinions(self.outputs(x, target, threads))

    def outputs(self, x: Features, target: Target, threads: int | None = None) -> npt.NDArray[Any]:
        """Return what its network says of rows x, (N, features): logits, or encoded numbers, (N, outputs)."""
        flat = self._flattened()
        if flat is not None:
            outputs: npt.NDArray[Any] = flat.predict(x, threads)
        else:
            from torch import from_numpy

            from plainnet.engines.prediction import predict

            outputs = predict(self.network, from_numpy(x), threads=threads)
        if self.recipe.is_log and isinstance(target, NumberTarget):
            outputs = target.from_logs(outputs)
        return outputs

    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the weights by name, as the network's ``state_dict`` names them."""
        flat = self._flattened()
        if flat is not None:
            return dict(flat.shape.named(flat.values))
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.network.state_dict().items()}

    def to_json(self) -> dict[str, Any]:
        """Return what a model file says of a member beside its weights."""
        return {
            "network": self.recipe.shape.to_json(),
            "weight": self.weight,
            "is_log": self.recipe.is_log,
            "score": None if self.score != self.score else self.score,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave compiled programs, which hold addresses, out of copies and pickles."""
        state = dict(self.__dict__)
        if self._flat is not None:
            state["_flat"] = None if self._network is not None else FlatNetwork(self.recipe.shape, self._flat.values)
        return state

    def __repr__(self) -> str:
        size = sum(tensor.size for tensor in self.tensors().values())
        return (
            f"Member(weight={self.weight:.3f}, score={self.score:.4g}, held_out={len(self.held_out):,} rows, "
            f"parameters={size:,}, epochs={len(self.history)})"
        )


def default_rate(shape: Shape, *, is_class: bool) -> float:
    """Return the learning rate for a kind of target."""
    return RATES["numbers" if not is_class else "two classes" if shape.n_out == 2 else "classes"]


def draw_recipes(
    settings: FitSettings,
    shape: Shape,
    *,
    is_class: bool,
    has_logs: bool,
    seed: int,
    hidden: Sequence[int] | None = None,
    dropout: float | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    monotone: Monotone | None = None,
) -> list[Recipe]:
    """Return the recipe of each member.

    Args:
        settings: how many members, how many folds.
        shape: of a network whose numbers have all their bins.
        is_class: the target is classes.
        has_logs: a skewed target; every second group learns the logarithm of the target; their votes, chosen on held-out rows, decide.
        seed: of the pack.
        hidden: what the user has chosen, for all members, as the next three; None: each group's own.
        dropout: as above.
        learning_rate: as above.
        weight_decay: as above.
        monotone: in which direction all members go with their features; None: in any.
    """
    rate = default_rate(shape, is_class=is_class) if learning_rate is None else learning_rate
    decay = DECAY if weight_decay is None else weight_decay
    recipes = []
    for number in range(settings.members):
        place, fold = divmod(number, max(settings.folds, 1))
        group = GROUPS[place % len(GROUPS)]
        own = replace(
            shape, hidden=tuple(group.hidden if hidden is None else hidden), scale=group.scale,
            dropout=group.dropout if dropout is None else dropout,
            bins=tuple(min(n, group.bins) for n in shape.bins) if group.bins else (),
        )  # fmt: skip
        is_log, held = has_logs and place % 2 == 1, fold if settings.folds else -1
        recipes.append(Recipe(own, rate, decay, place, held, seed + number, is_log, monotone))
    return recipes
