"""Expressions on numpy arrays: the interpreter's half of what `kernels.scalar` writes as WebAssembly."""

from collections.abc import Sequence

import numpy as np

from littoral.compiler.ir.expr import Apply, Arg, Const, Expr, Load, Position
from littoral.compiler.ir.scalars import evaluate_scalar
from littoral.tensors import DTYPES, Array

__all__ = ["evaluate"]


def evaluate(expr: Expr, inputs: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """`expr` for every element of `shape`, inputs broadcast to it; a contiguous array of its own."""
    done: dict[Expr, Array] = {}
    shared = _read_twice(expr)

    def visit(node: Expr) -> Array:
        if node in done:
            return done[node]
        found = compute(node)
        if node in shared:
            done[node] = found
        return found

    def compute(node: Expr) -> Array:
        match node:
            case Const():
                return np.asarray(node.value, DTYPES[node.dtype].storage)
            case Arg():
                return inputs[node.index]
            case Position():
                line = np.arange(shape[node.axis], dtype=np.int32)
                return line.reshape(-1, *(1,) * (len(shape) - 1 - node.axis))
            case Load():
                return inputs[node.index].reshape(-1)[visit(node.at)]
            case Apply():
                return np.asarray(evaluate_scalar(node.op, node.dtype, [visit(a) for a in node.args]))
            case _:
                raise TypeError(f"no expression: {node!r}")

    return np.array(np.broadcast_to(visit(expr), shape), DTYPES[expr.dtype].storage, order="C")


def _read_twice(expr: Expr) -> set[Expr]:
    """Parts that are worth keeping: others are freed as soon as they are read."""
    seen: set[Expr] = set()
    twice: set[Expr] = set()
    left = [expr]
    while left:
        node = left.pop()
        if node in seen:
            twice.add(node)
            continue
        seen.add(node)
        left += node.args if isinstance(node, Apply) else [node.at] if isinstance(node, Load) else []
    return twice
