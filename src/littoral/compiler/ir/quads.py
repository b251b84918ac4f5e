"""Weights that meet in one sum of 16 bits: four of eight values of K, in the order of the products of bytes."""

import numpy as np

from littoral.tensors import Array

__all__ = ["fits_pairs", "quads_of", "quads_sum_max", "rows_of", "rows_of_quads"]

DEPTH = 8
SUM_MAX = (1 << 15) - 1


def rows_of(weights: Array, axis: int) -> Array:
    """Weights of a product as [outputs, K]: of a matrix [K, outputs] (axis 1), or O, I, window (axis 0)."""
    return weights.T if axis else np.moveaxis(weights, 1, -1).reshape(weights.shape[0], -1)


def quads_of(rows: Array) -> Array:
    """[outputs, K] as [outputs, 2 · ⌈K/8⌉, 4], zeros where K ends: values 0, 1, 4, 5 of eight, then 2, 3, 6, 7."""
    outputs, depth = rows.shape
    padded = np.zeros((outputs, -(-depth // DEPTH) * DEPTH), np.int16 if rows.dtype == np.int8 else rows.dtype)
    padded[:, :depth] = rows
    parts = padded.reshape(outputs, -1, 2, 2, 2).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(parts).reshape(outputs, -1, 4)


def rows_of_quads(quads: Array, depth: int) -> Array:
    """What `quads_of` was made of, as int8."""
    parts = quads.reshape(quads.shape[0], -1, 2, 2, 2).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(parts.reshape(quads.shape[0], -1)[:, :depth]).astype(np.int8)


def quads_sum_max(highest: int) -> int:
    """What weights of one sign may add up to where each is multiplied with 0..highest."""
    return SUM_MAX // max(highest, 1)


def fits_pairs(rows: Array, highest: int) -> bool:
    """Whether no sum of four products with 0..highest leaves 16 bits. rows: int8[outputs, K]."""
    quads, most = quads_of(rows), quads_sum_max(highest)
    return bool(
        quads.clip(0, None).sum(2).max(initial=0) <= most and quads.clip(None, 0).sum(2).min(initial=0) >= -most
    )
