"""A model run twice on all feeds, node by node: in float32, and in integers that are fitted to it on the way."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.quantize.evaluate import computed
from littoral.compiler.quantize.marks import Marks, held, in_integers, numbers
from littoral.tensors import Array

__all__ = ["Fit", "fitting_count", "run_twin"]

TWIN_BYTES_MAX = 1 << 30
ERROR_FEEDS = 8

Fit = Callable[[Node, list[Array], list[Array]], None]


class _Twin(NamedTuple):
    """One value on all feeds. got: bytes where the value has a scheme; the list of want where nothing is lost."""

    want: list[Array]
    got: list[Array]


def run_twin(
    graph: Graph, feeds: Sequence[Mapping[str, Array]], marks: Marks, fit: Fit, tell: Callable[[int, int], None]
) -> dict[Node, float]:
    """How far outputs of products of bytes are from those of float32, relative.

    fit: is given a node and its first input, in float32 and as held, and may put the node's weights into the marks.
    """
    twins: dict[Value, _Twin] = {}
    errors: dict[Node, float] = {}
    for value in graph.inputs:
        arrays = [np.ascontiguousarray(feed[value.name]) for feed in feeds]
        scheme = marks.schemes.get(value)
        twins[value] = _Twin(arrays, arrays if scheme is None else [held(a, scheme) for a in arrays])
    left = graph.use_counts()
    for i, node in enumerate(graph.nodes):
        tell(i, len(graph.nodes))
        if node.inputs and node.inputs[0] in twins:
            fit(node, *twins[node.inputs[0]])
        made = _made(node, twins, marks, len(feeds))
        twins.update(zip(node.outputs, made, strict=True))
        if node in marks.weights:
            errors[node] = _error(made[0], node.outputs[0], marks)
        for value in node.inputs:
            left[value] -= 1
            if not left[value]:
                twins.pop(value, None)
    return errors


def _made(node: Node, twins: Mapping[Value, _Twin], marks: Marks, count: int) -> list[_Twin]:
    given = {v: twins[v] for v in node.inputs if v.data is None}

    def exact(feed: int) -> tuple[Array, ...]:
        return computed(node, [given[v].want[feed] if v.data is None else v.data for v in node.inputs])

    want = [exact(i) for i in range(count)]
    plain = node not in marks.weights and all(t.got is t.want for t in given.values())
    if plain and not any(v in marks.schemes for v in node.outputs):
        got = want
    else:
        got = [in_integers(node, {v: t.got[i] for v, t in given.items()}, marks) for i in range(count)]
    made = []
    for k in range(len(node.outputs)):
        wanted = [w[k] for w in want]
        made.append(_Twin(wanted, wanted if got is want else [g[k] for g in got]))
    return made


def _error(twin: _Twin, value: Value, marks: Marks) -> float:
    off = total = 0.0
    for want, got in zip(twin.want[:ERROR_FEEDS], twin.got[:ERROR_FEEDS], strict=True):
        is_known = np.isfinite(want)  # masks have infinities
        known, found = want[is_known], numbers(got, marks.schemes.get(value))[is_known]
        off += float(np.square(found - known, dtype=np.float64).sum())
        total += float(np.square(known, dtype=np.float64).sum())
    return math.sqrt(off / total) if total else 0.0


def fitting_count(graph: Graph, feeds: int) -> int:
    """Of how many feeds the values fit in memory at once."""
    left = graph.use_counts()
    alive = {v: 8 * v.type.elements for v in graph.inputs}
    peak = sum(alive.values())
    for node in graph.nodes:
        alive.update({v: 8 * v.type.elements for v in node.outputs})
        peak = max(peak, sum(alive.values()))
        for value in node.inputs:
            left[value] -= 1
            if not left[value]:
                alive.pop(value, None)
    return max(1, min(feeds, TWIN_BYTES_MAX // max(peak, 1)))
