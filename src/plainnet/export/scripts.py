"""An estimator as a script that predicts without plainnet: with PyTorch, or with NumPy alone.

What is the same in every script is real code beside this file (script_encode.py, script_numpy.py, script_torch.py,
script_main.py), so that it is typed and checked like any other. Here it is put together with what was fitted, which is written
as Python literals; branches for other targets are left out.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from importlib.resources import files
from pathlib import Path
from pprint import pformat
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

import plainnet
from plainnet.errors import SettingError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.files import replacing, write_text
from plainnet.networks.networks import MODULES
from plainnet.tables.schema import Column, Spread
from plainnet.tables.target import ClassTarget

__all__ = ["check_plain", "plain_classes", "weights_file", "write_script"]

Array = npt.NDArray[np.float32]

#: Weights that are written into a NumPy script itself, rather than a file beside it.
FEW_WEIGHTS = 200

#: The beginning of a branch that only some scripts have, with a comment behind it.
BRANCH = re.compile(
    r' *(?P<word>if|elif|else)(?: (?:TARGET\["kind"\]|ACTIVATION) == "(?P<fact>\w+)")?:(?:  (?P<said># .*))?$'
)

IMPORTS = """from __future__ import annotations

import csv
import re
import sys
from datetime import UTC, date, datetime, timedelta
from math import erf
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
"""


def weights_file(path: Path, to: str) -> Path:
    """Return the file beside a script that holds its weights.

    >>> weights_file(Path("models/adult.py"), "python").name
    'adult_weights.npz'
    """
    return path.with_name(f"{path.stem}_weights{'.npz' if to == 'python' else '.safetensors'}")


def write_script(estimator: NetClassifier | NetRegressor, path: Path, to: str) -> None:
    """Write a script, and its weights beside it.

    Args:
        estimator: fitted.
        path: of the script.
        to: 'torch', with an ``nn.Module``, which needs torch, safetensors and NumPy; or 'python', which needs NumPy alone, and in which a
            few weights stand in the script itself.

    Raises:
        SettingError: the estimator has a network of its own.
        RunError: a file cannot be written.
    """
    from safetensors.numpy import save_file

    fitted, weights = _fitted(estimator)
    own = weights_file(path, to)
    is_few = to == "python" and sum(values.size for values in weights.values()) < FEW_WEIGHTS
    beside = f"Path(__file__).with_name({own.name!r})"
    if to == "torch":
        # The number of a linear layer -> its place in an nn.Sequential: after the codes, and with an activation after each.
        coded = [int(bool(shape["bins"])) for shape in fitted["NETWORKS"]]
        arrays = {f"networks.{k}.{2 * layer + coded[k]}.{part}": each for (k, layer, part), each in weights.items()}
        where = f"ACTIVATION = nn.{MODULES[fitted['ACTIVATION']].__name__}\nWEIGHTS_FILE = {beside}\n"
        told = ("a PyTorch module", "load() returns the nn.Module itself, which takes encode(rows).", "torch")
        imports = IMPORTS + "import torch\nfrom safetensors.torch import load_file\nfrom torch import Tensor, nn\n"
    else:
        arrays = {f"{k}.{layer}.{part}": each for (k, layer, part), each in weights.items()}
        read = f"WEIGHTS = dict(np.load({beside}, allow_pickle=False))\n"
        where = _weights_literal(arrays) if is_few else read
        told = ("plain NumPy", "Read it from top to bottom: encode, network, vote.", "NumPy")
        imports = IMPORTS
    script = _script(_head(estimator, *told) + imports, fitted, where, "torch" if to == "torch" else "numpy")
    with nullcontext() if is_few else replacing(own) as temporary:  # both files, or none
        if temporary and to == "torch":
            save_file(arrays, temporary)
        elif temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
        write_text(path, script)


def check_plain(estimator: NetClassifier | NetRegressor) -> None:
    """Check that an estimator's networks are ours.

    Raises:
        SettingError: the estimator has a network of its own.
    """
    if estimator.network is not None:
        raise SettingError(
            "only plain networks are exported, and this one was built by your own network=: use torch.onnx.export on "
            "estimator.network_, save estimator.network_.state_dict() with torch, or leave network= out."
        )


def _weights_literal(arrays: dict[str, Array]) -> str:
    lines = []
    for name, values in arrays.items():
        numbers = ", ".join(map(str, values.ravel()))  # the shortest decimals that are the same float32 again
        numbers = fill(numbers, width=112, initial_indent=" " * 8, subsequent_indent=" " * 8)
        lines.append(f"    {name!r}: np.array([\n{numbers}\n    ], dtype=np.float32).reshape({values.shape!r}),\n")
    return f"WEIGHTS: dict[str, np.ndarray] = {{\n{''.join(lines)}}}\n"


def _head(estimator: NetClassifier | NetRegressor, what: str, more: str, needs: str) -> str:
    """Return the script's docstring. No name of the table is in it: text of a stranger's table is written as a literal only."""
    n = sum(member.weight > 0 for member in estimator.members_)
    call = "predict_proba(rows)" if isinstance(estimator, NetClassifier) else "predict(rows)"
    return (
        f'"""A {type(estimator).__name__} of plainnet {plainnet.__version__} as {what}: {n} network{"s that vote" * (n > 1)}.\n\n'
        "    python THIS_FILE.py rows.csv      prints a prediction for each row\n\n"
        f"From Python: {call}, where rows is a dict from each name in COLUMNS to a list of cells. {more}\n"
        f'Needs Python 3.11 and {needs}, and no plainnet. Written by plainnet.\n"""\n\n'
    )


def _fitted(estimator: NetClassifier | NetRegressor) -> tuple[dict[str, Any], dict[tuple[int, int, str], Array]]:
    """Return the constants of a script by name, and the weights by network, linear layer and 'weight' or 'bias'.

    Raises:
        SettingError: the estimator has a network of its own.
    """
    check_plain(estimator)
    networks, weights = [], {}
    target = estimator.target_
    told = (
        {"kind": "classes", "classes": plain_classes(target)} if isinstance(target, ClassTarget) else target.to_json()
    )
    voters = [member for member in estimator.members_ if member.weight > 0]
    for number, member in enumerate(voters):
        shape = member.recipe.shape
        linear = [layer for layer in member.network.children() if isinstance(layer, nn.Linear)]
        for place, layer in enumerate(linear):
            for part, values in layer.state_dict().items():
                weights[number, place, part] = values.detach().cpu().numpy()
        widths = [shape.n_coded, *shape.hidden, shape.n_out]
        networks.append({
            "share": member.weight, "layers": len(linear), "widths": widths, "bins": list(shape.bins), "code_scale": shape.scale,
            "is_log": member.recipe.is_log,
        })  # fmt: skip
    return {
        "COLUMNS": [_column(column) for column in estimator.schema_.used],
        "TARGET": told,
        "NETWORKS": networks,
        "ACTIVATION": voters[0].recipe.shape.activation,
    }, dict(sorted(weights.items()))


def _column(column: Column) -> dict[str, Any]:
    entry = {"name": column.name, "kind": column.kind, "read_as": column.dtype, "has_missing": column.missing > 0}
    if column.spread is not None:
        return entry | _spread(column.spread)
    if column.kind == "date":
        parts = {part: _spread(spread) for part, spread in (column.parts or {}).items()}
        return entry | {"date_format": column.date_format, "parts": parts}
    rare = {"has_rare": column.other > 0} if column.kind == "category" else {}
    return entry | rare | {"levels": list(column.levels)}


def _spread(spread: Spread) -> dict[str, Any]:
    return {"median": spread.median, "scale": spread.scale, "knots": list(spread.knots)}


def plain_classes(target: ClassTarget) -> list[Any]:
    """Return the classes as numbers, true and false, or text."""
    return [each if isinstance(each, bool | int | float) else str(each) for each in target.classes.tolist()]


def _script(head: str, fitted: dict[str, Any], weights: str, networks: str) -> str:
    """Put a script together."""
    types = {"COLUMNS": "list[dict[str, Any]]", "TARGET": "dict[str, Any]", "NETWORKS": "list[dict[str, Any]]"}
    literals = {name: pformat(fitted[name], width=118, compact=True, sort_dicts=False) for name in types}
    constants = "".join(f"{name}: {types[name]} = {literals[name]}\n" for name in types)
    code = "\n\n".join(_code(f"script_{name}.py") for name in ("encode", networks, "main"))
    code = _without_other_branches(code, (fitted["TARGET"]["kind"], fitted["ACTIVATION"]))
    for line in ("from math import erf\n", "from math import inf\n", "from pathlib import Path\n"):
        if not re.search(rf"\b{line.split()[-1]}\b", constants + weights + code):
            head = head.replace(line, "")
    comment = "# ---- What was fitted " + "-" * 98
    return f"{head}\n{comment}\n\n{constants}{weights}\n{code}"


def _code(name: str) -> str:
    """Return the part of a file beside this one that is copied, without notes to our own tools."""
    text = (files("plainnet.export") / name).read_text(encoding="utf-8")
    text = text[text.index("# ---- ") :]
    return re.sub(r"  # (noqa|fmt|type): .*", "", text)


def _without_other_branches(code: str, facts: tuple[str, str]) -> str:
    r"""Keep of each ``if TARGET["kind"] == …`` and ``if ACTIVATION == …`` only the branch that is taken, as plain lines.

    >>> text = 'if TARGET["kind"] == "classes":  # C\n    a\nelse:  # numbers\n    b\n\nc'
    >>> _without_other_branches(text, ("numbers", "silu"))
    '# numbers\nb\n\nc'
    """
    lines: list[str] = []
    depth, is_taken, was_taken = -1, True, False
    for line in code.split("\n"):
        indent = len(line) - len(line.lstrip())
        branch = BRANCH.match(line)
        if branch and (branch["fact"] or indent == depth):
            was_taken = was_taken and branch["word"] != "if"  # which begins anew
            is_taken = not was_taken and branch["fact"] in (None, *facts)
            was_taken, depth = was_taken or is_taken, indent
            if is_taken and branch["said"]:
                lines.append(" " * indent + branch["said"])
        elif not line.strip():
            lines.append("")
        elif indent > depth >= 0:
            if is_taken:
                lines.append(line[4:])
        else:
            depth = -1
            lines.append(line)
    return "\n".join(lines)
