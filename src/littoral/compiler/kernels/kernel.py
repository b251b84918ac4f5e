"""What every kernel is: a frozen description that writes one WebAssembly function.

Kernels are leaves, and equal descriptions share one function: the function's parameters are the addresses, everything
else is fixed. Loops have constant trip counts, so a module's running time has a static bound.
"""

from typing import ClassVar

from littoral.compiler.wasm import Function

__all__ = ["OVERREAD_BYTES", "Kernel"]

OVERREAD_BYTES = 64  # how far past the end of a buffer a kernel may read (never write)


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

    @property
    def tiling(self) -> str:
        """What is computed at once, for people: rows × columns × channels; empty where there is no such choice."""
        return ""

    def function(self, name: str) -> Function:
        raise NotImplementedError
