"""Maps: one expression for every element."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.expr import Arg, Expr, text, walk
from littoral.compiler.ir.graph import Op
from littoral.compiler.ir.types import TensorType
from littoral.errors import ShapeError
from littoral.tensors import Array

__all__ = ["Map", "broadcast_shape", "spread_shape"]


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """numpy's rule. Raises ShapeError where two dimensions differ and neither is 1."""
    rank = max((len(s) for s in shapes), default=0)
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    out = []
    for dims in zip(*padded, strict=True):
        wide = {d for d in dims if d != 1}
        if len(wide) > 1:
            raise ShapeError(f"dimensions {' and '.join(map(str, sorted(wide)))} do not broadcast")
        out.append(wide.pop() if wide else 1)
    return tuple(out)


def spread_shape(expr: Expr, shapes: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape over which an expression is computed: its arguments broadcast, with `shape`. Loads do not count."""
    used = {node.index for node in walk(expr) if isinstance(node, Arg)}
    return broadcast_shape(*(s for i, s in enumerate(shapes) if i in used), shape)


@dataclass(frozen=True)
class Map(Op):
    """`expr` for every element, arguments broadcast. shape: of the result where no argument gives it."""

    name: ClassVar[str] = "map"
    expr: Expr
    shape: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(self.expr.dtype, spread_shape(self.expr, [t.shape for t in inputs], self.shape)),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        shape = spread_shape(self.expr, [x.shape for x in inputs], self.shape)
        return (evaluate(self.expr, inputs, shape),)

    def text(self) -> str:
        return text(self.expr)
