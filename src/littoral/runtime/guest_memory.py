"""A guest's memory as host functions see it: numbers and bytes at addresses that are claims."""

from typing import NamedTuple

from littoral.tensors import Array

__all__ = ["GuestMemory", "OutsideError"]


class OutsideError(Exception):
    """An address or length of a guest that lies outside its memory. It ends in an error number, never in a trap."""


class GuestMemory(NamedTuple):
    """Little-endian, as WebAssembly has it; addresses come as signed or unsigned 32 bits."""

    bytes: Array

    def span(self, at: int, size: int) -> Array:
        """A view of `size` bytes. Raises OutsideError."""
        start, length = at & 0xFFFFFFFF, size & 0xFFFFFFFF
        if start + length > self.bytes.size:
            raise OutsideError(f"{length} bytes at {start} lie outside the {self.bytes.size} bytes of memory")
        return self.bytes[start : start + length]

    def u32(self, at: int) -> int:
        return int.from_bytes(self.span(at, 4).tobytes(), "little")

    def put(self, at: int, value: int, size: int = 4) -> None:
        """Writes an unsigned number of `size` bytes."""
        self.span(at, size)[:] = memoryview(value.to_bytes(size, "little"))
