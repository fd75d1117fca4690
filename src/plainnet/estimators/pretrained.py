"""A folder as model hubs lay it out: model.safetensors, config.json, README.md. Written and read on this machine alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sklearn.utils.validation import check_is_fitted

import plainnet
from plainnet.errors import ModelFileError, RunError
from plainnet.estimators.options import model_content
from plainnet.files import replacing_folder
from plainnet.tables.schema import describe_kinds, describe_values
from plainnet.tables.target import ClassTarget, CountTarget, LabelsTarget, Target

if TYPE_CHECKING:
    from plainnet.estimators.estimators import NetEstimator

__all__ = ["from_pretrained", "save_pretrained"]

Estimator = TypeVar("Estimator", bound="NetEstimator")

FILES = {"model.safetensors", "config.json", "README.md"}


def save_pretrained(self: NetEstimator, folder: str | Path, *, overwrite: bool = False) -> None:  # noqa: D417 - a method
    """Write a folder as model hubs lay it out: model.safetensors, and for people config.json and README.md, a model card.

    Args:
        folder: to make; folders above it are made as needed.
        overwrite: replace such a folder that is already there; an empty one always is.

    Raises:
        RunError: there is such a folder already and ``overwrite`` is False, or it holds other files, or cannot be written.
        SettingError: the network is one of your own.
    """
    check_is_fitted(self)
    content, _ = model_content(self)
    folder = Path(folder)
    there = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    if there - FILES:
        raise RunError(
            f"{str(folder)!r} holds other files too, such as {min(there - FILES)!r}, and is not replaced. Name another folder."
        )
    with replacing_folder(folder, overwrite=overwrite or not there) as new:
        self.save(new / "model.safetensors")
        config = json.dumps(_config(self, dict(content)), indent=2, ensure_ascii=False) + "\n"
        (new / "config.json").write_text(config, encoding="utf-8")
        (new / "README.md").write_text(_card(self), encoding="utf-8")


def from_pretrained(cls: type[Estimator], folder: str | Path) -> Estimator:
    """Read the estimator from a folder that ``save_pretrained`` wrote. Nothing is downloaded.

    Args:
        cls: NetClassifier or NetRegressor.
        folder: on this machine, with model.safetensors in it.

    Raises:
        ModelFileError: there is no such folder, its model is damaged, or is one of the other estimator.
    """
    from plainnet.estimators.load import load

    path = Path(folder)
    if not (path / "model.safetensors").is_file():
        what = "a folder without model.safetensors" if path.is_dir() else "no folder on this machine"
        raise ModelFileError(
            f"{str(folder)!r} is {what}, and nothing is downloaded. Pass a folder that save_pretrained wrote; fetch one from a hub "
            "first, such as with `hf download`."
        )
    estimator = load(path / "model.safetensors")
    if not isinstance(estimator, cls):
        kind = type(estimator).__name__
        raise ModelFileError(f"{str(folder)!r} holds a {kind}: read it with {kind}.from_pretrained.")
    return estimator


def _config(estimator: NetEstimator, content: dict[str, Any]) -> dict[str, Any]:
    """Return what people and hubs want to know; everything that is needed to predict is in the model file."""
    columns = [{"name": column.name, "kind": column.kind, "why": column.why} for column in estimator.schema_.columns]
    networks = [member.network for member in estimator.members_]
    return {
        "library_name": "plainnet",
        "plainnet_version": plainnet.__version__,
        "estimator": content["estimator"],
        "settings": content["settings"],
        "target": content["target"],
        "columns": columns,
        "n_training_rows": estimator.schema_.n_rows,
        "n_networks": len(networks),
        "n_parameters": sum(values.numel() for network in networks for values in network.parameters()),
        "versions": content["versions"],
    }


def _card(estimator: NetEstimator) -> str:
    """Return the model card: YAML that hubs read, then a page for people."""
    kind = type(estimator).__name__
    task = "classification" if kind == "NetClassifier" else "regression"
    used, left_out = estimator.schema_.used, estimator.schema_.left_out
    rows = "\n".join(f"| {_plain(each.name)} | {each.kind} | {_plain(describe_values(each))} |" for each in used)
    ignored = f"\nLeft out: {', '.join(_plain(column.name) for column in left_out)}.\n" if left_out else ""
    return f"""---
library_name: plainnet
pipeline_tag: tabular-{task}
tags:
- plainnet
- tabular-{task}
- tabular
---

# A {kind} of plainnet

{len(estimator.members_)} plain neural networks that vote, trained on {estimator.schema_.n_rows:,} rows of {describe_kinds(used)}.
It predicts {_answer(estimator.target_)}.

```python
from plainnet import {kind}

model = {kind}.from_pretrained("THIS FOLDER")
model.predict(table)  # a data frame, a dict of columns, or a file, with the columns below
```

| column | kind | values in training |
|---|---|---|
{rows}
{ignored}
`model.safetensors` is all that is needed; `config.json` and this page are for reading. Describe here what the model is for, what it
was trained on and how well it did before you share it. Levels of categories and the range of numbers are in these files: look whether
they may be shared.
"""


def _answer(target: Target) -> str:
    """Say what is predicted."""
    if isinstance(target, ClassTarget):
        names = [_plain(each) for each in target.classes[:20].tolist()]
        more = f" and {target.n_outputs - 20} more" if target.n_outputs > 20 else ""
        return f"{target.n_outputs} classes: {', '.join(names)}{more}"
    if isinstance(target, LabelsTarget):
        return f"{target.n_outputs} labels, each there or not"
    if isinstance(target, CountTarget):
        return f"{target.n_outputs} counts a row" if target.n_outputs > 1 else "a count"
    if target.quantiles:
        return f"the quantiles {', '.join(f'{share:g}' for share in target.quantiles)} of a number"
    return f"{target.n_outputs} numbers a row" if target.n_outputs > 1 else "a number"


def _plain(text: object) -> str:
    r"""Keep a name of the table from being read as Markdown or HTML, and in its line.

    >>> _plain("a|b <i>")
    'a\\|b &lt;i>'
    """
    flat = " ".join(str(text).split())
    for mark in ("\\", "|", "*", "_", "`", "[", "#"):
        flat = flat.replace(mark, f"\\{mark}")
    return flat.replace("&", "&amp;").replace("<", "&lt;")
