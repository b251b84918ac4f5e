"""Freed memory between pieces that are still held goes back to the system."""

import ctypes
import os
from pathlib import Path

import pytest

from littoral.vectors.heap import give_back

LIBC = ctypes.CDLL(None)
PIECES, PIECE_BYTES = 16_000, 2_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(LIBC, "malloc_trim"), reason="this C library has no malloc_trim")
def test_holes_between_held_pieces_are_given_back() -> None:
    LIBC.malloc.restype = ctypes.c_void_p
    pieces = [LIBC.malloc(PIECE_BYTES) for _ in range(PIECES)]
    for piece in pieces:
        ctypes.memset(piece, 1, PIECE_BYTES)
    kept = pieces[-1]
    for piece in pieces[:-1]:
        LIBC.free(ctypes.c_void_p(piece))
    before = resident_bytes()
    give_back()
    given = before - resident_bytes()
    LIBC.free(ctypes.c_void_p(kept))
    assert given > PIECES * PIECE_BYTES // 2
