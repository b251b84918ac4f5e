"""Expressions in WebAssembly, for one element or for four float32 at a time; a value used twice goes into a local."""

from collections import Counter
from collections.abc import Callable, Mapping

from littoral.compiler.ir.elementary import ELEMENTARY
from littoral.compiler.ir.expr import Apply, Arg, Const, Expr, Load, Position, walk
from littoral.compiler.ir.formulas import FORMULAS
from littoral.compiler.ir.scalars import formula
from littoral.compiler.ir.vector_form import BITWISE, COMPARISONS
from littoral.compiler.kernels.elements import ELEMENTS, wrapped
from littoral.compiler.kernels.numeric import Constants, WasmNumeric
from littoral.compiler.wasm import Code, Function, Local, const, op, select

__all__ = ["Writer"]

_FLOAT_UNARY = {
    "neg": "neg",
    "abs": "abs",
    "sqrt": "sqrt",
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "round": "nearest",
}


class Writer:
    """Writes expressions into a function.

    args: code of each `Arg` by number. positions: code of each `Position` by axis. load: code of `Load(index, at)`.
    constants: shared with other writers of the same straight piece.
    """

    def __init__(
        self,
        function: Function,
        args: Mapping[int, Code],
        vector: bool = False,
        positions: Mapping[int, Code] | None = None,
        load: Callable[[Load, Code], Code] | None = None,
        constants: Constants | None = None,
    ) -> None:
        self.f = function
        self.args = args
        self.vector = vector
        self.positions = positions or {}
        self.load = load
        self.numeric = WasmNumeric(function, constants)
        self._done: dict[Expr, Code] = {}
        self._uses: Counter[Expr] = Counter()

    def write(self, expr: Expr) -> Code:
        """The expression's value; statements it needs go before."""
        self._uses.update(a for node in set(walk(expr)) if isinstance(node, Apply) for a in node.args)
        return self._visit(expr)

    def _visit(self, node: Expr) -> Code:
        if node in self._done:
            return self._done[node]
        code = self._compute(node)
        if self._uses[node] > 1 and not isinstance(node, Const) and not isinstance(code, Local):
            code = self.f.local(code.kind, value=code)
        self._done[node] = code
        return code

    def _compute(self, node: Expr) -> Code:
        match node:
            case Const():
                return self.numeric.constants.get("f32x4" if self.vector else ELEMENTS[node.dtype].kind, node.value)
            case Arg():
                return self.args[node.index]
            case Position():
                return self.positions[node.axis]
            case Load():
                assert self.load is not None
                return self.load(node, self._visit(node.at))
            case Apply():
                return self._apply(node)
            case _:
                raise TypeError(f"no expression: {node!r}")

    def _apply(self, node: Apply) -> Code:
        args = [self._visit(a) for a in node.args]
        if node.op in FORMULAS or node.op in ELEMENTARY:
            return self._elementary(node, args)
        dtype = node.args[-1].dtype
        if node.op == "bitcast":
            return _bitcast(args[0], ELEMENTS[node.dtype].kind)
        if self.vector:
            return self._vector(node, args)
        if dtype in ("float32", "float64"):
            return self._float(node, args, dtype)
        return self._integer(node, args, dtype)

    def _elementary(self, node: Apply, args: list[Code]) -> Code:
        evaluate, wide = formula(node.op, node.dtype)
        through = wide and node.dtype == "float32"
        if through:
            args = [op("f64.promote_f32", a) for a in args]
        kept = [a if isinstance(a, Local) else self.numeric.keep(a) for a in args]
        code: Code = evaluate(self.numeric, *kept)
        return op("f32.demote_f64", code) if through else code

    def _vector(self, node: Apply, args: list[Code]) -> Code:
        if node.op == "select":
            return op("v128.bitselect", args[1], args[2], args[0]).as_("f32x4")
        if node.op in BITWISE:
            return op(f"v128.{node.op}", *args).as_("f32x4")
        if node.op in ("min", "max"):
            return self._extreme(node, args, lambda: op(f"f32x4.{node.op}", *args))
        return op(f"f32x4.{_FLOAT_UNARY.get(node.op, node.op)}", *args)

    def _extreme(self, node: Apply, args: list[Code], strict: Callable[[], Code]) -> Code:
        """With a constant bound, one comparison keeps a NaN too; strict instructions are needed for two variables."""
        bounds = [a.value for a in node.args if isinstance(a, Const)]
        if len(bounds) != 1 or bounds[0] != bounds[0]:
            return strict()
        variable = args[1] if isinstance(node.args[0], Const) else args[0]
        limited = self.numeric.at_least if node.op == "max" else self.numeric.at_most
        return limited(variable, bounds[0])

    def _float(self, node: Apply, args: list[Code], dtype: str) -> Code:
        kind = ELEMENTS[dtype].kind
        if node.op == "cast":
            return self._cast(args[0], dtype, node.dtype)
        if node.op == "select":
            return select(*args)
        if node.op in ("min", "max"):
            return self._extreme(node, args, lambda: op(f"{kind}.{node.op}", *args))
        return op(f"{kind}.{_FLOAT_UNARY.get(node.op, node.op)}", *args)

    def _integer(self, node: Apply, args: list[Code], dtype: str) -> Code:
        element = ELEMENTS[dtype]
        sign = "s" if element.signed else "u"
        name = node.op
        if name == "cast":
            return self._cast(args[0], dtype, node.dtype)
        if name == "select":
            return select(*args)
        if name in COMPARISONS:
            suffix = "" if name in ("eq", "ne") else f"_{sign}"
            return op(f"{element.kind}.{name}{suffix}", *args)
        if name in BITWISE:
            return op(f"{element.kind}.{name}", *args)
        if name == "not":
            return wrapped(dtype, args[0] ^ -1) if dtype != "bool" else args[0] ^ 1
        if name in ("min", "max"):
            a, b = (self.numeric.keep(x) for x in args)
            first = op(f"{element.kind}.{'lt' if name == 'min' else 'gt'}_{sign}", a, b)
            return select(first, a, b)
        if name == "neg":
            return wrapped(dtype, 0 - args[0])
        if name == "abs":
            kept = self.numeric.keep(args[0])
            return wrapped(dtype, select(kept < 0, 0 - kept, kept)) if element.signed else kept
        if name in ("shl", "shr"):
            return self._shift(name, args, element.kind, dtype)
        if name in ("div", "mod", "rem"):
            return self._divide(name, args, dtype)
        return wrapped(dtype, op(f"{element.kind}.{name}", *args))

    def _shift(self, name: str, args: list[Code], kind: str, dtype: str) -> Code:
        bits = 8 * ELEMENTS[dtype].bytes
        value, count = (self.numeric.keep(x) for x in args)
        instruction = "shl" if name == "shl" else f"shr_{'s' if ELEMENTS[dtype].signed else 'u'}"
        inside = op(f"{kind}.lt_u", count, const(kind, bits))
        left = (
            op(f"{kind}.shr_s", value, const(kind, 63 if kind == "i64" else 31))
            if instruction == "shr_s"
            else const(kind, 0)
        )
        return wrapped(dtype, select(inside, op(f"{kind}.{instruction}", value, count), left))

    def _divide(self, name: str, args: list[Code], dtype: str) -> Code:
        """By zero gives 0; the smallest number by −1 is itself; `mod` has the divisor's sign."""
        element = ELEMENTS[dtype]
        kind = element.kind
        a, b = (self.numeric.keep(x) for x in args)
        if not element.signed:
            safe = select(b.eq(0), const(kind, 1), b)
            found = op(f"{kind}.{'div' if name == 'div' else 'rem'}_u", a, safe)
            return select(b.ne(0), found, const(kind, 0))
        tame = self.numeric.keep(select(b.eq(0) | b.eq(-1), const(kind, 1), b))
        if name == "div":
            found = select(b.eq(-1), 0 - a, op(f"{kind}.div_s", a, tame))
            return wrapped(dtype, select(b.eq(0), const(kind, 0), found))
        rest = self.numeric.keep(op(f"{kind}.rem_s", a, tame))
        if name == "rem":
            return rest
        return select(rest.ne(0) & ((rest ^ b) < 0), rest + b, rest)

    def _cast(self, value: Code, source: str, target: str) -> Code:
        a, b = ELEMENTS[source], ELEMENTS[target]
        if target == "bool":
            return value.ne(0.0 if a.kind[0] == "f" else 0)
        if a.kind == b.kind:
            return value if a.kind[0] == "f" else wrapped(target, value)
        if a.kind[0] == "f" and b.kind[0] == "f":
            return op("f64.promote_f32", value) if b.kind == "f64" else op("f32.demote_f64", value)
        if b.kind[0] == "f":
            return op(f"{b.kind}.convert_{a.kind}_{'s' if a.signed else 'u'}", value)
        if a.kind[0] == "f":
            wide = "i64" if target == "uint32" else b.kind
            found = op(f"{wide}.trunc_sat_{a.kind}_{'s' if b.signed or wide != b.kind else 'u'}", value)
            found = op("i32.wrap_i64", found) if wide != b.kind else found
            return wrapped(target, found)
        if b.kind == "i64":
            return op(f"i64.extend_i32_{'s' if a.signed else 'u'}", value)
        return wrapped(target, op("i32.wrap_i64", value))


def _bitcast(value: Code, kind: str) -> Code:
    """The same bits held as another kind; between integers nothing happens."""
    return value if value.kind == kind else op(f"{kind}.reinterpret_{value.kind}", value)
