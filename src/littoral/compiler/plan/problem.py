"""What a layer asks of a kernel whose form can be chosen: the sizes that decide how fast each form is."""

import math
from typing import Annotated, Literal

import msgspec

from littoral.compiler.ir.expr import Expr
from littoral.compiler.ir.graph import Node
from littoral.compiler.ir.ops import Conv, MatMul
from littoral.compiler.ir.vector_form import is_long

__all__ = ["Epilogue", "Kind", "Problem", "problem_of"]

Kind = Literal["dense", "batched", "window", "window 3x3", "depthwise"]
Epilogue = Literal["none", "short", "long"]
Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]


class Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, order=True):
    """One product, or one depthwise convolution.

    kind: `dense` (constant right side, rows without gaps; 1×1 convolutions), `batched` (right side at run time),
    `window` (patches as rows; a group of them), `window 3x3` (one that Winograd's filtering could do), `depthwise`.
    rows: of the left side, of one image or batch; output pixels. depth: values in a row; taps of a depthwise window.
    width: columns of the result; channels. stride, line: of a depthwise window along a line, and outputs in one.
    """

    kind: Kind
    rows: Size
    depth: Size
    width: Size
    epilogue: Epilogue = "none"
    stride: Size = 1
    line: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)] = 0


def problem_of(node: Node) -> Problem | None:
    """None where there is nothing to choose."""
    if not isinstance(node.op, MatMul | Conv) or node.inputs[0].dtype != "float32":
        return None
    if 0 in (*node.inputs[0].shape, *node.outputs[0].shape):
        return None
    match node.op:
        case MatMul():
            return _product(node, node.op)
        case Conv() if node.op.last and len(node.op.window.kernel) in (1, 2):
            return _convolution(node, node.op)
    return None


def _product(node: Node, op: MatMul) -> Problem | None:
    a, b = node.inputs[0].type, node.inputs[1]
    if a.rank < 2 or b.type.rank < 2:
        return None
    is_dense = b.data is not None and not (op.left or op.right or op.result) and math.prod(b.shape[:-2]) == 1
    if is_dense:
        return Problem("dense", a.elements // a.shape[-1], a.shape[-1], b.shape[-1], _epilogue(op.epilogue))
    left = tuple(a.shape[i] for i in op.left) if op.left else a.shape
    right = tuple(b.shape[i] for i in op.right) if op.right else b.shape
    return Problem("batched", left[-2], left[-1], right[-1], _epilogue(op.epilogue))


def _convolution(node: Node, op: Conv) -> Problem:
    weights, out, window = node.inputs[1].shape, node.outputs[0].shape, op.window
    rows, taps, epilogue = math.prod(out[1:-1]), math.prod(window.kernel), _epilogue(op.epilogue)
    if op.groups == node.inputs[0].shape[-1] == weights[0]:
        return Problem("depthwise", rows, taps, weights[0], epilogue, window.strides[-1], out[-2])
    depth, width = taps * weights[1], weights[0] // op.groups
    if taps == 1 and op.groups == 1:
        return Problem("dense", rows, depth, width, epilogue)
    is_plain = (window.kernel, window.strides, window.dilations, op.groups) == ((3, 3), (1, 1), (1, 1), 1)
    return Problem("window 3x3" if is_plain else "window", rows, depth, width, epilogue)


def _epilogue(epilogue: Expr | None) -> Epilogue:
    if epilogue is None:
        return "none"
    return "long" if is_long(epilogue) else "short"
