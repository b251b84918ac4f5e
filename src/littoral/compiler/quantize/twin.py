"""A model run twice, in float32 and in integers, all feeds node by node: so that each layer is fitted to what is before it."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.corrections import Whole
from littoral.compiler.quantize.evaluate import Finish, computed, taps_summed
from littoral.compiler.quantize.patches import blocks, is_depthwise, matrix_of
from littoral.tensors import Array

__all__ = ["Fitted", "Marks", "Twin", "fitting_count", "in_whole_numbers", "numbers", "quanta"]

TWIN_BYTES_MAX = 1 << 30


@dataclass
class Marks:
    """What is held in bytes, and by what: schemes of values, whole weights of products."""

    schemes: dict[Value, Scheme]
    weights: dict[Node, Whole] = field(default_factory=dict)


def numbers(array: Array, scheme: Scheme | None) -> Array:
    """The float32 numbers that bytes stand for."""
    if scheme is None:
        return array
    centred = array.astype(np.float32)
    centred -= np.float32(scheme.zero)
    centred *= np.float32(scheme.scale)
    return centred


def quanta(array: Array, scheme: Scheme) -> Array:
    """The bytes nearest to float32 numbers."""
    found = array * np.float32(1 / scheme.scale)
    np.rint(found, out=found)
    found += np.float32(scheme.zero)
    np.clip(found, scheme.low, scheme.high, out=found)
    return found.astype(scheme.dtype)


def in_whole_numbers(node: Node, whole: Whole, scheme: Scheme, x: Array, extras: list[Array]) -> Array:
    """The product of bytes, with its epilogue: float32."""
    matrix = matrix_of(node, whole.weights)
    reach = np.abs(matrix.astype(np.int32)).sum(1).max(initial=0) * max(scheme.high, 1)
    dtype = "float32" if reach < 1 << 24 else "float64"  # in which the sums are exact
    factor = whole.scale * np.float32(scheme.scale)
    finish = Finish(node, extras)
    zero, own = np.asarray(scheme.zero, dtype), is_depthwise(node)
    right = matrix.astype(dtype) if own else matrix.T.astype(dtype)
    start = (whole.bias - matrix.sum(1, dtype=np.int64) * zero.astype(np.float64) * factor).astype(np.float32)
    for at, rows in blocks(node, x, dtype, scheme.zero):
        sums = taps_summed(rows, right) if own else rows @ right
        sums = sums.astype(np.float32, copy=False)
        sums *= factor
        sums += start
        finish(at, sums)
    return finish.made


@dataclass
class Twin:
    """One value on all feeds. got: bytes where the value has a scheme; the same list as want where nothing is lost."""

    want: list[Array]
    got: list[Array]


@dataclass(frozen=True)
class Fitted:
    """How far a node's output is from float32's: root mean square, over that of float32's."""

    error: float


Fit = Callable[[Node, Scheme, list[Array], list[Array]], Whole | None]


def run_twin(
    graph: Graph,
    feeds: Sequence[Mapping[str, Array]],
    schemes: Mapping[Value, Scheme],
    fit: Fit,
    tell: Callable[[int, int], None],
) -> dict[str, Twin]:
    """The outputs. fit: gives a product's weights, from its input in float32 and in bytes; None: it stays as it is."""
    twins: dict[Value, Twin] = {}
    for value in graph.inputs:
        arrays = [np.ascontiguousarray(feed[value.name]) for feed in feeds]
        twins[value] = _held(Twin(arrays, arrays), schemes.get(value))
    left = graph.use_counts()
    for i, node in enumerate(graph.nodes):
        tell(i, len(graph.nodes))
        _run_node(node, twins, schemes, fit, len(feeds))
        for value in node.inputs:
            left[value] -= 1
            if not left[value]:
                twins.pop(value, None)
    constants = {v: Twin([v.data] * len(feeds), [v.data] * len(feeds)) for _, v in graph.outputs if v.data is not None}
    return {name: _as_numbers((twins | constants)[v], schemes.get(v)) for name, v in graph.outputs}


def _held(twin: Twin, scheme: Scheme | None) -> Twin:
    return twin if scheme is None else Twin(twin.want, [quanta(a, scheme) for a in twin.got])


def _as_numbers(twin: Twin, scheme: Scheme | None) -> Twin:
    return Twin(twin.want, [numbers(a, scheme) for a in twin.got])


def _run_node(node: Node, twins: dict[Value, Twin], schemes: Mapping[Value, Scheme], fit: Fit, count: int) -> None:
    given = [twins.get(v) for v in node.inputs]

    def arrays(feed: int, exact: bool) -> list[Array]:
        found = []
        for value, twin in zip(node.inputs, given, strict=True):
            if twin is None:
                assert value.data is not None
                found.append(value.data)
            else:
                found.append(twin.want[feed] if exact else numbers(twin.got[feed], schemes.get(value)))
        return found

    want = [computed(node, arrays(i, True)) for i in range(count)]
    x, scheme = given[0] if given else None, schemes.get(node.inputs[0]) if given else None
    whole = fit(node, scheme, x.want, x.got) if x is not None and scheme is not None else None
    same = all(t is None or t.got is t.want for t in given)
    if whole is not None and x is not None and scheme is not None:
        skipped = 2 + node.op.bias  # type: ignore[attr-defined]
        got = [
            (in_whole_numbers(node, whole, scheme, x.got[i], arrays(i, False)[skipped:]),) for i in range(count)
        ]
    else:
        got = want if same else [computed(node, arrays(i, False)) for i in range(count)]
    for k, value in enumerate(node.outputs):
        wanted = [w[k] for w in want]
        twin = Twin(wanted, wanted if got is want else [g[k] for g in got])
        twins[value] = _held(twin, schemes.get(value))


def fitting_count(graph: Graph, feeds: int) -> int:
    """Of how many feeds the values fit in memory at once."""
    left: Counter[Value] = graph.use_counts()
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
