"""Attention: products of queries and keys, their softmax, and what it takes of the values."""

from dataclasses import dataclass
from typing import ClassVar

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.expr import Expr, text
from littoral.compiler.ir.graph import Op
from littoral.compiler.ir.ops.contraction import MatMul
from littoral.compiler.ir.ops.elementwise import broadcast_shape, check_reads
from littoral.compiler.ir.ops.reduction import Softmax
from littoral.compiler.ir.types import TensorType
from littoral.errors import ShapeError
from littoral.tensors import Array

__all__ = ["Attention"]


@dataclass(frozen=True)
class Attention(Op):
    """share(softmax(score(queries[…, N, D] × keys[…, D, M], further inputs))) × values[…, M, E], batches broadcast.

    left, right, value, result: orders of axes in which the three are taken and the result is given; () = as they are.
    score: of a product and the further inputs, broadcast to […, N, M]. share: of a softmax.
    """

    name: ClassVar[str] = "attention"
    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()
    value: tuple[int, ...] = ()
    result: tuple[int, ...] = ()
    score: Expr | None = None
    share: Expr | None = None

    def _products(self) -> tuple[MatMul, MatMul]:
        return MatMul(left=self.left, right=self.right), MatMul(right=self.value, result=self.result)

    def scores(self, queries: TensorType, keys: TensorType) -> TensorType:
        return self._products()[0].infer(queries, keys)[0]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        queries, keys, values, *rest = inputs
        scores = self.scores(queries, keys)
        if broadcast_shape(scores.shape, *(t.shape for t in rest)) != scores.shape:
            raise ShapeError(f"further inputs do not fit scores {scores}")
        if self.score is not None:
            check_reads(self.score, 1 + len(rest), scores.rank)
        return self._products()[1].infer(scores, values)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        queries, keys, values, *rest = inputs
        first, second = self._products()
        (scores,) = first.reference(queries, keys)
        if self.score is not None:
            scores = evaluate(self.score, (scores, *rest), scores.shape)
        (shares,) = Softmax(scores.ndim - 1).reference(scores)
        if self.share is not None:
            shares = evaluate(self.share, (shares,), shares.shape)
        return second.reference(shares, values)

    def text(self) -> str:
        named = (("left", self.left), ("right", self.right), ("value", self.value), ("result", self.result))
        parts = [f"{word} {''.join(map(str, perm))}" for word, perm in named if perm]
        parts += [f"{word} {text(e)}" for word, e in (("score", self.score), ("share", self.share)) if e]
        return ", ".join(parts)
