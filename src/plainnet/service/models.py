"""The models that are served: read, checked, and replaced when their files change."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from plainnet.errors import ModelFileError, PlainnetError, SettingError
from plainnet.runs.runs import read_model_of
from plainnet.runs.source import Stamp, stamp
from plainnet.service.answers import Estimator, answer
from plainnet.service.cells import example_row
from plainnet.service.rows import Intake

__all__ = ["Model", "follow", "name_models", "read"]

LOGGER = logging.getLogger("plainnet.service")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, eq=False)
class Model:
    """A model as it was read.

    Attributes:
        name: in the URL.
        path: the run folder or model file.
        estimator: predicts.
        intake: reads rows of its columns.
        stamp: of the file when it was read.
    """

    name: str
    path: Path
    estimator: Estimator = field(repr=False)
    intake: Intake = field(repr=False)
    stamp: Stamp


def name_models(runs: Iterable[Path], named: Iterable[str] = ()) -> dict[str, Path]:
    """Name models for their URLs: a run after its folder, a file after itself, others as ``name=path`` says.

    Raises:
        SettingError: two of one name, a name that no URL should hold, or no model.

    >>> name_models([Path("runs/adult-1")], ["second=runs/adult-2"])
    {'adult-1': PosixPath('runs/adult-1'), 'second': PosixPath('runs/adult-2')}
    """
    pairs = [(_name_of(path), path) for path in runs]
    for text in named:
        name, _, place = text.partition("=")
        if not place:
            raise SettingError(f"--model {text!r} has to be name=path, such as --model price=runs/houses-1.")
        pairs.append((name, Path(place)))
    found: dict[str, Path] = {}
    for name, path in pairs:
        if not NAME.fullmatch(name):
            raise SettingError(
                f"{name!r} cannot be a model's name in a URL: letters, digits, '.', '_' and '-' can. Name it with --model name={path}."
            )
        if name in found:
            raise SettingError(f"two models are named {name!r}. Name one otherwise: --model other={path}.")
        found[name] = path
    if not found:
        raise SettingError("there is no model to serve. Name a run: plainnet serve runs/adult-1")
    return found


def _name_of(path: Path) -> str:
    path = path.absolute()  # not where a link leads to: the link is what stays when it is switched to another run
    if path.name == "model.safetensors":
        return path.parent.name
    return path.stem if path.suffix == ".safetensors" else path.name


def read(name: str, path: Path, most_rows: int) -> Model:
    """Read a model and let it predict a row.

    Raises:
        RunError, ModelFileError: it is missing, damaged, newer, or cannot predict.
    """
    before = _stamp(path)  # what changes while it is read is read again
    estimator = read_model_of(path)
    intake = Intake(estimator.schema_, most_rows)
    if not hasattr(estimator, "feature_names_in_"):
        # Fitted on an array: its columns are asked for by their place, column_0 and so on.
        estimator.feature_names_in_ = np.array([column.name for column in estimator.schema_.columns], dtype=object)
    try:
        answer(estimator, intake.cells_of(intake.rows_of_json(msgspec.json.encode(example_row(intake.columns)))))
    except Exception as error:
        raise ModelFileError(
            f"{str(path)!r} cannot predict the middle of its own training rows: {type(error).__name__}: {error}. Train it again."
        ) from error
    return Model(name, path, estimator, intake, before)


def _stamp(path: Path) -> Stamp:
    return stamp(path / "model.safetensors" if path.is_dir() else path)


async def follow(
    models: MutableMapping[str, Model],
    wake: asyncio.Event,
    most_rows: int,
    done: Callable[[str, Model | None], None],
    seconds: float = 1.0,
) -> None:
    """Look at the files every so often, and when woken; put what has changed in the place of what was, once it is read.

    A request that has begun keeps the model it has begun with. A file that cannot be used is logged, and what was there goes on.

    Args:
        models: by name; the values are replaced.
        wake: set to have all files read at once, changed or not.
        most_rows: of a request.
        done: told each name with its new model, or with None where it could not be read.
        seconds: between two looks.
    """
    tried = {name: model.stamp for name, model in models.items()}
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), seconds)
        is_asked = wake.is_set()
        wake.clear()
        for name, model in list(models.items()):
            now = _stamp(model.path)
            if now is None or (now == tried[name] and not is_asked):
                continue  # a run that is being overwritten is away for a moment
            tried[name] = now
            try:
                fresh = await asyncio.to_thread(read, name, model.path, most_rows)
            except (PlainnetError, OSError, MemoryError) as error:
                LOGGER.error("model %s: the new file cannot be used, and the old one goes on: %s", name, error)
                done(name, None)
                continue
            models[name] = fresh
            tried[name] = fresh.stamp
            before, after = ({column.name for column in each.intake.columns} for each in (model, fresh))
            other = f"; its columns differ: {sorted(before ^ after)}" if before != after else ""
            LOGGER.warning("model %s: replaced by the new file%s", name, other)
            done(name, fresh)
