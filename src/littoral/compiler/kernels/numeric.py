"""`ir.numeric.Numeric` in WebAssembly: the formulas' operations on scalars and vectors."""

from littoral.compiler.wasm import Code, Function, const, op, select

__all__ = ["Constants", "WasmNumeric"]

_INTEGER = {"f32": "i32", "f64": "i64", "f32x4": "i32x4", "f64x2": "i64x2"}
_FLOAT = {integer: kind for kind, integer in _INTEGER.items()}


class Constants:
    """Vector constants of one straight piece of a function: written out once (18 bytes), then read from a local (2)."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._known: dict[bytes, Code] = {}

    def get(self, kind: str, value: float) -> Code:
        code = const(kind, value)
        if "x" not in kind:
            return code
        if code.data not in self._known:
            self._known[code.data] = self._function.local("v128", value=code)
        return self._known[code.data].as_(kind)


class WasmNumeric:
    """Writes into one function; values that are used twice go into locals.

    constants: shared by what is written next to it, where that is one straight piece.
    """

    def __init__(self, function: Function, constants: Constants | None = None) -> None:
        self.function = function
        self.constants = constants or Constants(function)

    def const(self, like: Code, value: float) -> Code:
        return self.constants.get(like.kind, value)

    def wide(self, x: Code) -> bool:
        return x.kind in ("f64", "f64x2")

    def bits(self, x: Code) -> Code:
        kind = _INTEGER[x.kind]
        return x.as_(kind) if "x" in kind else op(f"{kind}.reinterpret_{x.kind}", x)

    def floats(self, i: Code) -> Code:
        kind = _FLOAT[i.kind]
        return i.as_(kind) if "x" in kind else op(f"{kind}.reinterpret_{i.kind}", i)

    def shift_left(self, i: Code, count: int) -> Code:
        return self._shift("shl", i, count)

    def shift_right(self, i: Code, count: int) -> Code:
        return self._shift("shr_s", i, count)

    def _shift(self, name: str, i: Code, count: int) -> Code:
        return op(f"{i.kind}.{name}", i, const("i64" if i.kind == "i64" else "i32", count))

    def mask(self, i: Code, value: int) -> Code:
        return i & self.constants.get(i.kind, value)

    def integer(self, like: Code, value: int) -> Code:
        return self.constants.get(like.kind, value)

    def to_float(self, i: Code) -> Code:
        kind = _FLOAT[i.kind]
        return op(f"{kind}.convert_{i.kind}_s", i)

    def absolute(self, x: Code) -> Code:
        return op(f"{x.kind}.abs", x)

    def square_root(self, x: Code) -> Code:
        return op(f"{x.kind}.sqrt", x)

    def round(self, x: Code) -> Code:
        return op(f"{x.kind}.nearest", x)

    def truncate(self, x: Code) -> Code:
        return op(f"{x.kind}.trunc", x)

    def copy_sign(self, x: Code, sign: Code) -> Code:
        return op(f"{x.kind}.copysign", x, sign)

    def equal(self, a: Code, b: Code) -> Code:
        return a.eq(b)

    def not_equal(self, a: Code, b: Code) -> Code:
        return a.ne(b)

    def both(self, a: Code, b: Code) -> Code:
        return a & b

    def either(self, a: Code, b: Code) -> Code:
        return a | b

    def select(self, condition: Code, a: Code, b: Code) -> Code:
        return select(condition, a, b)

    def at_least(self, x: Code, bound: float) -> Code:
        limit = self.constants.get(x.kind, bound)
        if "x" in x.kind:
            return op(f"{x.kind}.pmax", x, limit)
        kept = self.keep(x)
        return select(kept < limit, limit, kept)

    def at_most(self, x: Code, bound: float) -> Code:
        limit = self.constants.get(x.kind, bound)
        if "x" in x.kind:
            return op(f"{x.kind}.pmin", x, limit)
        kept = self.keep(x)
        return select(limit < kept, limit, kept)

    def keep(self, x: Code) -> Code:
        return self.function.local(x.kind, value=x)
