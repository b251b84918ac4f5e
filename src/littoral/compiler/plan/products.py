"""Matrix products: how dense layers and products of two run-time tensors become steps."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from littoral.compiler.ir.expr import Expr
from littoral.compiler.ir.graph import Node, Value
from littoral.compiler.ir.ops import MatMul
from littoral.compiler.ir.types import contiguous
from littoral.compiler.kernels import Gemm, Panels, Rows
from littoral.compiler.plan.choice import RULE, Choice, tiled
from littoral.compiler.plan.steps import Argument, Repeated, Scratch, Step, Weights
from littoral.compiler.plan.weights import pack_columns, pack_panels

__all__ = [
    "FLOAT_BYTES",
    "Product",
    "extras_of",
    "lower_batched",
    "lower_dense",
    "product_steps",
    "products_of",
    "repeats",
    "rows_fit",
    "scratch_of",
    "sides",
]

FLOAT_BYTES = 4
SPLIT_ROWS_MIN = 16
SPLIT_DEPTH = 256


def extras_of(values: Sequence[Value], out: Value) -> tuple[tuple[str, ...], tuple[Argument, ...]]:
    """Form and argument of each further input of an epilogue."""
    forms: list[str] = []
    arguments: list[Argument] = []
    for value in values:
        row = value.shape != out.shape
        forms.append("row" if row else "full")
        arguments.append(Weights(pack_columns(value.data)) if row and value.data is not None else value)
    return tuple(forms), tuple(arguments)


def rows_fit(values: Sequence[Value], out: Value) -> bool:
    """Whether further inputs can be read in whole vectors: rows that change from call to call are not padded."""
    return all(v.shape == out.shape or v.data is not None for v in values)


class Product(NamedTuple):
    """A part of a product's depth: its kernel, and the constants that it reads after the left side."""

    gemm: Gemm
    constants: tuple[Argument, ...]

    @property
    def macs(self) -> int:
        return self.gemm.rows.count * self.gemm.rows.depth * self.gemm.width


def products_of(
    rows: Rows,
    right: np.ndarray[Any, Any],
    bias: np.ndarray[Any, Any] | None,
    epilogue: Expr | None,
    forms: tuple[str, ...],
    out_bytes: int = 0,
    choice: Choice = RULE,
) -> list[Product]:
    """rows times right f32[depth, width], in parts of the depth where the right side outgrows the second cache."""
    depth, width = right.shape
    most = depth // SPLIT_DEPTH if rows.count >= SPLIT_ROWS_MIN else 1
    parts = max(1, min(round(right.nbytes / choice.part_bytes), most))
    ends = [depth * (i + 1) // parts for i in range(parts)]
    found = []
    for start, end in zip([0, *ends], ends, strict=False):
        is_first, is_last = start == 0, end == depth
        gemm = Gemm(
            rows.part(start, end),
            width,
            bias is not None and is_first,
            epilogue if is_last else None,
            forms if is_last else (),
            out_bytes,
            accumulate=not is_first,
        )
        constants: list[Argument] = [Weights(pack_panels(right[start:end], choice.panel))]
        if bias is not None and is_first:
            constants.append(Weights(pack_columns(bias)))
        found.append(Product(tiled(gemm, choice), tuple(constants)))
    return found


def product_steps(
    products: Sequence[Product], left: Argument, extras: Sequence[Argument], out: Argument, scratch: Scratch
) -> list[Step]:
    return [
        Step(p.gemm, (left, *p.constants, *(extras if p.gemm.extras else ()), out, scratch), p.macs) for p in products
    ]


def lower_dense(node: Node, op: MatMul, choice: Choice) -> list[Step] | None:
    """Constant right side, no batches there: one product over all rows."""
    a, b, *rest = node.inputs
    if op.left or op.right or op.result:
        return None
    if a.dtype != "float32" or b.data is None or math.prod(b.shape[:-2]) != 1 or not rows_fit(rest, node.outputs[0]):
        return None
    depth = a.shape[-1]
    count = a.type.elements // depth if depth else 0
    if count == 0 or depth == 0 or b.type.rank > a.type.rank:
        return None
    rows = Rows(1, count, 0, FLOAT_BYTES * depth, ((0, depth),))
    bias = rest.pop(0) if op.bias else None
    if bias is not None and bias.data is None:
        return None
    (out,) = node.outputs
    forms, extras = extras_of(rest, out)
    right = b.data.reshape(b.shape[-2:])
    products = products_of(rows, right, None if bias is None else bias.data, op.epilogue, forms, choice=choice)
    return product_steps(products, a, extras, out, scratch_of(products))


def scratch_of(products: Sequence[Product]) -> Scratch:
    """Room for whichever needs most of it."""
    return Scratch(max(p.gemm.scratch_bytes for p in products))


def lower_batched(node: Node, op: MatMul, choice: Choice) -> list[Step] | None:
    """Both sides come at run time, or the right one has batches: panels are made of it first, batch by batch."""
    a, b, *rest = node.inputs
    (out,) = node.outputs
    if a.dtype != "float32" or out.dtype != "float32" or op.bias or any(v.shape != out.shape for v in rest):
        return None
    left, right = sides(a, op.left), sides(b, op.right)
    made = sides(out, tuple(op.result.index(i) for i in range(len(op.result))))
    count, depth, width = left.shape[-2], left.shape[-1], right.shape[-1]
    if not depth:
        return None
    batch = made.shape[:-2]
    panels = Panels(depth, width, right.strides_bytes[-2], right.strides_bytes[-1], choice.panel)
    gemm = Gemm(
        Rows(1, count, 0, left.strides_bytes[-2], ((0, depth),)),
        width,
        epilogue=op.epilogue,
        extras=("full",) * len(rest),
        out_bytes=made.strides_bytes[-2],
    )
    gemm = tiled(gemm, choice)
    packed = Sides.of((*right.shape[:-2], 1, panels.out_bytes), 1)
    to_panels = repeats(right.shape[:-2], (right.strides_bytes[:-2], packed.strides_bytes[:-2]))
    written = made.strides_bytes[:-2]
    products = repeats(
        batch,
        (
            left.batch_strides(batch),
            packed.batch_strides(batch),
            *(written for _ in rest),
            written,
            (0,) * len(batch),
        ),
    )
    scratch = Scratch(math.prod(packed.shape))
    return [
        Step(panels, (b, scratch), 0, to_panels),
        Step(
            gemm,
            (a, scratch, *rest, out, Scratch(gemm.scratch_bytes)),
            math.prod(batch) * count * depth * width,
            products,
        ),
    ]


class Sides(NamedTuple):
    """A tensor as a stack of matrices: size of each axis, and bytes from one index to the next."""

    shape: tuple[int, ...]
    strides_bytes: tuple[int, ...]

    @classmethod
    def of(cls, shape: Sequence[int], element_bytes: int) -> "Sides":
        return cls(tuple(shape), tuple(element_bytes * s for s in contiguous(shape)))

    def batch_strides(self, batch: Sequence[int]) -> tuple[int, ...]:
        """Bytes from one index of each batch axis to the next, 0 where this tensor is broadcast."""
        own = list(zip(self.shape[:-2], self.strides_bytes[:-2], strict=True))
        missing = len(batch) - len(own)
        return (0,) * missing + tuple(0 if size == 1 else step for size, step in own)


def sides(value: Value, perm: Sequence[int]) -> Sides:
    """The tensor with its axes taken in another order."""
    whole = Sides.of(value.shape, FLOAT_BYTES)
    if not perm:
        return whole
    return Sides(tuple(whole.shape[i] for i in perm), tuple(whole.strides_bytes[i] for i in perm))


def repeats(batch: Sequence[int], strides: Sequence[tuple[int, ...]]) -> tuple[Repeated, ...]:
    """Loops over the batch axes; neighbouring axes that every argument walks through evenly are one loop."""
    loops: list[Repeated] = []
    for count, *moves in zip(batch, *strides, strict=True):
        if count == 1:
            continue
        if loops and all(outer == inner * count for outer, inner in zip(loops[-1].moves_bytes, moves, strict=True)):
            loops[-1] = Repeated(loops[-1].times * count, tuple(moves))
        else:
            loops.append(Repeated(count, tuple(moves)))
    return tuple(loops)
