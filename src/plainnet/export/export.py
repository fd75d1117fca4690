"""The front room: an estimator  ->  files that predict without plainnet.

onnx           one file, raw columns in, probabilities or numbers out, for ONNX Runtime in any language   onnx_model.py
torch          a script with an nn.Module, its weights beside it                                          scripts.py
python         a script that needs NumPy alone, to be read                                                scripts.py
safetensors    the model file
"""

from __future__ import annotations

from pathlib import Path

from sklearn.utils.validation import check_is_fitted

from plainnet.errors import RunError, SettingError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.export.onnx_model import write_onnx
from plainnet.export.scripts import weights_file, write_script

__all__ = ["SUFFIXES", "export_model"]

#: How the file of each kind of export ends.
SUFFIXES = {"onnx": ".onnx", "torch": ".py", "safetensors": ".safetensors", "python": ".py"}


def export_model(
    estimator: NetClassifier | NetRegressor, path: str | Path, to: str = "onnx", *, overwrite: bool = False
) -> list[Path]:
    """Write a fitted estimator as a file that predicts without plainnet.

    Args:
        estimator: fitted.
        path: the file to write, which ends in .onnx, .py or .safetensors.
        to: 'onnx'; 'torch', a script with an ``nn.Module``; 'python', a script that needs NumPy alone; 'safetensors', the model file.
            The weights of a script stand in a second file beside it, unless they are very few.
        overwrite: replace files that are already there.

    Returns:
        The files that were written, first the one named.

    Raises:
        SettingError: there is no such kind of export, the path ends otherwise, or the estimator has a network of its own.
        RunError: a file is already there and ``overwrite`` is False, or cannot be written.
        MissingExtraError: 'onnx' without onnx installed.
    """
    check_is_fitted(estimator)
    if to not in SUFFIXES:
        raise SettingError(f"to is one of {', '.join(map(repr, SUFFIXES))}, not {to!r}.")
    path = Path(path)
    if path.suffix != SUFFIXES[to]:
        raise SettingError(
            f"an export to {to!r} is a {SUFFIXES[to]} file, and {str(path)!r} ends otherwise: name it {path.stem}{SUFFIXES[to]}."
        )
    weights = [weights_file(path, to)] if SUFFIXES[to] == ".py" else []
    there = [file for file in (path, *weights) if file.exists()]
    if there and not overwrite:
        raise RunError(
            f"{str(there[0])!r} is already there. Name another file (--out), or overwrite it (--overwrite, in Python overwrite=True)."
        )
    if to == "safetensors":
        estimator.save(path)
    elif to == "onnx":
        write_onnx(estimator, path)
    else:
        write_script(estimator, path, to)
    return [path, *(file for file in weights if file.exists())]
