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

    def visit(node: Expr) -> Array:
        if node not in done:
            done[node] = compute(node)
        return done[node]

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
