"""Pooling beyond the largest and the average: norms, places of the largest, and back."""

from collections.abc import Sequence

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import ArgReduce, Map, Pad, Pool, Reshape, Scatter, Window
from littoral.compiler.ir.types import contiguous
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators import dynamic
from littoral.compiler.onnx.operators.contraction import window
from littoral.compiler.onnx.operators.elementwise import mapped
from littoral.compiler.onnx.operators.picking import zeros_of
from littoral.errors import ShapeError
from littoral.tensors import element_count

INDEX = "int32"
ELEMENTS_MAX = 1 << 26


def _power(x: Expr, p: int) -> Expr:
    size = apply("abs", x)
    return x * x if p == 2 else size if p == 1 else apply("pow", size, number(x.dtype, float(p)))


def _root(x: Expr, p: int) -> Expr:
    return apply("sqrt", x) if p == 2 else x if p == 1 else apply("pow", x, number(x.dtype, 1.0 / p))


@operator("LpPool")
def norm_pool(node: OnnxNode) -> Value:
    """(Σ |x|^p)^(1/p) over a window; padding counts as 0."""
    x, p = node.input(0), node.integer("p", 2)
    shape = window(node, x.shape[2:], node.integers("kernel_shape", ()))
    out = shape.output(x.shape[2:], bool(node.integer("ceil_mode", 0)))
    pads = [(0, 0), (0, 0)]
    for i, (before, after) in enumerate(shape.pads):
        reach = (out[i] - 1) * shape.strides[i] + shape.reach()[i] - x.shape[2 + i] - before
        pads.append((before, max(after, reach)))
    powers = mapped(node, lambda v: _power(v, p), x)
    padded = node.add(Pad(tuple(pads)), powers, node.constant(0, x.dtype))
    bare = Window(shape.kernel, shape.strides, shape.dilations, ((0, 0),) * len(shape.kernel))
    count = float(np.prod(shape.kernel))
    return mapped(node, lambda v: _root(v * count, p), node.add(Pool("mean", bare), padded))


def places_of_largest(node: OnnxNode, x: Value, op: Pool, out: Value) -> Value:
    """Number of the element that each window's largest is, int64; of equal ones the first."""
    shape, spatial = op.window, x.shape[2:]
    rank, taps = len(spatial), int(np.prod(op.window.kernel))
    tap: Expr = Position(INDEX, 2 + rank)
    coordinates = _coordinates(shape, tap)
    inside: Expr = number("bool", 1)
    for at, size in zip(coordinates, spatial, strict=True):
        inside = apply("and", inside, apply("and", at >= 0, at < size))
    strides = contiguous(x.shape)
    parts = [Position(INDEX, 0), Position(INDEX, 1)]
    parts += [at.at_least(0).at_most(size - 1) for at, size in zip(coordinates, spatial, strict=True)]  # type: ignore[misc]
    least = float("-inf") if x.dtype.startswith("float") else 0 if x.dtype.startswith("u") else -128
    value = apply("select", inside, Load(x.dtype, 0, dynamic.flat_index(strides, parts)), number(x.dtype, least))
    lined = node.add(Map(value, (*out.shape, taps)), x)
    best = node.add(Reshape(out.shape), node.add(ArgReduce(2 + rank), lined))
    found = cast(Arg("int64", 0), INDEX)
    steps = contiguous(spatial) if not node.integer("storage_order", 0) else contiguous(spatial[::-1])[::-1]
    flat = (Position(INDEX, 0) * x.shape[1] + Position(INDEX, 1)) * int(np.prod(spatial))
    place = flat + dynamic.flat_index(steps, _coordinates(shape, found))
    return node.add(Map(cast(place, "int64")), best)


def _coordinates(shape: Window, tap: Expr) -> list[Expr]:
    """Where the tap of the window of an output element lies on the input, by axis."""
    found: list[Expr] = []
    for i, step in enumerate(contiguous(shape.kernel)):
        number_of = apply("rem", apply("div", tap, number(INDEX, step)), number(INDEX, shape.kernel[i]))
        found.append(Position(INDEX, 2 + i) * shape.strides[i] + number_of * shape.dilations[i] - shape.pads[i][0])
    return found


@operator("MaxUnpool", keeps_halves=True)
def max_unpool(node: OnnxNode) -> Value:
    """Each element at the place it came from, 0 elsewhere; the places count in the shape that the window gives."""
    x, places, asked = node.input(0), node.input(1), node.optional(2)
    kernel = node.integers("kernel_shape", ())
    rank = len(kernel)
    strides, pads = node.integers("strides", (1,) * rank), node.integers("pads", (0,) * (2 * rank))
    natural = [(x.shape[2 + i] - 1) * strides[i] + kernel[i] - pads[i] - pads[rank + i] for i in range(rank)]
    shape = (*x.shape[:2], *natural)
    if element_count(shape) > ELEMENTS_MAX or min(natural) < 1:
        raise ShapeError(f"node `{node.label}`: a result of shape {list(shape)}")
    empty = zeros_of(node, x.dtype, shape)
    last = element_count(shape) - 1
    at = cast(Arg(places.dtype, 2), INDEX).at_least(0).at_most(max(last, 0))
    filled = node.add(Scatter(x.shape, at, Arg(x.dtype, 1)), empty, x, places)
    return filled if asked is None else _enlarged(node, filled, asked)


def _enlarged(node: OnnxNode, x: Value, asked: Value) -> Value:
    rows = [dynamic.at(asked, 0, i) for i in range(x.type.rank)]
    result = dynamic.sized(node, rows, [d if i < 2 else d + dynamic.DIM_ROOM for i, d in enumerate(x.shape)], asked)

    def element(c: Sequence[Expr], _: int) -> Expr:
        inside: Expr = number("bool", 1)
        for at, size in zip(c, x.shape, strict=True):
            inside = apply("and", inside, at < size)
        parts = [at.at_most(size - 1) for at, size in zip(c, x.shape, strict=True)]
        found = Load(x.dtype, 0, dynamic.flat_index(contiguous(x.shape), parts))
        return apply("select", inside, found, number(x.dtype, 0))

    return result.fill(x.dtype, element, x)
