"""The target: classes or numbers  ->  what a loss wants, and back as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from plainnet.errors import TableError

__all__ = ["ClassTarget", "CountTarget", "LabelsTarget", "NumberTarget", "Target", "target_from_json"]

#: Skewness from which some members learn the logarithm of a target: a normal distribution has 0, an exponential one 2.
SKEWED = 0.5
#: Largest number of a target: its square, and a sum of such squares, is still a float64.
MOST = 1e150


@dataclass(frozen=True)
class ClassTarget:
    """Classes of any type (text, true/false, numbers), C of them.

    Attributes:
        classes: (C,) sorted, of the type they came in.
    """

    classes: npt.NDArray[Any]

    @classmethod
    def learn(cls, y: npt.NDArray[Any]) -> ClassTarget:
        """Find the classes of the training rows, (N,).

        >>> ClassTarget.learn(np.array(["no", "yes", "no"])).classes.tolist()
        ['no', 'yes']
        """
        return cls(np.unique(y))

    @property
    def n_outputs(self) -> int:
        """Outputs of the network: one for each class."""
        return len(self.classes)

    def encode(self, y: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the number of each row's class, (N,).

        Raises:
            TableError: a class the training rows did not have.
        """
        known = np.isin(y, self.classes)
        if not known.all():
            strange = np.unique(y[~known]).tolist()[:5]
            raise TableError(
                f"the target holds classes the training rows did not have: {strange}. Known: {self.classes.tolist()[:20]}."
            )
        return np.asarray(np.searchsorted(self.classes, y), dtype=np.int64)

    def opinions(self, outputs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return what members of a pack vote with: the probabilities of their logits, (N, C)."""
        powers = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def row_losses(self, joint: npt.NDArray[np.float64], y: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the log-loss of each row, (N,), of probabilities (N, C) and encoded classes (N,)."""
        return np.asarray(-np.log(np.maximum(joint[np.arange(len(y)), y], 1e-12)))

    def decode(self, probabilities: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
        """Return the most probable class of each row: (N, C) -> (N,)."""
        return np.asarray(np.take(self.classes, probabilities.argmax(axis=1)))

    def to_json(self) -> dict[str, Any]:
        """Return the target as plain values."""
        dtype = self.classes.dtype
        name = dtype.name if dtype.kind in "biuf" else "object" if dtype.kind == "O" else "str"
        return {"kind": "classes", "dtype": name, "classes": self.classes.tolist()}


@dataclass(frozen=True)
class NumberTarget:
    """Numbers, K of them a row, standardised for the network.

    Attributes:
        mean: (K,) of the training rows.
        scale: (K,) standard deviation of the training rows, 1 where it is 0.
        bounds: (2, K) least and largest of the training rows: what lies beyond is not predicted.
        is_1d: whether y came as (N,) rather than (N, K).
        quantiles: those that are predicted of the one number, (Q,), instead of its mean; () for the mean.
        logs: how some members see a skewed number of no sign: (unit, mean, scale) of log(1 + number / unit); None: it is not.
    """

    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    is_1d: bool
    bounds: npt.NDArray[np.float64] | None = None
    quantiles: tuple[float, ...] = ()
    logs: tuple[float, float, float] | None = None

    @classmethod
    def learn(cls, y: npt.NDArray[np.float64], weight: npt.NDArray[np.float64] | None = None) -> NumberTarget:
        """Measure the training rows, (N,) or (N, K); a row of weight 2 counts like two rows.

        Raises:
            TableError: the numbers are so large that their squares overflow.
        """
        columns = y.reshape(len(y), -1).astype(np.float64)
        largest = np.abs(columns).max(axis=0)
        if float(largest.max()) > MOST:
            raise TableError(f"the target's numbers go up to {largest.max():g}, too large to square: divide them.")
        # The square of 1e-200 is 0 in float64, so numbers are squared in a unit of their own: a power of two, which rounds
        # nothing.
        unit = np.ldexp(1.0, np.frexp(largest)[1])
        mean = np.average(columns / unit, axis=0, weights=weight)
        scale = np.sqrt(np.average((columns / unit - mean) ** 2, axis=0, weights=weight)) * unit
        mean = mean * unit
        # Less than float32 can tell from the mean is a constant target.
        scale = np.where(scale > 1e-7 * np.abs(mean), scale, 1.0)
        bounds = np.stack([columns.min(axis=0), columns.max(axis=0)])
        return cls(mean, scale, y.ndim == 1, bounds, logs=_logs_of(y, weight) if y.ndim == 1 else None)

    @property
    def n_outputs(self) -> int:
        """Outputs of the network: one for each number, or for each quantile."""
        return len(self.quantiles) or len(self.mean)

    def encode(self, y: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Standardise: (N,) or (N, K) -> (N, K)."""
        return ((y.reshape(len(y), -1) - self.mean) / self.scale).astype(np.float32)

    def to_logs(self, encoded: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Turn encoded numbers to what a member that sees logarithms learns: (N, 1) -> (N, 1), standardised too."""
        assert self.logs is not None  # noqa: S101 - only then a member sees logarithms
        unit, mean, scale = self.logs
        numbers = np.maximum(encoded.astype(np.float64) * self.scale + self.mean, 0)
        return ((np.log1p(numbers / unit) - mean) / scale).astype(np.float32)

    def from_logs(self, outputs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Undo ``to_logs``: what such a member says, as encoded numbers, (N, 1) -> (N, 1)."""
        assert self.logs is not None  # noqa: S101 - as above
        unit, mean, scale = self.logs
        # exp(700) is a float64 still.
        numbers = unit * np.expm1(np.minimum(outputs.astype(np.float64) * scale + mean, 700))
        return np.asarray((numbers - self.mean) / self.scale)

    @property
    def encoded_bounds(self) -> npt.NDArray[np.float64] | None:
        """(2, K) the bounds as encoded numbers."""
        return None if self.bounds is None else (self.bounds - self.mean) / self.scale

    def opinions(self, outputs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return what members of a pack vote with: encoded numbers, kept within the range of the training rows."""
        outputs = outputs.astype(np.float64)
        if self.quantiles:  # those that cross are put in order; a mean of ordered ones is ordered
            outputs = np.sort(outputs, axis=1)
        return outputs if self.encoded_bounds is None else np.clip(outputs, *self.encoded_bounds)

    def row_losses(self, joint: npt.NDArray[np.float64], y: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the squared error of each row, or its pinball loss, (N,), of joint opinions and encoded targets."""
        away = y - joint
        if not self.quantiles:
            return np.asarray((away**2).mean(axis=1))
        shares = np.array(self.quantiles)
        return np.asarray(np.maximum(shares * away, (shares - 1) * away).mean(axis=1))

    def decode(self, outputs: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Undo ``encode``: (N, K) -> (N,) or (N, K), as y came."""
        values = outputs.astype(np.float64) * self.scale + self.mean
        return values[:, 0] if self.is_1d and not self.quantiles else values

    def to_json(self) -> dict[str, Any]:
        """Return the target as plain values."""
        content = {"kind": "numbers", "mean": self.mean.tolist(), "scale": self.scale.tolist(), "is_1d": self.is_1d}
        content |= {} if self.bounds is None else {"bounds": self.bounds.tolist()}
        content |= {} if self.logs is None else {"logs": list(self.logs)}
        return content | ({"quantiles": list(self.quantiles)} if self.quantiles else {})


def _logs_of(y: npt.NDArray[np.float64], weight: npt.NDArray[np.float64] | None) -> tuple[float, float, float] | None:
    """Return unit, mean and scale of log(1 + y / unit), where y is positive and its logarithm much less skewed; else None."""
    if y.min() < 0 or not y.max() > 0:
        return None
    unit = float(np.quantile(y[y > 0], 0.1))
    with np.errstate(over="ignore"):
        logs = np.log1p(y / unit)
    if not np.isfinite(logs).all() or not _skewness(y, weight) > max(SKEWED, 2 * abs(_skewness(logs, weight))):
        return None
    mean = float(np.average(logs, weights=weight))
    return unit, mean, float(np.sqrt(np.average((logs - mean) ** 2, weights=weight)))


def _skewness(values: npt.NDArray[np.float64], weight: npt.NDArray[np.float64] | None) -> float:
    """Return the third standardised moment; 0 of constant values."""
    values = values / np.abs(values).max()
    away = values - np.average(values, weights=weight)
    variance = np.average(away**2, weights=weight)
    return float(np.average(away**3, weights=weight) / variance**1.5) if variance > 0 else 0.0


@dataclass(frozen=True)
class CountTarget:
    """Counts, K of them a row, whose expectation is predicted: the network's output is its logarithm.

    Attributes:
        mean: (K,) of the training rows, 1 where it is 0: counts are learnt in this unit, so that an output of 0 is the mean.
        most: (K,) of the training rows: more is not predicted.
        is_1d: whether y came as (N,) rather than (N, K).
    """

    mean: npt.NDArray[np.float64]
    most: npt.NDArray[np.float64]
    is_1d: bool

    @classmethod
    def learn(cls, y: npt.NDArray[np.float64], weight: npt.NDArray[np.float64] | None = None) -> CountTarget:
        """Measure the training rows, (N,) or (N, K).

        Raises:
            TableError: a count is negative or too large.
        """
        columns = y.reshape(len(y), -1).astype(np.float64)
        if float(columns.min()) < 0 or float(columns.max()) > MOST:
            raise TableError(
                f"loss='poisson' is for counts, and the target holds {columns.min():g} … {columns.max():g}: leave the loss out."
            )
        mean = np.average(columns, axis=0, weights=weight)
        return cls(np.where(mean > 0, mean, 1.0), columns.max(axis=0), y.ndim == 1)

    @property
    def n_outputs(self) -> int:
        """Outputs of the network: one for each count."""
        return len(self.mean)

    def encode(self, y: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Divide by the mean: (N,) or (N, K) -> (N, K)."""
        return (y.reshape(len(y), -1) / self.mean).astype(np.float32)

    def opinions(self, outputs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return what members of a pack vote with: expected counts in units of the mean, at most the largest count."""
        with np.errstate(over="ignore"):
            return np.minimum(np.exp(outputs.astype(np.float64)), self.encoded_most)

    @property
    def encoded_most(self) -> npt.NDArray[np.float64]:
        """(K,) the largest counts in units of the mean, above 0."""
        return np.maximum(self.most / self.mean, 1e-12)

    def row_losses(self, joint: npt.NDArray[np.float64], y: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the Poisson loss of each row, (N,), of expected counts and encoded ones."""
        return np.asarray((joint - y * np.log(np.maximum(joint, 1e-12))).mean(axis=1))

    def decode(self, joint: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Return expected counts: (N, K) -> (N,) or (N, K), as y came."""
        values = joint.astype(np.float64) * self.mean
        return values[:, 0] if self.is_1d else values

    def to_json(self) -> dict[str, Any]:
        """Return the target as plain values."""
        return {"kind": "counts", "mean": self.mean.tolist(), "most": self.most.tolist(), "is_1d": self.is_1d}


@dataclass(frozen=True)
class LabelsTarget:
    """Several labels a row, each there or not: L columns of 0 and 1.

    Attributes:
        classes: (L,) the numbers of the labels, 0 … L - 1.
    """

    classes: npt.NDArray[np.int64]

    @property
    def n_outputs(self) -> int:
        """Outputs of the network: one for each label."""
        return len(self.classes)

    def encode(self, y: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return (N, L) zeros and ones."""
        return np.asarray(y, dtype=np.float32).reshape(len(y), -1)

    def opinions(self, outputs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return what members of a pack vote with: the probability of each label, (N, L)."""
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * outputs.astype(np.float64)))

    def row_losses(self, joint: npt.NDArray[np.float64], y: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the mean log-loss of each row's labels, (N,)."""
        return np.asarray(-np.log(np.maximum(np.where(y > 0, joint, 1 - joint), 1e-12)).mean(axis=1))

    def decode(self, probabilities: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
        """Return the labels that are more probable than not: (N, L) -> (N, L)."""
        return (probabilities > 0.5).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """Return the target as plain values."""
        return {"kind": "labels", "labels": len(self.classes)}


#: What there is to predict.
Target = ClassTarget | LabelsTarget | NumberTarget | CountTarget


def target_from_json(content: Mapping[str, Any]) -> Target:
    """Return the target that ``to_json`` wrote."""
    if content["kind"] == "classes":
        dtype = {"str": np.str_, "object": np.object_}.get(content["dtype"], content["dtype"])
        return ClassTarget(np.array(content["classes"], dtype=dtype))
    if content["kind"] == "labels":
        return LabelsTarget(np.arange(int(content["labels"])))
    mean = np.array(content["mean"], dtype=np.float64)
    if content["kind"] == "counts":
        return CountTarget(mean, np.array(content["most"], dtype=np.float64), bool(content["is_1d"]))
    bounds = np.array(content["bounds"]) if "bounds" in content else None  # format 1 had none
    quantiles = tuple(float(share) for share in content.get("quantiles", ()))
    logs = tuple(float(value) for value in content["logs"]) if "logs" in content else None
    return NumberTarget(mean, np.array(content["scale"]), bool(content["is_1d"]), bounds, quantiles, logs)  # type: ignore[arg-type]
