"""Weights of products of bytes in the order in which their kernels read them."""

import numpy as np

from littoral.compiler.kernels import Form, IntegerDepthwise, is_wide
from littoral.tensors import Array

__all__ = ["pack_byte_panels", "pack_byte_taps", "pack_lanes"]

DEPTH = 8


def pack_byte_panels(right: Array, vectors: int, form: Form) -> Array:
    """Weights [depth, width] to panels of `vectors` times four columns, eight values of K a step, zeros at the end."""
    depth, width = right.shape
    padded = np.zeros((-(-depth // DEPTH) * DEPTH, -(-width // 4) * 4), right.dtype)
    padded[:depth, :width] = right
    at_once = 2 if is_wide(form) else 4
    panels = []
    for start in range(0, padded.shape[1], 4 * vectors):
        panel = padded[:, start : start + 4 * vectors]
        parts = panel.reshape(-1, DEPTH // at_once, at_once, panel.shape[1] // 4, 4)
        panels.append(parts.transpose(0, 1, 3, 4, 2).reshape(-1))
    return np.concatenate(panels)


def pack_byte_taps(weights: Array, kernel: IntegerDepthwise) -> Array:
    """int8[channels, kh, kw] in the order that `IntegerDepthwise` describes, zeros where a group or block ends."""
    channels, high, wide = weights.shape
    lanes = 4 * kernel.quads
    blocks = -(-channels // lanes)
    padded = np.zeros((blocks * lanes, kernel.groups * kernel.group, wide), weights.dtype)
    padded[:channels, :high] = weights
    parts = padded.reshape(blocks, kernel.quads, 4, kernel.groups, kernel.group, wide)
    return np.ascontiguousarray(parts.transpose(0, 5, 3, 1, 2, 4))


def pack_lanes(row: Array) -> Array:
    """One value a column, filled up with zeros to sixteen."""
    padded = np.zeros(-(-row.size // 16) * 16, row.dtype)
    padded[: row.size] = row.reshape(-1)
    return padded
