"""What values a graph's tensors take on the feeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.quantize.evaluate import evaluate
from littoral.compiler.quantize.feeds import fitting
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
        evaluate(graph, fitting(graph, feed, i), see)
    return found
