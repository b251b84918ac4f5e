"""What a module's file puts into its memory, read from the file: its active data segments at constant addresses."""

from typing import NamedTuple

from littoral.artifact.sections import sections
from littoral.errors import ArtifactError

__all__ = ["MemoryImage", "memory_image"]

DATA_SECTION = 11
I32_CONST, END = 0x41, 0x0B


class MemoryImage(NamedTuple):
    """start: address of the first byte that a segment writes. What no segment writes between is zero."""

    start: int
    data: bytes


def memory_image(wasm: bytes) -> MemoryImage:
    """From the first written byte to the last. Raises ArtifactError for segments whose place is computed."""
    found = next((section for section in sections(wasm) if section.id == DATA_SECTION), None)
    if found is None:
        return MemoryImage(0, b"")
    segments = _segments(wasm[found.start : found.stop])
    start = min((at for at, _ in segments), default=0)
    image = bytearray(max((at + len(data) for at, data in segments), default=0) - start)
    for at, data in segments:
        image[at - start : at - start + len(data)] = data
    return MemoryImage(start, bytes(image))


def _segments(body: bytes) -> list[tuple[int, bytes]]:
    count, at = _leb(body, 0)
    found = []
    for _ in range(count):
        kind, at = _leb(body, at)
        if kind != 0 or body[at] != I32_CONST:
            raise ArtifactError("WebAssembly module: a data segment has no constant address, so no digest can be given")
        address, at = _leb(body, at + 1, signed=True)
        if body[at] != END:
            raise ArtifactError("WebAssembly module: a data segment has no constant address, so no digest can be given")
        size, at = _leb(body, at + 1)
        found.append((address & 0xFFFFFFFF, body[at : at + size]))
        at += size
    return found


def _leb(body: bytes, at: int, *, signed: bool = False) -> tuple[int, int]:
    """The number, and where it ends."""
    value = shift = 0
    while True:
        byte = body[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            is_negative = signed and byte & 0x40
            return value - (1 << shift) if is_negative else value, at
