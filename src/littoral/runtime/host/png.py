"""PNG files: 8 bits a sample, grey or RGB, one filter (Up) for every row."""

import struct
import zlib

import numpy as np

from littoral.tensors import Array

__all__ = ["encode_png"]

_UP = 2
_COLOUR = {1: 0, 3: 2}


def encode_png(picture: Array, *, level: int = 3) -> bytes:
    """A file of uint8[height, width, 1 or 3]. Source: W3C, Portable Network Graphics (third edition), 5 and 9."""
    height, width, channels = picture.shape
    rows = picture.reshape(height, width * channels)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]  # modulo 256, as the filter wants it
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR[channels], 0, 0, 0)
    data = zlib.compress(filtered.tobytes(), level)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
