"""Products whose left side is better held with a scale for each row, found when the model runs, than with one for all.

What normalisation and GELU leave in the rows of a transformer differs in size from token to token: one scale for all is
too coarse for most of them. It is measured on the feeds; what is gained must be worth a pass over the rows.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.ops import (
    Concat,
    Conv,
    Dequantize,
    DequantizeWeights,
    Gather,
    Map,
    MatMul,
    Pool,
    Quantize,
    Reduce,
    Resample,
    Reshape,
    RoundRows,
    Slice,
    Transpose,
)
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.passes.fuse_epilogues import fuse_epilogues
from littoral.compiler.quantize.evaluate import evaluate
from littoral.compiler.quantize.feeds import fitting
from littoral.tensors import Array

__all__ = ["GAIN", "better_by_row", "with_rows"]

GAIN = 4.0  # by which scales of rows must lower some mean square of the error: as much as one bit more does
FEEDS = 8
_PASSING_ON = (Concat, Gather, Map, Pool, Quantize, Dequantize, Reduce, Resample, Reshape, Slice, Transpose)


@dataclass
class _Errors:
    """Squares of what rounding takes off, over all feeds."""

    held: float = 0.0
    by_row: float = 0.0

    def take(self, array: Array, scheme: Scheme) -> None:
        (numbers,) = Dequantize(scheme).reference(*Quantize(scheme).reference(array))
        (rounded,) = RoundRows().reference(array)
        self.held += float(np.square(numbers - array, dtype=np.float64).sum())
        self.by_row += float(np.square(rounded - array, dtype=np.float64).sum())


def better_by_row(marked: Graph, feeds: Sequence[Mapping[str, Array]]) -> frozenset[int]:
    """Numbers of such products among the marked graph's nodes, judged on the first feeds. Raises as `fitting`.

    None where no product gains much by it: then bytes from end to end are faster. Else all that gain anything.
    """
    read = {i: source for i, node in enumerate(marked.nodes) if (source := _read_by(node)) is not None}
    errors = {value: (_Errors(), scheme) for value, scheme in read.values()}

    def see(value: Value, array: Array) -> None:
        if value in errors:
            found, scheme = errors[value]
            found.take(array, scheme)

    for i, feed in enumerate(feeds[:FEEDS] if read else ()):
        evaluate(marked, fitting(marked, feed, i), see)
    if not any(found.by_row * GAIN < found.held for found, _ in errors.values()):
        return frozenset()
    better = {value for value, (found, _) in errors.items() if found.by_row < found.held}
    return frozenset(i for i, (value, _) in read.items() if value in better)


def _read_by(node: Node) -> tuple[Value, Scheme] | None:
    """What a product of bytes reads, before it was marked, and its scheme; None for any other node."""
    op, weights = node.op, node.inputs[1].producer if len(node.inputs) > 1 else None
    if not isinstance(op, MatMul) or op.left or op.right or op.result:
        return None
    if weights is None or weights.op != DequantizeWeights(1) or node.inputs[1].type.rank != 2:
        return None
    after = node.inputs[0].producer
    before = after.inputs[0].producer if after is not None and isinstance(after.op, Dequantize) else None
    if before is None or not isinstance(before.op, Quantize):
        return None
    return before.inputs[0], before.op.scheme


def with_rows(marked: Graph, chosen: Set[int]) -> Graph:
    """The marked graph with rounding by row before the chosen products, and without marks that no other one needs."""
    if not chosen:
        return marked
    products = {marked.nodes[i] for i in chosen}
    needed = _needed(marked, products)
    rewriter = Rewriter(marked)
    for node in marked.nodes:
        if node in products:
            found = _read_by(node)
            assert found is not None
            rounded = rewriter.build.add(RoundRows(), rewriter.value(found[0]), label=node.label)
            inputs = (rounded, *rewriter.inputs(node)[1:])
            rewriter.put(node, [rewriter.build.add(node.op, *inputs, label=node.label)])
        elif isinstance(node.op, Dequantize) and node.outputs[0] not in needed and _quantized(node) is not None:
            rewriter.put(node, [rewriter.value(_quantized(node) or node.outputs[0])])
        else:
            rewriter.copy(node)
    return fuse_epilogues(rewriter.finish())


def _quantized(node: Node) -> Value | None:
    before = node.inputs[0].producer
    return before.inputs[0] if before is not None and isinstance(before.op, Quantize) else None


def _needed(marked: Graph, chosen: Set[Node]) -> set[Value]:
    """Values that a product of bytes reads which is not chosen, at once or through what works on bytes."""
    needed: set[Value] = set()
    for node in reversed(marked.nodes):
        is_product = len(node.inputs) > 1 and isinstance(node.op, Conv | MatMul) and node not in chosen
        weights = node.inputs[1].producer if is_product else None
        is_whole = weights is not None and isinstance(weights.op, DequantizeWeights)
        if is_whole or (isinstance(node.op, _PASSING_ON) and any(v in needed for v in node.outputs)):
            needed.update(node.inputs)
    return needed
