"""What every kernel is: a frozen description that writes one WebAssembly function.

Kernels are leaves, and equal descriptions share one function: the function's parameters are the addresses, everything
else is fixed. Loops have constant trip counts, so a module's running time has a static bound.
"""

from typing import ClassVar

from littoral.compiler.ir.expr import Expr
from littoral.compiler.kernels.constants import CONSTANTS, StoredConstants, constant_table
from littoral.compiler.kernels.numeric import Constants
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
    def formulas(self) -> tuple[Expr | None, ...]:
        """Expressions that the kernel computes on vectors, one vector at a time."""
        return ()

    @property
    def constants(self) -> bytes:
        """Vectors that the kernel reads; where there are any, their address is one more parameter, the last."""
        return constant_table(self.formulas)

    def opened(self, name: str) -> Function:
        """The function with its parameters."""
        return Function(name, dict.fromkeys((*self.params, *([CONSTANTS] if self.constants else [])), "i32"))

    def constants_in(self, function: Function) -> Constants:
        """Where one straight piece of the function, or a loop that begins here, takes its vector constants from."""
        if self.constants:
            return StoredConstants(function, function.param(CONSTANTS), self.constants)
        return Constants(function)

    @property
    def tiling(self) -> str:
        """What is computed at once, for people: rows × columns × channels; empty where there is no such choice."""
        return ""

    def function(self, name: str) -> Function:
        raise NotImplementedError
