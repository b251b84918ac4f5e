"""What values a graph's tensors take on the feeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.quantize.evaluate import evaluate
from littoral.errors import InputError
from littoral.tensors import Array

__all__ = ["Range", "observe"]


@dataclass
class Range:
    """Smallest and greatest value so far; zero is always among them."""

    low: float = 0.0
    high: float = 0.0

    def take(self, array: Array) -> None:
        low, high = float(array.min(initial=0.0)), float(array.max(initial=0.0))
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError("int8: a value is not finite on the calibration feeds", hint="check the feeds")
        self.low, self.high = min(self.low, low), max(self.high, high)


def observe(
    graph: Graph, feeds: Sequence[Mapping[str, Array]], tell: Callable[[str, int, int], None]
) -> dict[Value, Range]:
    """The range of every float32 value. Raises InputError for feeds that do not fit."""
    found: dict[Value, Range] = {}

    def see(value: Value, array: Array) -> None:
        if value.dtype == "float32":
            found.setdefault(value, Range()).take(array)

    for i, feed in enumerate(feeds):
        tell("calibrate", i, len(feeds))
        evaluate(graph, _fitting(graph, feed, i), see)
    return found


def _fitting(graph: Graph, feed: Mapping[str, Array], number: int) -> dict[str, Array]:
    """A feed as the graph takes it: a leading dimension of 1 may be missing, and the name of the only input."""
    fitting = {}
    for value in graph.inputs:
        name = "" if "" in feed and len(graph.inputs) == 1 else value.name
        if name not in feed:
            raise InputError(f"int8: calibration feed {number} lacks input `{value.name}`")
        array = _array(feed[name], name, number)
        if array.shape == value.shape[1:] and value.shape[:1] == (1,):
            array = array[None]
        if array.shape != value.shape or array.dtype.name != value.dtype:
            got = f"{array.dtype.name}{list(array.shape)}"
            raise InputError(f"int8: calibration feed {number}: `{value.name}` is {got}, expected {value.type}")
        fitting[value.name] = array
    return fitting


def _array(given: Any, name: str, number: int) -> Array:
    try:
        return np.asarray(given)
    except ValueError as error:
        raise InputError(f"int8: calibration feed {number}: `{name}` is no array: {error}") from error
