"""Weights in whole numbers, rounded so that what a layer makes changes least, in closed form.

Rounding every weight to its nearest ignores that errors of several weights add up in the sum. Here they are rounded one
after another, and each takes up what those before it did wrong, as far as the inputs they see are alike: Babai's
nearest plane on the Gram matrix of the inputs, which is what GPTQ computes (arXiv 2210.17323, equality: 2507.18553).
"""

import contextlib
from typing import NamedTuple

import numpy as np

from littoral.tensors import Array

__all__ = ["Gram", "Rounded", "rounded"]

DAMPING, DAMPING_MIN = 0.01, 1e-20
DAMPED_MORE, DAMPED_MAX = 10.0, 40
SHRINKS = (1.0, 0.97, 0.94, 0.9, 0.86, 0.82, 0.77, 0.72)
SEQUENCE_MAX = 8192
STEP = 64


class Gram(NamedTuple):
    """Second moments of the inputs, about their mean: [depth, depth], or [channels, taps, taps]."""

    moments: Array

    @property
    def strengths(self) -> Array:
        return np.diagonal(self.moments, axis1=-2, axis2=-1)


class Rounded(NamedTuple):
    """whole int8 [outputs, depth], each row times its scale stands for the weights."""

    whole: Array
    scale: Array

    @property
    def numbers(self) -> Array:
        return self.whole * self.scale[:, None].astype(np.float64)


def rounded(weights: Array, gram: Gram, limit: int, least: Array) -> Rounded:
    """weights float64 [outputs, depth]. limit: of a whole number. least: the smallest scales allowed, by output."""
    strengths = np.maximum(gram.strengths, 1e-12 * max(float(gram.strengths.max(initial=0)), 1e-20))
    scale = _scales(weights, strengths, limit, least)
    if weights.shape[1] > SEQUENCE_MAX or weights.shape[1] == 1:
        return Rounded(_nearest(weights, scale, limit), scale)
    if gram.moments.ndim == 3:
        whole = _by_channel(weights, gram.moments, scale, limit)
    else:
        whole = _in_sequence(weights, gram.moments, scale, limit)
    return Rounded(whole, scale)


def _nearest(weights: Array, scale: Array, limit: int) -> Array:
    return np.clip(np.rint(weights / scale[:, None].astype(np.float64)), -limit, limit).astype(np.int8)


def _scales(weights: Array, strengths: Array, limit: int, least: Array) -> Array:
    """For each output the scale whose nearest numbers are best, inputs taken as unlike each other."""
    full = np.maximum(np.maximum(np.abs(weights).max(1) / limit, least), 1e-20)
    best: Array = full.astype(np.float32)
    error = np.full(len(full), np.inf)
    for shrink in SHRINKS:
        scale = np.maximum(np.maximum(full * shrink, least), 1e-20).astype(np.float32)
        wide = scale[:, None].astype(np.float64)
        off = np.clip(np.rint(weights / wide), -limit, limit) * wide - weights
        found = (off * off * strengths).sum(1)
        better = found < error * (1 - 1e-9)
        best, error = np.where(better, scale, best), np.where(better, found, error)
    return best


def _lower(moments: Array) -> Array:
    """The lower triangle of which moments, damped, are the product with itself turned.

    Inputs that hardly vary have moments that are rounding alone, and those may be below zero: they are damped more.
    """
    size = moments.shape[-1]
    damping = np.maximum(DAMPING * np.trace(moments, axis1=-2, axis2=-1)[..., None, None] / size, DAMPING_MIN)
    for _ in range(DAMPED_MAX):
        with contextlib.suppress(np.linalg.LinAlgError):
            lower: Array = np.linalg.cholesky(moments + np.eye(size) * damping)
            return lower
        damping = damping * DAMPED_MORE
    raise AssertionError("moments are no numbers")


def _in_sequence(weights: Array, moments: Array, scale: Array, limit: int) -> Array:
    """From the input that matters most to the one that matters least."""
    order = np.argsort(np.diagonal(moments), kind="stable")
    lower = _lower(moments[np.ix_(order, order)])
    given, wide = weights[:, order], scale.astype(np.float64)
    whole, off = np.zeros(weights.shape), np.zeros(weights.shape)
    depth = weights.shape[1]
    for start in range((depth - 1) // STEP * STEP, -1, -STEP):
        stop = min(start + STEP, depth)
        carried = off[:, stop:] @ lower[stop:, start:stop]
        for i in range(stop - 1, start - 1, -1):
            aim = given[:, i] + (carried[:, i - start] + off[:, i + 1 : stop] @ lower[i + 1 : stop, i]) / lower[i, i]
            whole[:, i] = np.clip(np.rint(aim / wide), -limit, limit)
            off[:, i] = given[:, i] - whole[:, i] * wide
    result: Array = np.empty(weights.shape, np.int8)
    result[:, order] = whole
    return result


def _by_channel(weights: Array, moments: Array, scale: Array, limit: int) -> Array:
    """Every channel has inputs of its own."""
    lower = _lower(moments)
    wide = scale.astype(np.float64)
    whole, off = np.zeros(weights.shape), np.zeros(weights.shape)
    for i in range(weights.shape[1] - 1, -1, -1):
        carried = (off[:, i + 1 :] * lower[:, i + 1 :, i]).sum(1)
        aim = weights[:, i] + carried / lower[:, i, i]
        whole[:, i] = np.clip(np.rint(aim / wide), -limit, limit)
        off[:, i] = weights[:, i] - whole[:, i] * wide
    result: Array = whole.astype(np.int8)
    return result
