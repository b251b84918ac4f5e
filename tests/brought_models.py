"""What somebody brings to a node to be compiled, and to calibrate with."""

import io
from typing import Any

import numpy as np

from onnx_models import Network


def dense() -> bytes:
    """Something with weights: what whole numbers are for."""
    network = Network((1, 3, 8, 8))
    network.conv(8)
    network.node("Relu", network.at)
    network.node("Flatten", network.at)
    network.channels = 8 * 6 * 6
    network.dense(10)
    return network.bytes()


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()
