"""A product's weights and bias for the inputs that it will see in integers, in closed form.

What comes before is already in integers: its errors are known on the feeds. Weights are moved towards the least squares
between these inputs and the exact outputs, then rounded on the same inputs, and the bias makes up for what is left on
average (sequential correction; bias: arXiv 1906.04721, §4.2).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from littoral.compiler.ir.graph import Node
from littoral.compiler.ir.ops import MatMul
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.pairs import least_scale, lessened
from littoral.compiler.quantize.patches import is_depthwise, matrix_of, sampled, shaped_like
from littoral.compiler.quantize.rounding import Gram, rounded
from littoral.tensors import Array

__all__ = ["LIMITS", "Moments", "Whole", "alone", "as_floats", "moments_of", "whole_weights"]

LIMITS = {8: 127, 7: 64}
BIAS_MAX = 1 << 28
PAIRED_MAX = 127  # of a byte, for two sums of two products in 16 bits
ROWS_MIN = 8192
ROWS_OWN = 2048
ROWS_EACH = 8
RIDGE = 4.0
RIDGE_FEEDS = 32  # below which feeds say little of what others are like
SOLVED_MAX = 2048


class Whole(NamedTuple):
    """weights int8, as the node has them, times scale float32 by output; bias float32 by output."""

    weights: Array
    scale: Array
    bias: Array


class Moments(NamedTuple):
    """Of a product's inputs on the feeds. want: in float32; got: in integers, as the numbers they stand for.

    spread: moments of got about its mean; shift: of (want − got) with got. [depth, depth] or [channels, taps, taps].
    ridge: by which weights are held where they are, in mean strengths of an input.
    """

    mean_want: Array
    mean_got: Array
    spread: Array
    shift: Array
    ridge: float


def moments_of(node: Node, scheme: Scheme, want: list[Array], got: list[Array], hold: float = 1) -> Moments:
    """want float32, got bytes, by feed. hold: how much stronger the ridge is than usual."""
    made = node.outputs[0]
    places = made.type.elements // made.shape[-1]
    depth = matrix_of(node, np.broadcast_to(np.float32(0), node.inputs[1].shape)).shape[1]
    wanted = ROWS_OWN if is_depthwise(node) else max(ROWS_MIN, ROWS_EACH * depth)
    count = max(1, min(places, -(-wanted // len(want))))
    positions = (np.arange(count) * places) // count
    total = 0
    sums: list[Array] = []
    for own, pair in _rows(node, scheme, want, got, positions):
        total += own
        sums = list(pair) if not sums else [a + b for a, b in zip(sums, pair, strict=True)]
    mean_want, mean_got, spread, cross = (s / total for s in sums)
    outer = mean_got[..., :, None] * mean_got[..., None, :]
    crossed = mean_want[..., :, None] * mean_got[..., None, :]
    spread = spread - outer
    ridge = hold * RIDGE * (1 + RIDGE_FEEDS / len(want))
    return Moments(mean_want, mean_got, spread, cross - crossed - spread, ridge)


def alone(moments: Moments) -> Moments:
    """As if the inputs in integers were those of float32."""
    return moments._replace(mean_want=moments.mean_got, shift=np.zeros_like(moments.shift))


def as_floats(node: Node, whole: Whole) -> Array:
    """The numbers that the weights stand for, as the node has them."""
    axis = 1 if isinstance(node.op, MatMul) else 0
    shape = [1] * whole.weights.ndim
    shape[axis] = -1
    return whole.weights * whole.scale.reshape(shape)


def _rows(
    node: Node, scheme: Scheme, want: list[Array], got: list[Array], positions: Array
) -> Iterator[tuple[int, tuple[Array, ...]]]:
    own = is_depthwise(node)
    for a, b in zip(want, got, strict=True):
        exact, held = sampled(node, a, positions), sampled(node, b, positions, scheme.zero)
        if own:
            exact, held = (np.ascontiguousarray(rows.transpose(2, 0, 1)) for rows in (exact, held))
        exact, whole = exact.astype(np.float64), held.astype(np.float64) - scheme.zero
        turned = whole.swapaxes(-1, -2)
        spread = turned @ whole * scheme.scale**2  # of whole numbers: exact in any order
        cross = exact.swapaxes(-1, -2) @ whole * scheme.scale
        yield len(positions), (exact.sum(-2), whole.sum(-2) * scheme.scale, spread, cross)


def whole_weights(node: Node, weights: Array, bias: Array, scheme: Scheme, moments: Moments, bits: int) -> Whole:
    """weights as the node has them; bias float32 by output."""
    matrix = matrix_of(node, weights).astype(np.float64)
    least = np.abs(bias.astype(np.float64)) / (scheme.scale * BIAS_MAX)
    aim = matrix + _moved(matrix, moments)
    axis, in_pairs = int(isinstance(node.op, MatMul)), scheme.high <= PAIRED_MAX and not is_depthwise(node)
    if in_pairs:
        least = np.maximum(least, least_scale(shaped_like(node, aim), axis, scheme.high))
    found = rounded(aim, Gram(moments.spread), LIMITS[bits], least)
    shaped = shaped_like(node, found.whole)
    if in_pairs and (fewer := lessened(shaped, axis, scheme.high)) is not None:
        shaped, found = fewer, found._replace(whole=matrix_of(node, fewer))
    made = bias + _dot(matrix, moments.mean_want) - _dot(found.numbers, moments.mean_got)
    return Whole(shaped, found.scale, made.astype(np.float32))


def _dot(matrix: Array, mean: Array) -> Array:
    return (matrix * mean).sum(1) if mean.ndim == 2 else matrix @ mean


def _moved(matrix: Array, moments: Moments) -> Array:
    """How far the weights move towards the least squares, held back by a ridge."""
    size = matrix.shape[1]
    if size > SOLVED_MAX:
        return np.zeros_like(matrix)
    mean = np.trace(moments.spread, axis1=-2, axis2=-1)[..., None, None] / size
    held = moments.spread + np.eye(size) * np.maximum(moments.ridge * mean, 1e-20)
    if moments.spread.ndim == 3:
        return np.linalg.solve(held, (matrix[:, None, :] @ moments.shift).swapaxes(-1, -2))[..., 0]
    return np.linalg.solve(held, (matrix @ moments.shift).T).T
