"""Matrix products and convolutions."""

import math

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Builder, Graph, Value
from littoral.compiler.ir.ops import (
    ArgReduce,
    Conv,
    ConvTranspose,
    Map,
    MatMul,
    Repeat,
    Reshape,
    Transpose,
    Window,
)
from littoral.compiler.ir.types import TensorType
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators.elementwise import mapped
from littoral.errors import ShapeError

FLOATS = ("float32", "float64")


def window(node: OnnxNode, spatial: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """The sliding window of a convolution or pooling, padding worked out."""
    rank = len(kernel)
    strides = node.integers("strides", (1,) * rank)
    dilations = node.integers("dilations", (1,) * rank)
    given = node.integers("pads", (0,) * (2 * rank))
    mode = node.choice("auto_pad", "NOTSET", ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"))
    lengths = {len(strides), len(dilations), len(spatial), rank}
    if len(lengths) > 1 or len(given) != 2 * rank:
        raise ShapeError(
            f"node `{node.label}`: kernel {kernel}, strides {strides}, pads {given} for {len(spatial)} axes"
        )
    if min(*strides, *dilations, *kernel, 1) < 1:
        raise ShapeError(f"node `{node.label}`: kernel {kernel}, strides {strides}, dilations {dilations}")
    if mode == "NOTSET":
        return Window(kernel, strides, dilations, tuple(zip(given[:rank], given[rank:], strict=True)))
    if mode == "VALID":
        return Window(kernel, strides, dilations, ((0, 0),) * rank)
    pads = []
    for size, k, stride, dilation in zip(spatial, kernel, strides, dilations, strict=True):
        need = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        less, more = need // 2, need - need // 2
        pads.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return Window(kernel, strides, dilations, tuple(pads))


def _check_floats(node: OnnxNode) -> None:
    if node.input(0).dtype not in FLOATS:
        node.unsupported(f"of {node.input(0).dtype}", supported=FLOATS)


@operator("Conv")
def conv(node: OnnxNode) -> Value:
    x, w, bias = node.input(0), node.input(1), node.optional(2)
    _check_floats(node)
    if x.type.rank < 3 or w.type.rank != x.type.rank:
        raise ShapeError(f"node `{node.label}`: convolution of {x.type} with weights {w.type}")
    node.ignore("kernel_shape")
    op = Conv(window(node, x.shape[2:], w.shape[2:]), node.integer("group", 1), bias=bias is not None)
    return node.add(op, x, w, *([bias] if bias else []))


@operator("ConvTranspose")
def conv_transpose(node: OnnxNode) -> Value:
    x, w, bias = node.input(0), node.input(1), node.optional(2)
    _check_floats(node)
    if x.type.rank < 3 or w.type.rank != x.type.rank:
        raise ShapeError(f"node `{node.label}`: transposed convolution of {x.type} with weights {w.type}")
    rank = x.type.rank - 2
    kernel, spatial = w.shape[2:], x.shape[2:]
    node.ignore("kernel_shape")
    strides, dilations = node.integers("strides", (1,) * rank), node.integers("dilations", (1,) * rank)
    extra, wanted = node.integers("output_padding", (0,) * rank), node.optional_integers("output_shape")
    mode = node.choice("auto_pad", "NOTSET", ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"))
    given = node.integers("pads", (0,) * (2 * rank))
    pads, output = [], []
    for i in range(rank):
        full = strides[i] * (spatial[i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1
        if wanted is None and mode in ("NOTSET", "VALID"):
            before, after = (given[i], given[i + rank]) if mode == "NOTSET" else (0, 0)
            size = full - before - after
        else:
            size = wanted[-rank + i] if wanted is not None else spatial[i] * strides[i]
            cut = max(full - size, 0)
            before = cut // 2 if mode != "SAME_LOWER" else cut - cut // 2
            after = cut - before
        pads.append((before, after))
        output.append(size)
    shape = Window(kernel, strides, dilations, tuple(pads))
    op = ConvTranspose(shape, tuple(output), node.integer("group", 1), bias is not None)
    return node.add(op, x, w, *([bias] if bias else []))


@operator("Gemm")
def gemm(node: OnnxNode) -> Value:
    """alpha · A' · B' + beta · C."""
    a, b, c = node.input(0), node.input(1), node.optional(2)
    _check_floats(node)
    node.ignore("broadcast")
    a, b = (
        node.add(Transpose((1, 0)), v) if node.integer(name, 0) else v for v, name in ((a, "transA"), (b, "transB"))
    )
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if alpha != 1.0:
        b = mapped(node, lambda x: x * alpha, b)
    if c is not None and beta != 1.0:
        c = mapped(node, lambda x: x * beta, c)
    if c is not None and c.type.elements == b.shape[-1] and c.shape[-1:] == b.shape[-1:]:
        return node.add(MatMul(bias=True), a, b, node.add(Reshape((b.shape[-1],)), c))
    product = node.add(MatMul(), a, b)
    return product if c is None else mapped(node, lambda x, y: x + y, product, c)


@operator("MatMul")
def matmul(node: OnnxNode) -> Value:
    """numpy's matmul: a vector on either side is a matrix with one row or column, which the result lacks."""
    a, b = node.inputs()
    _check_floats(node)
    left = node.add(Reshape((1, *a.shape)), a) if a.type.rank == 1 else a
    right = node.add(Reshape((*b.shape, 1)), b) if b.type.rank == 1 else b
    product = node.add(MatMul(), left, right)
    shape = list(product.shape)
    if b.type.rank == 1:
        del shape[-1]
    if a.type.rank == 1:
        del shape[-1 if b.type.rank == 1 else -2]
    return product if tuple(shape) == product.shape else node.add(Reshape(tuple(shape)), product)


@operator("Det")
def determinant(node: OnnxNode) -> Value:
    """Product of the pivots, the largest of each column taken; in float64."""
    x = node.input(0)
    *lead, size, wide = x.shape
    if size != wide:
        raise ShapeError(f"node `{node.label}`: determinant of {x.type}")
    count = math.prod(lead)
    lined = node.add(Reshape((count, size, size)), x)
    matrix = node.add(Map(cast(Arg(x.dtype, 0), "float64")), lined)
    found = node.constant(np.ones(count))
    if size and count:
        _, found = node.build.add_all(Repeat(_elimination(count, size), size, 2), matrix, found)
    return node.add(Map(cast(Arg("float64", 0), x.dtype)), node.add(Reshape(tuple(lead)), found))


def _elimination(count: int, size: int) -> Graph:
    """One column of Gauss's elimination: the matrix and the product so far in, both out."""
    build = Builder()
    run = build.input("run", TensorType("int64", ()))
    matrix = build.input("matrix", TensorType("float64", (count, size, size)))
    product = build.input("product", TensorType("float64", (count,)))
    batch, row, column = (Position("int32", a) for a in range(3))

    def element(index: int, r: Expr, c: Expr) -> Expr:
        return Load("float64", index, (batch * size + r) * size + c)

    k = cast(Load("int64", 1, number("int32", 0)), "int32")
    below = apply("select", row >= k, apply("abs", element(0, row, k)), number("float64", -1.0))
    best = build.add(ArgReduce(1), build.add(Map(below, (count, size)), matrix, run))
    chosen = cast(Load("int64", 2, batch), "int32")
    pivot = element(0, chosen, k)
    swapped = apply("eq", row, k), apply("eq", row, chosen)
    source = apply("select", swapped[0], chosen, apply("select", swapped[1], k, row))
    factor = element(0, source, k) / apply("select", apply("eq", pivot, number("float64", 0.0)), pivot + 1.0, pivot)
    value = element(0, source, column)
    value = apply("select", row > k, value - factor * element(0, chosen, column), value)
    sign = apply("select", apply("eq", chosen, k), pivot, -pivot)
    after = build.add(Map(value, (count, size, size)), matrix, run, best)
    grown = build.add(Map(sign * Load("float64", 3, batch), (count,)), matrix, run, best, product)
    return build.finish([("matrix", after), ("product", grown)])
