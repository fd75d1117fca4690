"""An ONNX graph while it is put together: nodes, constants, names."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

__all__ = ["DOUBLE", "FLOAT", "INT64", "Graph", "free_name"]

Constant = npt.NDArray[Any] | np.generic
#: What a Cast goes to: ONNX's codes of types, https://onnx.ai/onnx/intro/concepts.html#element-type
FLOAT, INT64, DOUBLE = 1, 7, 11


def free_name(wanted: str, taken: set[str]) -> str:
    """Return the first of ``wanted``, ``wanted_2``, ``wanted_3`` … that is not taken, and take it.

    >>> free_name("label", {"label"})
    'label_2'
    """
    names = chain([wanted], (f"{wanted}_{number}" for number in count(2)))
    name = next(each for each in names if each not in taken)
    taken.add(name)
    return name


class Graph:
    """Nodes in the order in which they are computed, and the constants they use.

    Args:
        taken: names that are not free: those of the inputs and outputs.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._taken = set(taken)
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def constant(self, values: npt.ArrayLike, name: str) -> str:
        """Return the name of a constant; one of the same type, shape and content is kept once."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(values)
        content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
        key = (str(array.dtype), array.shape, content)
        if key not in self._known:
            self._known[key] = free_name(name, self._taken)
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def add(
        self, operator: str, *inputs: str | Constant, out: str = "", last: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node.

        Args:
            operator: of ONNX, such as 'Gemm'.
            inputs: names of what it takes, or constants.
            out: what its result is to be called; '': the operator's name.
            last: the output of the graph that its result is, whose name was taken for it; '': it is none.
            domain: 'ai.onnx.ml', or '' for the standard operators.
            attributes: of the operator.

        Returns:
            The name of its first result.
        """
        from onnx import helper

        name = last or free_name(out or operator, self._taken)
        results = [name, free_name(f"{name}_places", self._taken)] if operator == "TopK" else [name]  # it has two
        names = [
            each if isinstance(each, str) else self.constant(each, f"{name}: {each if each.ndim == 0 else 'constant'}")
            for each in inputs
        ]
        self.nodes.append(helper.make_node(operator, names, results, name=name, domain=domain, **attributes))
        return name

    def prune(self, outputs: Iterable[str]) -> None:
        """Take out what no output needs, such as the hour of dates that have none."""
        needed = set(outputs)
        nodes = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(node.input)
        self.nodes = nodes[::-1]
        self.constants = [constant for constant in self.constants if constant.name in needed]

    def concat(self, parts: Iterable[str], out: str) -> str:
        """Put tables of the same rows side by side; a single one is itself."""
        parts = list(parts)
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, out=out, axis=1)

    def columns(self, table: str, indices: Iterable[int], n_columns: int, out: str) -> str:
        """Take columns of a table; all of them in order are the table itself."""
        wanted = list(indices)
        if wanted == list(range(n_columns)):
            return table
        return self.add("Gather", table, np.array(wanted), out=out, axis=1)
