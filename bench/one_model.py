"""A node with one network of the usual size, and a request for it."""

import numpy as np

from bench.oip_client import infer_request

__all__ = ["ONE_MODEL", "pixels_request"]

ONE_MODEL = """
[node]
name = "bench"
listen = "127.0.0.1:0"

[models.m]
path = "m.wasm"
instances = { min = 2, max = 2 }
"""
"""Site file; `m.wasm` is beside it."""


def pixels_request() -> bytes:
    """For a MobileNetV2 in `m.wasm`."""
    return infer_request("m", {"pixels": np.random.default_rng(1).normal(size=(1, 3, 224, 224))})
