"""Values that bytes are too coarse for, because of what a map makes of them: a logarithm of sums, a root, a quotient.

Steps of a byte are even, and a map that is steep somewhere makes large steps of small ones there. It is measured on the
feeds: what the map makes of the bytes is held against what bytes behind the map would lose by themselves. So it is with
what the bytes that a product reads do to its sums, where such a map is behind them.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

import numpy as np

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.ops import Conv, Map, Reshape, Slice, Transpose
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.marks import held, numbers
from littoral.compiler.quantize.observe import Seen
from littoral.tensors import Array

__all__ = ["STEEP", "Steep", "mapped_values", "steep_parts"]

STEEP = 36.0
"""Times the square error of the bytes behind a map: six steps."""

Schemes = Mapping[Value, Scheme]
_MOVES = (Reshape, Slice, Transpose)


class Steep(NamedTuple):
    """values: not to be read by a map as bytes. products: whose sums are not to be of bytes."""

    values: frozenset[Value]
    products: frozenset[Node]


def mapped_values(graph: Graph, wanted: set[Value]) -> set[Value]:
    """What the maps read whose results are to be held in bytes."""
    return {v for node in _maps(graph, wanted) for v in node.inputs if v.data is None and v.dtype == "float32"}


def steep_parts(graph: Graph, seen: Mapping[Value, Seen], schemes: Schemes, products: set[Node]) -> Steep:
    """What is better left in float32, and rounded behind a map. schemes: of all that could be held in bytes."""
    values: set[Value] = set()
    floats: set[Node] = set()
    for node in _maps(graph, schemes.keys()):
        sources = [v for v in node.inputs if v.data is None]
        if not sources or any(v not in seen or v.shape != sources[0].shape for v in sources):
            continue
        own = {v: seen[v].sample() for v in sources}  # of the same places, since their shapes are equal
        if _ratio(node, own, {v: _held(a, schemes.get(v)) for v, a in own.items()}, schemes) > STEEP:
            values.update(sources)
        makers = {v: maker for v in sources if (maker := _product_before(v, products)) is not None}
        noisy = {v: _noisy(array, makers.get(v), schemes) for v, array in own.items()}
        if makers and _ratio(node, own, noisy, schemes) > STEEP:
            floats.update(makers.values())
    return Steep(frozenset(values), frozenset(floats))


def _maps(graph: Graph, wanted: "set[Value] | object") -> Iterator[Node]:
    return (node for node in graph.nodes if isinstance(node.op, Map) and node.outputs[0] in wanted)  # type: ignore[operator]


def _product_before(value: Value, products: set[Node]) -> Node | None:
    """The product whose sums these are, in another shape or order or in part."""
    node = value.producer
    while node is not None and isinstance(node.op, _MOVES):
        node = node.inputs[0].producer
    return node if node in products else None


def _held(array: Array, scheme: Scheme | None) -> Array:
    return array if scheme is None else numbers(held(array, scheme), scheme)


def _noisy(array: Array, maker: Node | None, schemes: Schemes) -> Array:
    """Sums as far off as bytes in the place of what their product reads make them: even errors of half a step."""
    if maker is None or (scheme := schemes.get(maker.inputs[0])) is None:
        return array
    weights = maker.inputs[1].data
    assert weights is not None
    axes = tuple(range(1, weights.ndim)) if isinstance(maker.op, Conv) else 0
    channels = np.sqrt(np.square(weights, dtype=np.float64).sum(axes))
    strength = channels if channels.shape == array.shape[-1:] else np.sqrt(np.square(channels).mean())
    off = np.random.default_rng(0).standard_normal(array.shape) * strength * (scheme.scale / np.sqrt(12))
    found: Array = (array + off).astype(np.float32)
    return found


def _ratio(node: Node, own: Mapping[Value, Array], got: Mapping[Value, Array], schemes: Schemes) -> float:
    """Square error of what the map makes, in that of the bytes behind it."""
    shape = next(iter(own.values())).shape
    constants = {v: _row(v, shape[-1]) for v in node.inputs if v.data is not None}
    if any(row is None for row in constants.values()):
        return 0.0

    def mapped(arrays: Mapping[Value, Array]) -> Array:
        given = [arrays[v] if v in arrays else cast("Array", constants[v]) for v in node.inputs]
        with np.errstate(all="ignore"):
            return evaluate(cast("Map", node.op).expr, given, shape)

    exact = mapped(own)
    least = _error(_held(exact, schemes[node.outputs[0]]), exact)
    return _error(mapped(got), exact) / max(least, 1e-30)


def _row(value: Value, channels: int) -> Array | None:
    """A constant as it meets rows of channels; None where it differs within a channel."""
    assert value.data is not None
    flat = value.data.reshape(-1)
    return flat if flat.size == 1 or flat.size == channels == value.shape[-1] else None


def _error(found: Array, wanted: Array) -> float:
    """Infinite where the map is not defined for what it is given."""
    with np.errstate(all="ignore"):
        error = float(np.square(found.astype(np.float64) - wanted).mean())
    return error if np.isfinite(error) else np.inf
