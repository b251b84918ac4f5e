"""What is long to compute behind a product, such as SiLU, becomes a table: of the bytes that the product makes.

The bytes before the table are rounded once more, so they are finer than those behind it, by as many entries as that
takes, and only of the range where the function is not flat: what it makes of all below (or above) is the same byte.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.expr import Arg, Expr, walk
from littoral.compiler.ir.graph import Graph, Rewriter, Value
from littoral.compiler.ir.ops import Conv, Map, MatMul, Reshape
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.ir.vector_form import is_long

__all__ = ["long_parts_apart", "looked_up", "shapes_of"]

PART = 16  # entries of a table that are looked up at once: what takes time
PARTS_MAX = 16
FINENESS = 1.5  # of a quantum of the result: what is finer is not seen in it
POINTS = 4096
FLAT = 0.25  # of a quantum of the result


class Limits(Protocol):
    """Between what a value was seen."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def long_parts_apart(graph: Graph, wanted: set[Value]) -> Graph:
    """Products whose results are held in bytes, without what is long to compute of their sums: a map of its own."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        op = node.op
        if not isinstance(op, Conv | MatMul) or node.outputs[0] not in wanted or not _is_table(op.epilogue):
            rewriter.copy(node)
            continue
        build = rewriter.build
        sums = build.add(replace(op, epilogue=None), *rewriter.inputs(node), label=node.label)
        assert op.epilogue is not None
        rewriter.put(node, [build.add(Map(op.epilogue), sums, label=node.label)])
    return rewriter.finish()


def _is_table(epilogue: Expr | None) -> bool:
    """Whether it is long to compute, of the sum and nothing else."""
    if epilogue is None or not is_long(epilogue):
        return False
    return all(e.index == 0 for e in walk(epilogue) if isinstance(e, Arg))


def looked_up(graph: Graph, schemes: Mapping[Value, Scheme], seen: Mapping[Value, Limits]) -> dict[Value, Scheme]:
    """The schemes of values that one map reads and nothing else, which becomes a table."""
    uses = graph.use_counts()
    found: dict[Value, Scheme] = {}
    for node in graph.nodes:
        op = node.op
        if not isinstance(op, Map) or len(node.inputs) != 1 or not _is_table(op.expr) or node.outputs[0] not in schemes:
            continue
        chain = shapes_of(node.inputs[0])
        if any(v not in schemes or uses[v] != 1 for v in chain) or not _is_product(chain[-1]):
            continue
        quantum = schemes[node.outputs[0]].scale
        low, high = _steep(op.expr, seen[chain[0]], quantum)
        parts = int(np.clip(np.ceil((high - low) / (FINENESS * quantum * PART)), 1, PARTS_MAX))
        scale = np.float32(max((high - low) / (PART * parts - 1), 1e-20))
        scheme = Scheme("uint8", float(scale), int(np.rint(-low / scale)), 0, PART * parts - 1)
        found |= dict.fromkeys(chain, scheme)
    return found


def shapes_of(value: Value) -> list[Value]:
    """A value and those of which it is another shape, the last one no such."""
    found = [value]
    while (before := found[-1].producer) is not None and isinstance(before.op, Reshape):
        found.append(before.inputs[0])
    return found


def _is_product(value: Value) -> bool:
    return value.producer is not None and isinstance(value.producer.op, Conv | MatMul)


def _steep(expr: Expr, seen: Limits, quantum: float) -> tuple[float, float]:
    """The part of the range, zero in it, outside of which the function stays within a part of a quantum."""
    points = np.linspace(seen.low, seen.high, POINTS, dtype=np.float32)
    values = evaluate(expr, (points,), points.shape).astype(np.float64)
    low, high = (_flat(v, quantum * FLAT) for v in (values, values[::-1]))
    return min(float(points[low]), 0.0), max(float(points[POINTS - 1 - high]), 0.0)


def _flat(values: np.ndarray, most: float) -> int:
    """Up to which index all values are about the one there."""
    spread = np.maximum.accumulate(values) - np.minimum.accumulate(values)
    return int(np.flatnonzero(spread <= most)[-1])
