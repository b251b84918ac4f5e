"""Whole sums that become float32 right away: what is done to them goes into the product that makes them."""

from dataclasses import replace

from littoral.compiler.ir.expr import Apply, Arg, Expr, Load, Position, substitute, walk
from littoral.compiler.ir.graph import Builder, Node, Rewriter, Value
from littoral.compiler.ir.ops import IntegerConv, Map, Reshape
from littoral.compiler.ir.vector_form import has_vector_form

__all__ = ["scaled_sums"]

EXTRAS_MAX = 4


def scaled_sums(rewriter: Rewriter, node: Node, op: Map) -> Value | None:
    """The map as the epilogue of the int32 product it reads as float32, where nothing else reads that."""
    inputs = rewriter.inputs(node)
    for i, value in enumerate(inputs):
        product = _product_of(value) if rewriter.uses[node.inputs[i]] == 1 else None
        if product is None or value.shape != node.outputs[0].shape or len(inputs) > 1 + EXTRAS_MAX:
            continue
        epilogue = _epilogue(op.expr, i)
        if epilogue is None or op.shape or not has_vector_form(epilogue):
            continue
        extras = [_laid_out(rewriter.build, v, product) for j, v in enumerate(inputs) if j != i]
        if any(v is None for v in extras):
            continue
        assert isinstance(product.op, IntegerConv)
        made = rewriter.build.add(
            replace(product.op, epilogue=epilogue),
            *product.inputs,
            *(v for v in extras if v is not None),
            label=node.label,
        )
        return made if made.shape == value.shape else rewriter.build.add(Reshape(value.shape), made, label=node.label)
    return None


def _product_of(value: Value) -> Node | None:
    node = value.producer
    if node is not None and isinstance(node.op, Reshape):
        node = node.inputs[0].producer
    is_sums = node is not None and isinstance(node.op, IntegerConv) and node.op.epilogue == Arg("int32", 0)
    return node if is_sums else None


def _epilogue(expr: Expr, index: int) -> Expr | None:
    """The expression with float32 sums for argument 0 and the others behind it; None where it needs whole ones."""
    if any(isinstance(e, Load | Position) for e in walk(expr)):
        return None

    def change(node: Expr) -> Expr | None:
        if isinstance(node, Apply) and node.op == "cast" and node.args == (Arg("int32", index),):
            return Arg(node.dtype, 0)
        if isinstance(node, Arg) and node.index != index:
            return Arg(node.dtype, node.index + (node.index < index))
        return None

    return substitute(expr, change)


def _laid_out(build: Builder, value: Value, product: Node) -> Value | None:
    """A further input as products read it: as the output lies, or one value a column."""
    out = product.outputs[0]
    width = out.shape[-1]
    if value.type.elements == 1:
        one = build.add(Reshape(()), value, label=product.label)
        return build.add(Map(Arg(value.dtype, 0), (width,)), one, label=product.label)
    if value.type.elements == out.type.elements:
        return value if value.shape == out.shape else build.add(Reshape(out.shape), value, label=product.label)
    if value.shape[-1:] == (width,) and value.type.elements == width:
        return build.add(Reshape((width,)), value, label=product.label)
    return None
