"""Vector constants of formulas, in memory: there they are operands of the arithmetic itself.

`exp`, `erf` and their like have more constants than there are registers. Written into the code, the engine makes each
one before the loop, keeps it on the stack and reads it back by an instruction of its own, which on x86-64 waits for
the upper halves of registers that the host process left in use. A load is of no such kind.
"""

import functools
from collections import Counter
from collections.abc import Sequence

from littoral.compiler.ir.expr import Arg, Expr, walk
from littoral.compiler.ir.vector_form import has_vector_form, is_long
from littoral.compiler.kernels.numeric import Constants
from littoral.compiler.kernels.scalar import Writer
from littoral.compiler.wasm import Code, Function, Local, const, load

__all__ = ["CONSTANTS", "StoredConstants", "constant_table"]

CONSTANTS = "constants"  # the parameter with the table's address
KEPT_MIN = 4  # constants that stay in registers through a loop
ROOM = 19  # a formula of many constants has more values at once too: those kept and all of them are together as many
_VECTOR = 16  # bytes


class StoredConstants(Constants):
    """Vector constants from a table in memory: the first few are loaded here, before a loop, the others where used."""

    def __init__(self, function: Function, at: Local, table: bytes) -> None:
        super().__init__(function)
        offsets = range(0, len(table), _VECTOR)
        loads = {table[i : i + _VECTOR]: load("v128.load", at, i, "v128") for i in offsets}
        count = max(KEPT_MIN, ROOM - len(loads))
        kept = {bits: function.local("v128", value=loads[bits]) for bits in list(loads)[:count]}
        self._found: dict[bytes, Code] = {**loads, **kept}

    def get(self, kind: str, value: float) -> Code:
        found = self._found.get(_bits(kind, value)) if "x" in kind else None
        return super().get(kind, value) if found is None else found.as_(kind)


class _Asked(Constants):
    """Counts what is asked for."""

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        self.vectors: Counter[bytes] = Counter()

    def get(self, kind: str, value: float) -> Code:
        if "x" in kind:
            self.vectors[_bits(kind, value)] += 1
        return const(kind, value)


def _bits(kind: str, value: float) -> bytes:
    return const(kind, value).data[-_VECTOR:]


def constant_table(expressions: Sequence[Expr | None]) -> bytes:
    """The vectors that formulas in these expressions ask for, the most used first; empty where there is no formula."""
    return _table(tuple(e for e in expressions if e is not None and is_long(e) and has_vector_form(e)))


@functools.lru_cache(maxsize=256)
def _table(expressions: tuple[Expr, ...]) -> bytes:
    function = Function("")
    asked = _Asked(function)
    for expr in expressions:
        args = {node.index: function.local("f32x4") for node in walk(expr) if isinstance(node, Arg)}
        Writer(function, dict(args), vector=True, constants=asked).write(expr)
    return b"".join(bits for bits, _ in asked.vectors.most_common())
