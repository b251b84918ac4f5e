"""What bytes can be: narrower than their type where what makes them limits them."""

from littoral.compiler.ir.graph import Node, Value
from littoral.compiler.ir.ops import (
    Concat,
    Gather,
    IntegerConv,
    Map,
    Pool,
    Quantize,
    Resample,
    Reshape,
    Slice,
    Transpose,
)
from littoral.compiler.ir.quanta import Scheme, limits_of, stored_form

__all__ = ["byte_range"]

DEPTH_MAX = 64
_WHOLE = {"uint8": (0, 255), "int8": (-128, 127)}


def byte_range(value: Value, depth: int = DEPTH_MAX) -> tuple[int, int]:
    """The least and the greatest that an element can be."""
    if value.data is not None and value.data.size:
        return int(value.data.min()), int(value.data.max())
    whole, before = _WHOLE[value.dtype], value.producer
    if before is None or not depth:
        return whole
    match before.op:
        case IntegerConv(epilogue=expr) | Map(expr=expr):
            form = stored_form(expr)
            return whole if form is None else (form.low, form.high)
        case Quantize(scheme=scheme):
            return _made(before, scheme)
        case Concat():
            found = [byte_range(v, depth - 1) for v in before.inputs]
            return min(low for low, _ in found), max(high for _, high in found)
        case Resample() if before.inputs[1].shape[1] > 1:
            return whole
        case Reshape() | Transpose() | Slice() | Gather() | Resample() | Pool(combine="max"):
            return byte_range(before.inputs[0], depth - 1)
    return whole


def _made(node: Node, scheme: Scheme) -> tuple[int, int]:
    """Of a quantisation: what the limits of the expression before it leave."""
    before = node.inputs[0].producer
    op = before.op if before is not None else None
    expr = op.expr if isinstance(op, Map) else getattr(op, "epilogue", None)
    if expr is None or expr.dtype != "float32":
        return scheme.low, scheme.high
    _, low, high = limits_of(expr, scheme)
    return low, high
