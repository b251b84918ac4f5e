"""Maps in canonical form: constants inlined, equal inputs shared, unused ones dropped, trivial ones gone."""

from collections.abc import Mapping, Sequence

from littoral.compiler.ir.evaluate import evaluate
from littoral.compiler.ir.expr import Apply, Arg, Const, Expr, Load, substitute, walk
from littoral.compiler.ir.graph import Builder, Value
from littoral.compiler.ir.ops.elementwise import Map, spread_shape

__all__ = ["add_map", "scalar_constant", "simplify"]

_FOLDABLE = (
    "float32",
    "float64",
    "float16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)


def scalar_constant(value: Value) -> Const | None:
    """The constant of a one-element value, or None."""
    if value.data is None or value.data.size != 1:
        return None
    bits = int.from_bytes(value.data.tobytes(), "little", signed=value.data.dtype.kind == "i")
    return Const(value.dtype, bits)


def _constant(dtype: str, expr: Expr) -> Const:
    element = evaluate(expr, (), ())
    return Const(dtype, int.from_bytes(element.tobytes(), "little", signed=element.dtype.kind == "i"))


def simplify(expr: Expr) -> Expr:
    """The same value for every element, with constant parts computed and products with 1 left out."""

    def change(node: Expr) -> Expr | None:
        if not isinstance(node, Apply):
            return None
        args = tuple(substitute(a, change) for a in node.args)
        rebuilt = Apply(node.dtype, node.op, args)
        if all(isinstance(a, Const) for a in args) and all(a.dtype in _FOLDABLE for a in (*args, node)):
            return _constant(node.dtype, rebuilt)
        if node.op in ("mul", "div") and isinstance(args[1], Const) and args[1].value == 1:
            return args[0]
        if node.op == "mul" and isinstance(args[0], Const) and args[0].value == 1:
            return args[1]
        return rebuilt

    return substitute(expr, change)


def add_map(build: Builder, expr: Expr, inputs: Sequence[Value], shape: tuple[int, ...], label: str) -> Value:
    """`Map(expr)` over the inputs with the result `shape`, or something simpler that gives the same."""
    names: dict[int, Expr] = {}
    kept: list[Value] = []
    loaded = {node.index for node in walk(expr) if isinstance(node, Load)}
    for i, value in enumerate(inputs):
        constant = None if i in loaded else scalar_constant(value)
        if constant is not None:
            names[i] = constant
            continue
        if value not in kept:
            kept.append(value)
        names[i] = Arg(value.dtype, kept.index(value))
    renamed = simplify(_renamed(expr, names))
    used = sorted({n.index for n in walk(renamed) if isinstance(n, Arg | Load)})
    compact = {old: Arg(kept[old].dtype, new) for new, old in enumerate(used)}
    renamed = _renamed(renamed, compact)
    kept = [kept[i] for i in used]
    if renamed == (Arg(kept[0].dtype, 0) if kept else None) and kept[0].shape == shape:
        return kept[0]
    natural = spread_shape(renamed, [v.shape for v in kept], ())
    return build.add(Map(renamed, () if natural == shape else shape), *kept, label=label)


def _renamed(expr: Expr, names: Mapping[int, Expr]) -> Expr:
    def change(node: Expr) -> Expr | None:
        if isinstance(node, Arg):
            return names[node.index]
        if isinstance(node, Load):
            source = names[node.index]
            assert isinstance(source, Arg)
            return Load(node.dtype, source.index, substitute(node.at, change))
        return None

    return substitute(expr, change)
