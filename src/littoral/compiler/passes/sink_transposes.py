"""Transposes move towards the outputs, through everything that can work in another order of axes, until they cancel."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

from littoral.compiler.ir.expr import Expr, Load, Position, walk
from littoral.compiler.ir.graph import Graph, Node, Op, Rewriter, Value
from littoral.compiler.ir.ops import (
    Concat,
    Dequantize,
    Map,
    Pad,
    Quantize,
    Reduce,
    Resample,
    Reshape,
    Slice,
    Softmax,
    Transpose,
)
from littoral.compiler.passes.canonicalize import reshaped, transposed

__all__ = ["sink_transposes", "source_of", "transpose_of"]

_Perm = tuple[int, ...]
_T = TypeVar("_T")


def sink_transposes(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        sunk = _sunk(rewriter, node)
        if sunk is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [sunk])
    return rewriter.finish()


def _inverse(perm: _Perm) -> _Perm:
    return tuple(perm.index(i) for i in range(len(perm)))


def transpose_of(value: Value) -> _Perm | None:
    """The order of axes, if the value comes from a transpose."""
    if value.producer is not None and isinstance(value.producer.op, Transpose):
        return value.producer.op.perm
    return None


def source_of(value: Value) -> Value:
    """What the value's node reads first."""
    assert value.producer is not None
    return value.producer.inputs[0]


# How an operation on T(x) becomes the same operation on x, before T. T's axis i is x's axis perm[i].
_MOVED: dict[type[Op], Callable[..., Op]] = {
    Softmax: lambda op, perm: replace(op, axis=perm[op.axis]),
    Quantize: lambda op, _: op,
    Dequantize: lambda op, _: op,
    Resample: lambda op, perm: replace(op, axis=perm[op.axis]),
    Reduce: lambda op, perm: replace(op, axes=tuple(sorted(perm[a] for a in op.axes))),
    Pad: lambda op, perm: replace(op, pads=_reordered(op.pads, perm)),
    Slice: lambda op, perm: Slice(_reordered(op.starts, perm), _reordered(op.steps, perm), _reordered(op.shape, perm)),
}


def _reordered(items: tuple[_T, ...], perm: _Perm) -> tuple[_T, ...]:
    return tuple(items[perm.index(axis)] for axis in range(len(perm)))


def _sunk(rewriter: Rewriter, node: Node) -> Value | None:
    inputs = rewriter.inputs(node)
    perms = [transpose_of(v) for v in inputs]
    found = next((p for p in perms if p is not None), None)
    if found is None:
        return None
    match node.op:
        case Transpose():
            return transposed(rewriter, inputs[0], node.op.perm, node.label)
        case Reshape():
            return _through_reshape(rewriter, node.op, source_of(inputs[0]), found, node.label)
        case Map() | Concat():
            return _through_many(rewriter, node, inputs, found)
        case _ if type(node.op) in _MOVED and perms[0] is not None and len(node.outputs) == 1:
            if isinstance(node.op, Reduce) and (len(inputs) > 1 or node.op.shape or _reads_positions(node.op.before)):
                return None
            op = _MOVED[type(node.op)](node.op, perms[0])
            result = rewriter.build.add(op, source_of(inputs[0]), *inputs[1:], label=node.label)
            return transposed(rewriter, result, perms[0], node.label)
        case _:
            return None


def _reads_positions(expr: Expr | None) -> bool:
    return expr is not None and any(isinstance(e, Position | Load) for e in walk(expr))


def _through_many(rewriter: Rewriter, node: Node, inputs: tuple[Value, ...], perm: _Perm) -> Value | None:
    """Through a map or concatenation, where at least as much is transposed alike already as would have to be."""
    op = node.op
    rank = node.outputs[0].type.rank
    if len(perm) != rank:
        return None
    if isinstance(op, Map) and (op.shape or _reads_positions(op.expr)):
        return None
    alike = [transpose_of(v) == perm for v in inputs]
    gained = sum(v.type.elements for v, same in zip(inputs, alike, strict=True) if same)
    lost = sum(v.type.elements for v, same in zip(inputs, alike, strict=True) if not same and v.data is None)
    if lost > gained:
        return None
    sources = []
    for value, same in zip(inputs, alike, strict=True):
        if same:
            sources.append(source_of(value))
            continue
        padded = reshaped(rewriter, value, (1,) * (rank - value.type.rank) + value.shape, node.label)
        sources.append(transposed(rewriter, padded, _inverse(perm), node.label))
    moved = replace(op, axis=perm[op.axis]) if isinstance(op, Concat) else op
    return transposed(rewriter, rewriter.build.add(moved, *sources, label=node.label), perm, node.label)


def _groups(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[int, int]] | None:
    """How many axes of `before` become how many of `after`, group by group; None for sizes of 0."""
    if 0 in before or 0 in after:
        return None
    groups, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        a, b = i + 1, j + 1
        while math.prod(before[i:a]) != math.prod(after[j:b]):
            if math.prod(before[i:a]) < math.prod(after[j:b]) and a < len(before):
                a += 1
            elif b < len(after):
                b += 1
            else:
                a += 1
        groups.append((min(a, len(before)) - i, min(b, len(after)) - j))
        i, j = a, b
    return groups


def _through_reshape(rewriter: Rewriter, op: Reshape, x: Value, perm: _Perm, label: str) -> Value | None:
    """A reshape that splits axes, or joins axes that lie side by side in the source too, can come first."""
    groups = _groups(tuple(x.shape[p] for p in perm), op.shape)
    if groups is None:
        return None
    pieces = []  # (first source axis, sizes after the reshape)
    i = j = 0
    for count, wanted in groups:
        axes = perm[i : i + count]
        if any(b != a + 1 for a, b in pairwise(axes)):
            return None
        pieces.append((axes[0] if axes else len(perm), op.shape[j : j + wanted]))
        i, j = i + count, j + wanted
    by_source = sorted(range(len(pieces)), key=lambda n: pieces[n][0])
    shape = tuple(d for n in by_source for d in pieces[n][1])
    starts, at = {}, 0
    for n in by_source:
        starts[n] = at
        at += len(pieces[n][1])
    order = tuple(starts[n] + k for n in range(len(pieces)) for k in range(len(pieces[n][1])))
    return transposed(rewriter, reshaped(rewriter, x, shape, label), order, label)
