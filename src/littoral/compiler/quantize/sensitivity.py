"""How much of the agreement with float32 is lost, as a whole and by one layer alone, on feeds held out of the fit.

A layer's own share is measured in the float32 model with nothing but that layer changed: in integers all later
roundings would fall otherwise too, which hides what one layer does.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.corrections import Whole, as_floats
from littoral.compiler.quantize.evaluate import computed, evaluate
from littoral.compiler.quantize.marks import Marks, held, in_integers, numbers, rounded_rows
from littoral.tensors import Array

__all__ = ["Judge"]

KEPT_BYTES_MAX = 1 << 30


class Judge:
    """A float32 model with all its values on some feeds: a change costs only what follows it. count: of the feeds."""

    def __init__(self, graph: Graph, feeds: Sequence[Mapping[str, Array]]) -> None:
        self.graph = graph
        self._known: list[dict[Value, Array]] = []
        size = sum(v.type.elements for node in graph.nodes for v in node.outputs) * 4
        for feed in feeds[: max(1, KEPT_BYTES_MAX // max(size, 1))]:
            values: dict[Value, Array] = {}
            evaluate(graph, feed, values.__setitem__)
            self._known.append(values)
        self.count = len(self._known)

    def agreement(self, marks: Marks, count: int | None = None) -> float:
        """Cosine of the outputs in integers to those of float32: of the output that is worst, mean over the feeds.

        count: of the feeds to measure it on.
        """
        found = []
        for exact in self._known[:count]:
            values = {v: held(exact[v], marks.schemes.get(v)) for v in self.graph.inputs}
            for node in self.graph.nodes:
                made = in_integers(node, {v: values[v] for v in node.inputs if v.data is None}, marks)
                values.update(zip(node.outputs, made, strict=True))
            found.append([_alike(exact[v], numbers(values[v], marks.schemes.get(v))) for v in self._outputs()])
        return float(np.mean(found, axis=0).min(initial=1.0))

    def loss_of_weights(self, node: Node, whole: Whole) -> float:
        """Of rounded weights for one node."""
        constants = [as_floats(node, whole), whole.bias] if node.op.bias else [as_floats(node, whole)]  # type: ignore[attr-defined]
        found = []
        for exact in self._known:
            x, *rest = (exact[v] if v.data is None else v.data for v in node.inputs)
            values = {
                **exact,
                **dict(zip(node.outputs, computed(node, [x, *constants, *rest[len(constants) :]]), strict=True)),
            }
            self._follow(values, set(node.outputs))
            found.append(self._moved(exact, values))
        return _worst(found)

    def loss_of_bytes(self, value: Value, scheme: Scheme | None, count: int | None = None) -> float:
        """Of holding one value in bytes; without a scheme, in rows of bytes. count: of the feeds to measure it on."""
        found = []
        for exact in self._known[:count]:
            values = dict(exact)
            as_held = rounded_rows(exact[value]) if scheme is None else numbers(held(exact[value], scheme), scheme)
            values[value] = as_held
            self._follow(values, {value})
            found.append(self._moved(exact, values))
        return _worst(found)

    def _follow(self, values: dict[Value, Array], stale: set[Value]) -> None:
        for node in self.graph.nodes:
            if stale.isdisjoint(node.inputs) or not stale.isdisjoint(node.outputs):
                continue
            arrays = [values[v] if v.data is None else v.data for v in node.inputs]
            values.update(zip(node.outputs, computed(node, arrays), strict=True))
            stale.update(node.outputs)

    def _outputs(self) -> list[Value]:
        """Those that a cosine says something of."""
        results = [v for _, v in self.graph.outputs if v in self._known[0]]
        return [v for v in results if v.dtype == "float32" and v.type.elements > 1]

    def _moved(self, exact: Mapping[Value, Array], values: Mapping[Value, Array]) -> list[float]:
        return [1 - _alike(exact[v], values[v]) for v in self._outputs()]


def _worst(losses: list[list[float]]) -> float:
    return max(0.0, float(np.mean(losses, axis=0).max(initial=0.0)))


def _alike(a: Array, b: Array) -> float:
    x, y = a.astype(np.float64).reshape(-1), b.astype(np.float64).reshape(-1)
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / size if size else float(np.array_equal(x, y))
