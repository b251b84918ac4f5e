"""How far each layer of a quantised model is from float32, with all layers before it as they are.

Both graphs are computed on numpy; layers are products (convolutions and matrix products), found by their labels.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from littoral.compiler.driver import Progress, silent
from littoral.compiler.ir.expr import Expr
from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.ops import Conv, DequantizeWeights, Map, MatMul
from littoral.compiler.quantize import Quantized
from littoral.compiler.quantize.evaluate import evaluate
from littoral.quality.comparison import LAYERS_MAX, LayerError
from littoral.tensors import Array

__all__ = ["FEEDS_MAX", "layer_errors"]

FEEDS_MAX = 4
SEVEN_BITS = 64  # no weight of 7 bits is above it
DIGITS = 4


def layer_errors(
    found: Quantized, feeds: Sequence[Mapping[str, Array]], progress: Progress = silent
) -> tuple[tuple[LayerError, ...], int]:
    """In the model's order, and on how many of the feeds, at most four; of more than 1000 layers the first."""
    pairs = list(itertools.islice(_pairs(found.exact, found.graph), LAYERS_MAX))
    off, whole = np.zeros(len(pairs)), np.zeros(len(pairs))
    used = feeds[:FEEDS_MAX]
    for number, feed in enumerate(used):
        progress("layers", number, len(used))
        exact = _outputs(found.exact, feed, [a for _, a, _ in pairs])
        other = _outputs(found.graph, feed, [b.outputs[0] for _, _, b in pairs])
        for i, (_, a, b) in enumerate(pairs):
            want, got = exact[a], other[b.outputs[0]]
            off[i] += np.square(np.subtract(got, want, dtype=np.float64)).sum()
            whole[i] += np.square(want, dtype=np.float64).sum()
    errors = np.sqrt(off / np.maximum(whole, np.finfo(np.float64).tiny))
    rows = tuple(
        LayerError(a.label, a.op.name, _bits(b), float(f"{error:.{DIGITS}g}"))
        for (a, _, b), error in zip(pairs, errors, strict=True)
    )
    return rows, len(used)


def _outputs(graph: Graph, feed: Mapping[str, Array], wanted: Sequence[Value]) -> dict[Value, Array]:
    kept: dict[Value, Array] = {}
    these = set(wanted)

    def see(value: Value, array: Array) -> None:
        if value in these:
            kept[value] = array

    evaluate(graph, {v.name: feed[v.name].reshape(v.shape) for v in graph.inputs}, see)
    return kept


def _pairs(exact: Graph, marked: Graph) -> list[tuple[Node, Value, Node]]:
    """Products of both by label, with what the exact one makes; where several have one label, the first with the first.

    What follows a product by itself in the exact graph may have become its epilogue in the other.
    """
    others = dict(_labelled(marked))
    after = {n.inputs[0]: n for n in exact.nodes if isinstance(n.op, Map) and n.inputs[0].producer}
    found = []
    for key, node in _labelled(exact):
        if key in others:
            made, other = node.outputs[0], others[key]
            is_fused = _epilogue(node) is None and _epilogue(other) is not None and made in after
            found.append((node, after[made].outputs[0] if is_fused else made, other))
    return found


def _epilogue(node: Node) -> Expr | None:
    return node.op.epilogue if isinstance(node.op, Conv | MatMul) else None


def _labelled(graph: Graph) -> list[tuple[tuple[str, int], Node]]:
    seen: Counter[str] = Counter()
    found = []
    for node in graph.nodes:
        if isinstance(node.op, Conv | MatMul):
            found.append(((node.label, seen[node.label]), node))
            seen[node.label] += 1
    return found


def _bits(node: Node) -> int | None:
    held = node.inputs[1].producer if len(node.inputs) > 1 else None
    if held is None or not isinstance(held.op, DequantizeWeights) or held.inputs[0].data is None:
        return None
    return 7 if np.abs(held.inputs[0].data.astype(np.int16)).max(initial=0) <= SEVEN_BITS else 8
