"""Maps: one expression for every element."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.expr import Arg, Expr, Load, Position, text, walk
from littoral.compiler.ir.graph import Op
from littoral.compiler.ir.types import TensorType
from littoral.errors import ShapeError
from littoral.tensors import Array

__all__ = ["Map", "broadcast_shape", "check_reads", "spread_shape"]


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


def check_reads(expr: Expr, count: int, rank: int) -> None:
    """Raises ShapeError where an expression reads inputs or coordinates that there are not."""
    for node in walk(expr):
        if isinstance(node, Arg | Load) and node.index >= count:
            raise ShapeError(f"input {node.index} is read, there are {count}")
        if isinstance(node, Position) and not 0 <= node.axis < rank:
            raise ShapeError(f"axis {node.axis} of rank {rank}")


@dataclass(frozen=True)
class Map(Op):
    """`expr` for every element, arguments broadcast. shape: of the result where no argument gives it."""

    name: ClassVar[str] = "map"
    expr: Expr
    shape: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        shape = spread_shape(self.expr, [t.shape for t in inputs], self.shape)
        check_reads(self.expr, len(inputs), len(shape))
        return (TensorType(self.expr.dtype, shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        shape = spread_shape(self.expr, [x.shape for x in inputs], self.shape)
        return (evaluate(self.expr, inputs, shape),)

    def text(self) -> str:
        return text(self.expr)
