"""What of a graph is held in bytes, and a node computed so: as the compiled module does it, to a rounding or two."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import numpy as np

from littoral.compiler.ir.graph import Node, Value
from littoral.compiler.ir.ops import RoundRows
from littoral.compiler.ir.ops.rows import ROW_HIGHEST
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.corrections import Whole
from littoral.compiler.quantize.evaluate import Finish, computed, taps_summed
from littoral.compiler.quantize.patches import blocks, is_depthwise, matrix_of
from littoral.tensors import Array

__all__ = ["ROWS", "Marks", "held", "in_integers", "numbers", "rounded_rows"]

ROWS = Scheme("uint8", 1.0, 0, 0, ROW_HIGHEST)
"""Stands for the scheme of rows that have their own: their numbers as they are."""


@dataclass(frozen=True)
class Marks:
    """Schemes of values, and the weights of products of bytes.

    rows: of these, the products that read bytes with a scale for each row, found when the model runs.
    """

    schemes: dict[Value, Scheme]
    weights: dict[Node, Whole] = field(default_factory=dict)
    rows: Set[Node] = frozenset()


def numbers(array: Array, scheme: Scheme | None) -> Array:
    """The float32 numbers that bytes stand for."""
    if scheme is None or scheme is ROWS:
        return array
    centred = array.astype(np.float32)
    centred -= np.float32(scheme.zero)
    centred *= np.float32(scheme.scale)
    return centred


def held(array: Array, scheme: Scheme | None) -> Array:
    """The bytes nearest to float32 numbers."""
    if scheme is None:
        return array
    found = array * np.float32(1 / scheme.scale)
    np.rint(found, out=found)
    found += np.float32(scheme.zero)
    np.clip(found, scheme.low, scheme.high, out=found)
    return found.astype(scheme.dtype)


def rounded_rows(array: Array) -> Array:
    """The numbers that bytes stand for of which each row has a scale of its own."""
    (rounded,) = RoundRows().reference(array)
    return rounded


def in_integers(node: Node, given: Mapping[Value, Array], marks: Marks) -> tuple[Array, ...]:
    """What the node makes, held as its outputs are. given: its inputs, held as they are."""
    arrays = [numbers(given[v], marks.schemes.get(v)) if v.data is None else v.data for v in node.inputs[1:]]
    first = node.inputs[0] if node.inputs else None
    whole = marks.weights.get(node)
    scheme = None if first is None else marks.schemes.get(first)
    x = None if first is None else given.get(first, first.data)
    if x is not None and node in marks.rows:
        x, scheme = rounded_rows(numbers(x, scheme)), ROWS
    if x is None or whole is None or scheme is None:
        made = computed(node, [*([] if x is None else [numbers(x, scheme)]), *arrays])
    else:
        made = (_product(node, whole, scheme, x, arrays[1 + node.op.bias :]),)  # type: ignore[attr-defined]
    return tuple(held(a, marks.schemes.get(v)) for v, a in zip(node.outputs, made, strict=True))


def _product(node: Node, whole: Whole, scheme: Scheme, x: Array, extras: list[Array]) -> Array:
    """The product of bytes, with its epilogue: float32."""
    matrix = matrix_of(node, whole.weights)
    reach = np.abs(matrix.astype(np.int32)).sum(1).max(initial=0) * max(scheme.high, 1)
    dtype = "float32" if reach < 1 << 24 and scheme is not ROWS else "float64"  # in which sums are exact, in any order
    factor = whole.scale * np.float32(scheme.scale)
    own = is_depthwise(node)
    right = matrix.astype(dtype) if own else matrix.T.astype(dtype)
    start = (whole.bias - matrix.sum(1, dtype=np.int64) * float(scheme.zero) * factor).astype(np.float32)
    finish = Finish(node, extras)
    for at, rows in blocks(node, x, dtype, scheme.zero):
        sums = (taps_summed(rows, right) if own else rows @ right).astype(np.float32, copy=False)
        sums *= factor
        sums += start
        finish(at, sums)
    return finish.made
