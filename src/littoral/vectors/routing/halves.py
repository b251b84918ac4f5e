"""Rows of numbers in two bytes each, under one scale a row: no overflow, the same numbers on every machine."""

import numpy as np
import numpy.typing as npt

from littoral.errors import PeerError

__all__ = ["pack", "unpack"]


def pack(rows: npt.NDArray[np.float64]) -> bytes:
    """float64[n, d] → for each row a float32 scale, then all numbers as float16 shares of it."""
    scales = np.abs(rows).max(axis=1, initial=0.0).astype("<f4")
    safe = np.where(scales > 0, scales, 1).astype(np.float64)[:, None]
    return b"".join((scales.tobytes(), (rows / safe).astype("<f2").tobytes()))


def unpack(data: bytes, count: int, size: int) -> npt.NDArray[np.float64]:
    """float64[count, size]. Raises PeerError where the length is another."""
    if len(data) != count * (4 + 2 * size):
        raise PeerError(f"rows of {count} × {size} take {count * (4 + 2 * size)} bytes, got {len(data)}")
    scales = np.frombuffer(data, "<f4", count).astype(np.float64)
    shares = np.frombuffer(data, "<f2", count * size, 4 * count).astype(np.float64)
    return shares.reshape(count, size) * scales[:, None]
