"""What values a graph's tensors take on the feeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.ir.ops import Conv, MatMul
from littoral.compiler.quantize.evaluate import evaluate
from littoral.errors import InputError
from littoral.tensors import Array

__all__ = ["Seen", "observe"]

SAMPLE_ELEMENTS = 1 << 16


@dataclass
class Seen:
    """A value on all feeds. lows, highs: by channel, the last axis; zero is always between. samples: a few rows."""

    lows: Array = field(default_factory=lambda: np.zeros(1, np.float32))
    highs: Array = field(default_factory=lambda: np.zeros(1, np.float32))
    samples: list[Array] = field(default_factory=list)

    @property
    def low(self) -> float:
        return float(self.lows.min())

    @property
    def high(self) -> float:
        return float(self.highs.max())

    @property
    def tops(self) -> Array:
        """The largest magnitude of each channel."""
        return np.maximum(-self.lows, self.highs)

    def take(self, array: Array, elements: int) -> None:
        """elements: of the sample."""
        rows = array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
        if not rows.size:
            return
        least, most = rows.min(0), rows.max(0)
        self.lows, self.highs = np.minimum(self.lows, least), np.maximum(self.highs, most)
        count = max(1, min(len(rows), elements // rows.shape[1]))
        self.samples.append(rows[(np.arange(count) * len(rows)) // count].copy())

    def sample(self) -> Array:
        return np.concatenate(self.samples)


def observe(
    graph: Graph, feeds: Sequence[Mapping[str, Array]], wanted: set[Value], tell: Callable[[str, int, int], None]
) -> dict[Value, Seen]:
    """What the wanted values are. Raises InputError where one, or what a layer or the model makes, is not finite."""
    found: dict[Value, Seen] = {v: Seen() for v in wanted}
    elements = max(1, SAMPLE_ELEMENTS // len(feeds))

    told = {v for v in graph.results() if v.dtype == "float32"} | {
        node.outputs[0] for node in graph.nodes if isinstance(node.op, Conv | MatMul)
    }
    told -= wanted

    def see(value: Value, array: Array) -> None:
        if (value in found or value in told) and not _is_fine(array, value in told):
            raise _refusal(value, i)
        if value in found:
            found[value].take(array, elements)

    for i, feed in enumerate(feeds):
        tell("calibrate", i, len(feeds))
        evaluate(graph, feed, see)
    return found


def _is_fine(array: Array, is_masked: bool) -> bool:
    """Whether all are finite; is_masked: or less than any number, as masks have it."""
    top = array.max(initial=0)
    return bool(np.isfinite(top) and (is_masked or np.isfinite(array.min(initial=0))))


def _refusal(value: Value, feed: int) -> InputError:
    what = f"input `{value.name}`" if value.producer is None else f"what `{value.producer.label}` makes"
    return InputError(
        f"int8: {what} is not finite on calibration feed {feed}",
        hint="check that the feeds are scaled as the model expects",
    )
