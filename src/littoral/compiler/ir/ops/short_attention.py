"""Attention whose products are of 16-bit whole numbers: exact sums, the same on every engine."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.ops.attention import Attention
from littoral.compiler.ir.shorts import in_shorts, products_limit, shares_chunk, shares_of, values_limit
from littoral.tensors import Array

__all__ = ["ShortAttention"]


@dataclass(frozen=True)
class ShortAttention(Attention):
    """`Attention` without `share`. Each query has a scale, a head's keys have one, each column of its values has one.

    Shares are whole numbers, of which `ir.shorts.SHARE` stands for the largest of a row.
    """

    name: ClassVar[str] = "short_attention"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        queries, keys, values, *rest = inputs
        q, k, v = (
            np.transpose(x, perm or None) if perm else x
            for x, perm in ((queries, self.left), (keys, self.right), (values, self.value))
        )
        limit = products_limit(q.shape[-1])
        (q, q_scale), (k, k_scale) = in_shorts(q, (-1,), limit), in_shorts(k, (-2, -1), limit)
        with np.errstate(all="ignore"):
            scores = np.matmul(q.astype(np.float64), k.astype(np.float64)).astype(np.float32) * (q_scale * k_scale)
            if self.score is not None:
                scores = evaluate(self.score, (scores, *rest), scores.shape)
            shares, share = _shares(scores)
            made = _taken(shares, share, v)
        return (np.transpose(made, self.result) if self.result else made,)


def _shares(scores: Array) -> tuple[Array, Array]:
    """Whole shares, and what one of them is."""
    largest = np.fmax.reduce(scores, axis=-1, keepdims=True, initial=np.float32(-np.inf))
    shares = shares_of(scores, largest)
    share = np.float32(1) / shares.sum(-1, keepdims=True).astype(np.float32) + (largest - largest)
    return shares, np.where(np.isnan(scores).any(-1, keepdims=True), np.float32(np.nan), share)


def _taken(shares: Array, share: Array, values: Array) -> Array:
    """What shares take of values, chunk by chunk of the keys."""
    keys = values.shape[-2]
    chunk = shares_chunk(keys)
    held, scale = in_shorts(values, (-2,), values_limit(chunk))
    made: Array | None = None
    for start in range(0, keys, chunk):
        part = slice(start, start + chunk)
        sums = np.matmul(shares[..., part].astype(np.float64), held[..., part, :].astype(np.float64))
        taken = sums.astype(np.float32) * scale * share
        made = taken if made is None else made + taken
    assert made is not None
    return made
