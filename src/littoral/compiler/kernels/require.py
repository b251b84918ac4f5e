"""A condition that must hold: where it does not, the module traps."""

from dataclasses import dataclass
from typing import ClassVar

from littoral.compiler.kernels.kernel import Kernel
from littoral.compiler.wasm import Function, const, load, op

__all__ = ["Require"]


@dataclass(frozen=True)
class Require(Kernel):
    """out = in (`bytes` of it), where the flag is not 0; a trap (`unreachable`) where it is."""

    kind: ClassVar[str] = "require"
    bytes: int

    @property
    def params(self) -> tuple[str, ...]:
        return ("flag", "in", "out")

    def function(self, name: str) -> Function:
        f = self.opened(name)
        with f.when(load("i32.load8_u", f.param("flag")).eq(0)):
            f.emit(op("unreachable"))
        f.emit(op("memory.copy", f.param("out"), f.param("in"), const("i32", self.bytes), immediates=b"\0\0"))
        return f
