"""The public surface as text: names, signatures, verbs and options. `python -m tests.surface` writes surface.txt beside this file.

What the lines promise, and what may change when: docs/reference/stability.md.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, ParameterInfo

import plainnet
from plainnet.runs.runs import FORMAT as RUN_FORMAT
from plainnet.storage.storage import FORMAT as MODEL_FORMAT

SNAPSHOT = Path(__file__).with_name("surface.txt")


def is_ours(value: Any) -> bool:
    return (getattr(value, "__module__", None) or "").startswith("plainnet")


class Words(str):
    """An annotation as it is written, which some versions of Python put in quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def signature_of(function: Any) -> str:
    signature = inspect.signature(function)
    given = [each.replace(annotation=Words(each.annotation)) if isinstance(each.annotation, str) else each
             for each in signature.parameters.values()]  # fmt: skip
    answer = signature.return_annotation
    return str(
        signature.replace(parameters=given, return_annotation=Words(answer) if isinstance(answer, str) else answer)
    )


def members_of(cls: type) -> Iterator[str]:
    """Yield the methods and properties of a class that we wrote, inherited ones too; those of torch and scikit-learn are theirs."""
    for name in sorted(dir(cls)):
        home = next((base for base in cls.__mro__ if name in vars(base)), None)
        if (
            name.startswith("_")
            or not is_ours(home)
            or (is_dataclass(home) and name in {each.name for each in fields(home)})
        ):
            continue  # fields are in the signature
        value = inspect.getattr_static(cls, name)
        if isinstance(value, property | cached_property):
            function = value.fget if isinstance(value, property) else value.func
            yield f"  {name}: {function.__annotations__['return']}"
        elif isinstance(value, staticmethod | classmethod):
            yield f"  {type(value).__name__} {name}{signature_of(value.__func__)}"
        elif inspect.isfunction(value):
            yield f"  {name}{signature_of(value)}"
        elif isinstance(value, str | int | float | tuple | None):
            yield f"  {name} = {value!r}"


def names(of: Any = plainnet, before: str = "") -> Iterator[str]:
    for short in sorted(of.__all__):
        value, name = getattr(of, short), before + short
        if inspect.ismodule(value):
            yield from names(value, f"{name}.")
        elif inspect.isclass(value):
            bases = ", ".join(base.__name__ for base in value.__bases__ if not base.__name__.startswith("_"))
            own = (
                ""
                if issubclass(value, BaseException) and "__init__" not in vars(value)
                else signature_of(value).removesuffix(" -> None")
            )
            yield f"class {name}({bases}){own and f': {own}'}"
            yield from members_of(value)
        else:
            yield f"{name}{signature_of(value)}"


def verbs() -> Iterator[str]:
    from plainnet.cli.cli import app

    for command in sorted(app.registered_commands, key=lambda each: each.callback.__name__):
        yield f"plainnet {command.callback.__name__}"
        hints = get_type_hints(command.callback, include_extras=True)
        for name, parameter in inspect.signature(command.callback).parameters.items():
            kind, info, value = hints[name], parameter.default, parameter.default
            given = []
            if get_origin(kind) is Annotated:
                kind, info = get_args(kind)[:2]
                given = [info.default] if isinstance(info.default, str) else []  # where Typer puts the first of them
            elif isinstance(info, ParameterInfo):
                value = info.default
            else:
                continue  # Typer's own context
            flags = " ".join([*given, *(info.param_decls or ())] or ["--" + name.replace("_", "-")])
            shown = name.upper() if isinstance(info, ArgumentInfo) else flags
            default = "" if any(value is each for each in (parameter.empty, ..., None, False)) else f" = {value}"
            said = f"  {shown}: {kind if get_args(kind) else kind.__name__}{default}"
            yield re.sub(r"typing\.|pathlib\.(_local\.)?", "", said)


def surface() -> str:
    """Return the whole surface, a line each."""
    formats = [f"model file: format {MODEL_FORMAT}", f"run folder: format {RUN_FORMAT}"]
    return "\n".join(["# Written by: python -m tests.surface", "", *names(), "", *verbs(), "", *formats]) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(surface(), encoding="utf-8", newline="\n")
