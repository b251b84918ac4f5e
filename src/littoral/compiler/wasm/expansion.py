"""Instructions written as others, in place: operands go into locals, then the replacement follows."""

from collections.abc import Callable, Mapping

from littoral.compiler.wasm.code import Code, leb_u
from littoral.compiler.wasm.function import Function, Local
from littoral.compiler.wasm.opcodes import OPCODES

__all__ = ["Expansion", "expanded"]

Expansion = Callable[..., Code]
_KIND = {"i": "i32", "l": "i64", "f": "f32", "d": "f64", "v": "v128"}


def expanded(function: Function, table: Mapping[str, Expansion], calls: Mapping[str, int] | None = None) -> Function:
    """An equal function without the instructions of the table.

    table: what writes an instruction's result from locals with its operands. calls: functions that do the same as an
    instruction, by index.
    """
    found = list(function.instructions())
    named = {i.name for i in found}
    if named.isdisjoint(table) and named.isdisjoint(calls or {}):
        return function
    return _Expander(function, table, calls or {}).run()


class _Expander:
    def __init__(self, source: Function, table: Mapping[str, Expansion], calls: Mapping[str, int]) -> None:
        self.source = source
        self.table = table
        self.calls = calls
        self.f = Function(source.name, {p.name: p.kind for p in source.params}, source.results)
        for local in source.locals:
            self.f.local(local.kind, local.name)
        self.operands: dict[tuple[str, int], Local] = {}

    def run(self) -> Function:
        for instruction in self.source.instructions():
            if instruction.name in self.table:
                self._expand(instruction.name)
            elif instruction.name in self.calls:
                self._write(OPCODES["call"].code + leb_u(self.calls[instruction.name]))
            else:
                self._write(instruction.data)
        return self.f

    def _write(self, data: bytes) -> None:
        self.f.emit(Code("", data))

    def _operand(self, kind: str, place: int) -> Local:
        """One local for operands of a kind and a place: an expansion is over before the next one starts."""
        if (kind, place) not in self.operands:
            self.operands[kind, place] = self.f.local(kind)
        return self.operands[kind, place]

    def _expand(self, name: str) -> None:
        operands = [self._operand(_KIND[letter], i) for i, letter in enumerate(OPCODES[name].pops)]
        first, *others = operands
        for operand in reversed(others):
            self._write(OPCODES["local.set"].code + leb_u(operand.index))
        code = self.table[name](*operands)
        rest = code.data.removeprefix(first.data)
        if first.data not in rest and len(rest) < len(code.data):  # used once, and first: it is where it is needed
            self._write(rest)
        elif len(rest) < len(code.data):
            self._write(OPCODES["local.tee"].code + leb_u(first.index) + rest)
        else:
            self._write(OPCODES["local.set"].code + leb_u(first.index) + code.data)
