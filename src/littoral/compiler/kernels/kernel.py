"""What every kernel is: a frozen description that writes one WebAssembly function.

Kernels are leaves, and equal descriptions share one function: the function's parameters are the addresses, everything
else is fixed. Loops have constant trip counts, so a module's running time has a static bound.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

from littoral.compiler.wasm import Function

__all__ = ["OVERREAD_BYTES", "Cut", "Kernel", "Piece", "Products"]

Products = Literal["float32", "bytes", "pairs", "shorts"]
"""What a kernel multiplies: float32, bytes one product at a time or two, or 16-bit whole numbers."""

OVERREAD_BYTES = 64  # how far past the end of a buffer a kernel may read (never write)


class Piece(NamedTuple):
    """A part of a kernel's work: a kernel again, and by how many bytes its addresses move; the others stay."""

    kernel: "Kernel"
    moves: Mapping[str, int]


class Cut(NamedTuple):
    """A way to divide a kernel: into `units` alike, in order. part: those from one number to another.

    Parts write to different places, read nothing that another one writes, and do not divide a sum: whatever the cut,
    the bits are the same.
    """

    units: int
    part: Callable[[int, int], Piece]


class Kernel:
    """Subclasses are frozen dataclasses; `params` names the addresses in the order the function takes them."""

    kind: ClassVar[str]

    @property
    def params(self) -> tuple[str, ...]:
        raise NotImplementedError

    @property
    def scratch_bytes(self) -> int:
        """Memory the kernel needs while it runs; its address is the parameter `scratch`."""
        return 0

    def opened(self, name: str) -> Function:
        """The function with its parameters."""
        return Function(name, dict.fromkeys(self.params, "i32"))

    @property
    def tiling(self) -> str:
        """What is computed at once, for people: rows × columns × channels; empty where there is no such choice."""
        return ""

    @property
    def time_ns(self) -> int:
        """About how long a call takes: to decide what is worth dividing among threads, and how, nothing else."""
        return 0

    @property
    def products(self) -> Products:
        """What its speed is to be held against."""
        return "float32"

    def cuts(self) -> Sequence[Cut]:
        """Ways to divide the work among threads, the better ones first; none where it stays in one piece."""
        return ()

    def without_vectors(self) -> "Kernel":
        """The form for engines without vectors: parameters, layouts and bits stay, and no more scratch is needed."""
        return self

    def function(self, name: str) -> Function:
        raise NotImplementedError
