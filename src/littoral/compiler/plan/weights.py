"""Weights in the order in which kernels read them."""

import numpy as np

from littoral.compiler.kernels import PANEL
from littoral.tensors import Array

__all__ = ["pack_columns", "pack_depthwise", "pack_panels", "pack_planes"]

LANES = 4


def pack_panels(right: Array, panel: int = PANEL) -> Array:
    """f32[depth, width] to panels f32[depth, panel] one after the other; the last is filled up with zeros to fours."""
    depth, width = right.shape
    padded = np.zeros((depth, -(-width // LANES) * LANES), np.float32)
    padded[:, :width] = right
    whole = width // panel * panel
    panels = padded[:, :whole].reshape(depth, -1, panel).transpose(1, 0, 2)
    return np.concatenate([panels.reshape(-1), padded[:, whole:].reshape(-1)])


def pack_columns(row: Array) -> Array:
    """f32[width] filled up with zeros to whole vectors, two at a time."""
    padded = np.zeros(-(-row.size // PANEL) * PANEL, np.float32)
    padded[: row.size] = row.reshape(-1)
    return padded


def pack_depthwise(weights: Array, bias: Array) -> Array:
    """f32[channels, 1, kh, kw] and f32[channels] to f32[⌈channels/4⌉, kh · kw + 1, 4], the bias last."""
    channels = weights.shape[0]
    taps = np.concatenate([weights.reshape(channels, -1), bias.reshape(channels, 1)], 1)
    padded = np.zeros((-(-channels // 4) * 4, taps.shape[1]), np.float32)
    padded[:channels] = taps
    return np.ascontiguousarray(padded.reshape(-1, 4, taps.shape[1]).transpose(0, 2, 1))


_WINOGRAD = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


def pack_planes(weights: Array, panel: int = PANEL) -> Array:
    """f32[outputs, inputs, 3, 3] to the panels of Winograd's 36 planes, a row for each plane."""
    planes = np.einsum("yi,oaij,xj->yxao", _WINOGRAD, weights.astype(np.float64), _WINOGRAD)
    return np.stack([pack_panels(plane, panel) for plane in planes.reshape(-1, *planes.shape[2:]).astype(np.float32)])
