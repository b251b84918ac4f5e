"""The graph on numpy, faster than the interpreter: products block by block, each value rounded to float32 once.

Sums of dense products are of float64, so that an order in which a library adds decides no rounding; those of depthwise
convolutions have an order of their own.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from littoral.compiler.ir.evaluate import evaluate as evaluate_expression
from littoral.compiler.ir.expr import Apply, Arg, Const, Expr, Load, Position, walk
from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.ops import Conv, MatMul
from littoral.compiler.quantize.patches import blocks, is_depthwise, matrix_of
from littoral.tensors import Array

__all__ = ["Finish", "computed", "evaluate", "is_fast", "taps_summed"]


def evaluate(graph: Graph, feeds: Mapping[str, Array], see: Callable[[Value, Array], None]) -> None:
    """Runs the graph once; `see` is told of every value on its way. What nothing reads any more is dropped."""
    known = {v: np.asarray(feeds[v.name], order="C") for v in graph.inputs}
    for value, array in known.items():
        see(value, array)
    left: Counter[Value] = Counter(v for node in graph.nodes for v in node.inputs)
    for node in graph.nodes:
        arrays = [known[v] if v.data is None else v.data for v in node.inputs]
        for value, array in zip(node.outputs, computed(node, arrays), strict=True):
            known[value] = array
            see(value, array)
        for value in node.inputs:
            left[value] -= 1
            if not left[value]:
                known.pop(value, None)


def is_fast(node: Node) -> bool:
    """Whether the node's sums are computed block by block."""
    op = node.op
    if isinstance(op, MatMul):
        return not (op.left or op.right or op.result) and node.inputs[1].type.rank == 2
    if not isinstance(op, Conv) or not op.last or len(op.window.kernel) not in (1, 2):
        return False
    return op.groups in (1, node.inputs[0].shape[-1] if node.inputs[1].shape[0] == op.groups else 1)


def computed(node: Node, arrays: list[Array]) -> tuple[Array, ...]:
    """What the node makes of the arrays of its inputs."""
    if not is_fast(node):
        return node.op.reference(*arrays)
    x, w, *rest = arrays
    bias = rest.pop(0).reshape(-1) if node.op.bias else None  # type: ignore[attr-defined]
    finish = Finish(node, rest)
    matrix = matrix_of(node, w)
    if is_depthwise(node):
        for at, views in blocks(node, x, "float32"):
            sums = taps_summed(views, matrix)
            finish(at, sums if bias is None else np.add(sums, bias, out=sums))
        return (finish.made,)
    right = matrix.T.astype(np.float64)
    for at, rows in blocks(node, x, "float64"):
        sums = rows @ right
        finish(at, sums if bias is None else np.add(sums, bias, out=sums))
    return (finish.made,)


def taps_summed(views: list[Array], matrix: Array) -> Array:
    """Sums over taps from the first on: views[taps] of [lines, wide, channels] times matrix[channels, taps]; by row."""
    turned = np.ascontiguousarray(matrix.T)
    sums: Array = views[0] * turned[0]
    product = np.empty_like(sums)
    for view, tap in zip(views[1:], turned[1:], strict=True):
        np.multiply(view, tap, out=product)
        sums += product
    return np.ascontiguousarray(sums.reshape(-1, turned.shape[1]))


class Finish:
    """A product's epilogue, block by block. made: what comes out."""

    def __init__(self, node: Node, extras: list[Array]) -> None:
        out = node.outputs[0]
        self.epilogue: Expr | None = node.op.epilogue  # type: ignore[attr-defined]
        self.width = out.shape[-1]
        self.made = np.empty(out.shape, np.float32)
        self._flat = self.made.reshape(-1, self.width)
        parts = () if self.epilogue is None else tuple(walk(self.epilogue))
        self._whole = any(isinstance(e, Position | Load) for e in parts)
        self._shape, self._count = out.shape, 0
        self._extras = [self._laid(e) for e in extras]
        self._limits = _limits(self.epilogue)

    def _laid(self, extra: Array) -> Array:
        if self._whole:
            return extra
        if extra.size == math.prod(self._shape):
            return extra.reshape(-1, self.width)
        if extra.size in (1, self.width) and extra.shape[-1:] in ((1,), (self.width,), ()):
            return extra.reshape(1, -1)
        return np.ascontiguousarray(np.broadcast_to(extra, self._shape)).reshape(-1, self.width)

    def __call__(self, at: slice, sums: Array) -> None:
        """sums[n, width]: of the positions `at`."""
        self._count += len(sums)
        if self._limits is not None:
            np.clip(sums, *self._limits, out=self._flat[at], casting="unsafe")
        elif self.epilogue is None or self._whole:
            self._flat[at] = sums
        else:
            rounded = sums.astype(np.float32)
            extras = [e if len(e) == 1 else e[at] for e in self._extras]
            self._flat[at] = evaluate_expression(self.epilogue, (rounded, *extras), rounded.shape)
        if self._whole and self._count == len(self._flat) and self.epilogue is not None:
            self.made = evaluate_expression(self.epilogue, (self.made, *self._extras), self._shape)


def _limits(expr: Expr | None) -> tuple[float, float] | None:
    """The bounds of an epilogue that is a clamp of the sum and nothing else."""
    low, high = -math.inf, math.inf
    while isinstance(expr, Apply) and expr.op in ("min", "max"):
        inner, bound = sorted(expr.args, key=lambda a: isinstance(a, Const))
        if not isinstance(bound, Const) or bound.value != bound.value:
            return None
        if expr.op == "min":
            high = min(high, bound.value)
        else:
            low, high = max(low, min(bound.value, high)), max(high, bound.value)
        expr = inner
    return (low, high) if expr == Arg("float32", 0) and (low, high) != (-math.inf, math.inf) else None
