"""For the site: the examples in docstrings, which are doctests, are shown as code."""

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)


class Doctests(griffe.Extension):
    """Put a docstring's doctests into sections 'Examples', as which the site knows them."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Look at the docstring of whatever was found."""
        if obj.docstring is not None:
            obj.docstring.value = DOCTEST.sub(
                lambda found: "Examples:\n" + "\n".join(f"    {line}" for line in found[0].splitlines()),
                obj.docstring.value,
            )
