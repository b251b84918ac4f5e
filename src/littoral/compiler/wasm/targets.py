"""What a module may use: a target is a set of instructions, and every function is brought into it and held to it.

| target | instructions |
|---|---|
| `relaxed` | all of the table |
| `simd128` | all but relaxed SIMD: WebAssembly 2.0, with threads where the model has several |
| `mvp` | WebAssembly 1.0, without any proposal |
"""

from typing import Literal

from littoral.compiler.wasm.expansion import expanded
from littoral.compiler.wasm.function import Function
from littoral.compiler.wasm.minimal import BULK, MINIMAL
from littoral.compiler.wasm.module import Module
from littoral.compiler.wasm.opcodes import OPCODES
from littoral.compiler.wasm.relaxed import STRICT
from littoral.compiler.wasm.scalarize import scalarized

__all__ = ["TARGETS", "Target", "TargetedModule", "feature"]

Target = Literal["relaxed", "simd128", "mvp"]
_FIRST_RELAXED = 256
_LATER = {
    "simd128": ("relaxed-simd",),
    "mvp": ("relaxed-simd", "simd", "sign-extension", "nontrapping-float-to-int", "bulk-memory", "threads"),
}
TARGETS: tuple[Target, ...] = ("relaxed", "simd128", "mvp")


def feature(name: str) -> str:
    """The proposal an instruction came with; `mvp` for those of WebAssembly 1.0."""
    row = OPCODES[name]
    if row.code[0] == 0xFD:
        number = row.code[1] & 0x7F | (row.code[2] << 7 if len(row.code) > 2 else 0)
        return "relaxed-simd" if number >= _FIRST_RELAXED else "simd"
    if row.code[0] == 0xFE:
        return "threads"
    if row.code[0] == 0xFC:
        return "bulk-memory" if name.startswith(("memory.", "data.")) else "nontrapping-float-to-int"
    return "sign-extension" if name in MINIMAL else "mvp"


class TargetedModule(Module):
    """A module whose functions are rewritten for a target as they are added."""

    def __init__(self, target: Target = "relaxed", imports: tuple[str, str] | None = None) -> None:
        super().__init__(imports)
        self.target: Target = target
        self._bulk: dict[str, int] = {}

    def add(self, function: Function, export: str | None = None) -> int:
        """Index of the new function. Raises NotImplementedError for an instruction the target cannot express."""
        if self.target == "simd128":
            function = expanded(function, STRICT)
        elif self.target == "mvp":
            function = scalarized(function)
            function = expanded(function, MINIMAL, {name: self._helper(name) for name in self._bulk_of(function)})
        self._check(function)
        return super().add(function, export)

    def _bulk_of(self, function: Function) -> list[str]:
        named = {i.name for i in function.instructions()}
        return [name for name in BULK if name in named]

    def _helper(self, name: str) -> int:
        if name not in self._bulk:
            self._bulk[name] = super().add(BULK[name]())
        return self._bulk[name]

    def _check(self, function: Function) -> None:
        unknown = _LATER.get(self.target, ())
        for name in {i.name for i in function.instructions()} if unknown else ():
            if feature(name) in unknown:
                raise NotImplementedError(f"function `{function.name}`: `{name}` is not in target `{self.target}`")
