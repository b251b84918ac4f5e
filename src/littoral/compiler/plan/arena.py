"""The memory plan: an address for every value, scratch buffer and constant, known before anything runs.

Layout: nothing below 1024, then all constants in one segment, then the arena. Buffers whose lives do not overlap share
addresses (greedy by size, first fit). Memory that must stay zero is never given to anything else.
"""

from collections.abc import Hashable, Iterable
from typing import NamedTuple

__all__ = ["ALIGNMENT", "Buffer", "place"]

ALIGNMENT = 64
FIRST_ADDRESS = 1024


class Buffer(NamedTuple):
    """bytes, and the first and last step during which they are needed."""

    key: Hashable
    bytes: int
    first: int
    last: int


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def place(buffers: Iterable[Buffer]) -> tuple[dict[Hashable, int], int]:
    """Offset of each buffer from the arena's start, and the arena's size. Equal input gives equal output."""
    placed: list[tuple[int, int, Buffer]] = []  # (start, stop, buffer), by start
    offsets: dict[Hashable, int] = {}
    top = 0
    for buffer in sorted(buffers, key=lambda b: (-b.bytes, b.first, b.last)):
        size = aligned(max(buffer.bytes, 1))
        start = 0
        for other_start, other_stop, other in placed:
            if other.last < buffer.first or buffer.last < other.first:
                continue
            if other_start - start >= size:
                break
            start = max(start, other_stop)
        placed.append((start, start + size, buffer))
        placed.sort(key=lambda p: p[0])
        offsets[buffer.key] = start
        top = max(top, start + size)
    return offsets, top
