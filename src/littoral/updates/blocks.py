"""A file as blocks whose borders are found in its content, so that a change moves no border but its own.

A border is where the rolling sum of the last 32 bytes, each replaced by a random number and shifted by its age (gear
hashing; Xia et al., "FastCDC", USENIX ATC 2016), has its low bits clear. Who has most blocks of a new file in an old
one fetches the others.
"""

import mmap
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from littoral.errors import MalformedUpdateError

__all__ = ["BlockList", "Piece", "plan"]

MAGIC = b"LTBLOCK1"
ROW = struct.Struct("<I16s")
DIGEST_BYTES = 16
FINE_BELOW = 8 << 20

WINDOW_DOUBLINGS = 5
READ_BYTES = 4 << 20
BESIDE_BYTES_MAX = 4096
"""A gap between two missing ranges that is fetched along, rather than asked for by one more request."""


class Grain(NamedTuple):
    """Least and most bytes of a block, and how many bits of the sum are clear at a border."""

    bytes_min: int
    bytes_max: int
    border_bits: int


FINE, COARSE = Grain(512, 16_384, 11), Grain(2048, 65_536, 13)
"""Of small files, 2 KiB beyond the smallest on average, a list is 0.8 % of its file; of others 8 KiB, and 0.2 %."""


class Block(NamedTuple):
    """digest: 16 bytes of BLAKE2b. It finds blocks; the whole file is judged by its SHA-256."""

    length: int
    digest: bytes


class Piece(NamedTuple):
    """Bytes of a new file: from `start` of the file `source`, or to be fetched where that is None."""

    length: int
    source: Path | None
    start: int


class BlockList(NamedTuple):
    """Of one file, in order."""

    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, data: bytes | mmap.mmap) -> "BlockList":
        """By its content."""
        borders = [0, *_borders(data)]
        return cls(tuple(Block(end - start, _digest(data[start:end])) for start, end in pairwise(borders)))

    @classmethod
    def read(cls, data: bytes, length: int) -> "BlockList":
        """Of a file of `length` bytes. Raises MalformedUpdateError for what does not add up to it."""
        rows, rest = divmod(len(data) - len(MAGIC), ROW.size)
        if data[: len(MAGIC)] != MAGIC or rest or rows < 0:
            raise MalformedUpdateError("no list of blocks", hint="written by another release, or damaged")
        blocks = tuple(Block(*row) for row in ROW.iter_unpack(data[len(MAGIC) :]))
        if sum(block.length for block in blocks) != length or any(block.length == 0 for block in blocks):
            raise MalformedUpdateError(f"a list of blocks that do not add up to {length} bytes")
        return cls(blocks)

    @property
    def packed(self) -> bytes:
        """As it is served beside the file."""
        return MAGIC + b"".join(ROW.pack(*block) for block in self.blocks)


def plan(wanted: BlockList, have: Sequence[Path]) -> list[Piece]:
    """How to put a file together with few ranges to fetch. have: those that cannot be read are passed over."""
    there: dict[Block, tuple[Path, int]] = {}
    for path in have:
        for block, start in _blocks_of(path):
            there.setdefault(block, (path, start))
    pieces: list[Piece] = []
    at = 0
    for block in wanted.blocks:
        source, start = there.get(block, (None, at))
        _join(pieces, Piece(block.length, source, start))
        at += block.length
    return _without_small_gaps(pieces)


def _join(pieces: list[Piece], piece: Piece) -> None:
    if pieces and pieces[-1].source == piece.source and pieces[-1].start + pieces[-1].length == piece.start:
        piece = Piece(pieces[-1].length + piece.length, piece.source, pieces[-1].start)
        pieces.pop()
    pieces.append(piece)


def _without_small_gaps(pieces: list[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    at = 0
    for index, piece in enumerate(pieces):
        is_between = (
            0 < index < len(pieces) - 1 and pieces[index - 1].source is None and pieces[index + 1].source is None
        )
        if is_between and piece.length <= BESIDE_BYTES_MAX:
            _join(joined, Piece(piece.length, None, at))
        else:
            _join(joined, piece)
        at += piece.length
    return joined


def _blocks_of(path: Path) -> Iterator[tuple[Block, int]]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            blocks = BlockList.of(data).blocks
    except (OSError, ValueError):
        return
    start = 0
    for block in blocks:
        yield block, start
        start += block.length


def _borders(data: bytes | mmap.mmap) -> Iterator[int]:
    """Ends of blocks."""
    start, size = 0, len(data)
    grain = FINE if size < FINE_BELOW else COARSE
    candidates = _candidates(data, grain.border_bits)
    while start < size:
        index = int(np.searchsorted(candidates, start + grain.bytes_min))
        end = int(candidates[index]) if index < len(candidates) else size
        start = min(end, start + grain.bytes_max, size)
        yield start


def _candidates(data: bytes | mmap.mmap, border_bits: int) -> NDArray[np.int64]:
    """Where a block may end: the byte behind a window whose sum has its low bits clear."""
    octets = np.frombuffer(data, np.uint8)
    found = []
    overlap = 1 << WINDOW_DOUBLINGS
    mask = np.uint32(((1 << border_bits) - 1) << (32 - border_bits))
    for begin in range(0, len(octets), READ_BYTES):
        first = max(0, begin - overlap)
        sums = _gear()[octets[first : begin + READ_BYTES]]
        for doubling in range(WINDOW_DOUBLINGS):
            age = 1 << doubling
            sums[age:] += sums[:-age] << np.uint32(age)
        ends = np.nonzero((sums & mask) == 0)[0] + first + 1
        found.append(ends[ends > begin])
    return np.concatenate(found) if found else np.zeros(0, np.int64)


@cache
def _gear() -> NDArray[np.uint32]:
    """Part of the format: the same numbers everywhere."""
    stream = b"".join(blake2b(bytes([octet]), digest_size=4, person=b"littoral-gear").digest() for octet in range(256))
    return np.frombuffer(stream, "<u4").astype(np.uint32)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST_BYTES).digest()
