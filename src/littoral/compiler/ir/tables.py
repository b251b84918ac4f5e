"""Maps of one byte that are long to compute, as tables."""

import numpy as np

from littoral.compiler.ir.graph import Node, Value
from littoral.compiler.ir.ops import Map, Reshape
from littoral.compiler.ir.quanta import BYTES, as_floats, stored_form
from littoral.compiler.ir.vector_form import is_long
from littoral.tensors import DTYPES

__all__ = ["table_of"]

PART = 16


def table_of(node: Node) -> bytes | None:
    """What the map makes of each byte that its input can be, whole sixteens of them; None where it is no such map."""
    op = node.op
    if not isinstance(op, Map) or len(node.inputs) != 1:
        return None
    (x,), (out,) = node.inputs, node.outputs
    if out.dtype not in BYTES or not is_long(as_floats(op.expr)):
        return None
    if x.dtype not in BYTES or x.shape != out.shape:
        return None
    every = np.arange((_highest(x) + PART) // PART * PART, dtype=np.uint8)
    (table,) = op.reference(every.view(DTYPES[x.dtype].storage))
    return table.tobytes()


def _highest(value: Value) -> int:
    """What a byte can be at most, taken as a uint8."""
    before = value.producer
    while before is not None and isinstance(before.op, Reshape):
        before = before.inputs[0].producer
    if before is None:
        return 255
    if table := getattr(before.op, "table", b""):
        return max(table)
    epilogue = getattr(before.op, "epilogue", None) or getattr(before.op, "expr", None)
    form = None if epilogue is None else stored_form(epilogue)
    return 255 if form is None or form.low < 0 else form.high
