"""Dropout: nothing at inference; in training, with a seed, the numbers that the seed stands for."""

from collections.abc import Sequence

import numpy as np

from littoral.compiler.ir.expr import Arg, apply, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.maps import scalar_constant
from littoral.compiler.ir.narrow import convert
from littoral.compiler.ir.ops import Map
from littoral.compiler.onnx.importer import OnnxNode, operator

DRAWS_MAX = 1 << 22


@operator("Dropout", keeps_halves=True)
def dropout(node: OnnxNode) -> Sequence[Value]:
    """The values, and which of them are kept."""
    x, ratio, mode = node.input(0), node.optional(1), node.optional(2)
    if mode is None or _is_zero(ratio) or _is_zero(mode):
        node.ignore("ratio", "seed")
        kept = node.add(Map(number("bool", 1), x.shape))
        if x in node.dims:
            node.dims[kept] = node.dims[x]
        return [x, kept]
    return _training(node, x, mode)


def _is_zero(value: Value | None) -> bool:
    """Whether it is known to be zero, or false: nothing is dropped then."""
    known = None if value is None else scalar_constant(value)
    return known is not None and not known.value


def _training(node: OnnxNode, x: Value, mode: Value) -> list[Value]:
    """The numbers of ONNX's reference for the seed are drawn now: the same elements are dropped in every run."""
    if x in node.dims:
        node.unsupported("of a tensor whose shape depends on data, where `training_mode` may be true")
    if not node.has("seed"):
        node.unsupported("is missing, which is not supported where `training_mode` may be true", attribute="seed")
    if x.type.elements > DRAWS_MAX:
        node.unsupported(f"of {x.type.elements} elements where `training_mode` may be true, at most {DRAWS_MAX}")
    draws = np.random.RandomState(node.integer("seed", 0) & 0xFFFFFFFF).uniform(0, 1.0, x.shape)
    ratio = node.optional(1) or node.constant(np.float32(0.5))
    share = convert(Arg(ratio.dtype, 1), "float64")
    off = apply("eq", Arg("bool", 2), number("bool", 0))
    kept = node.add(Map(apply("or", Arg("float64", 0) >= share, off)), node.constant(draws), ratio, mode)
    scale = apply(
        "select", Arg("bool", 3), 1.0 / (1.0 - convert(Arg(ratio.dtype, 2), "float64")), number("float64", 1.0)
    )
    scaled = convert(Arg(x.dtype, 0), "float64") * scale
    value = apply("select", Arg("bool", 1), scaled, number("float64", 0.0))
    return [node.add(Map(convert(value, x.dtype)), x, kept, ratio, mode), kept]
