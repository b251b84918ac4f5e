"""Maps between bytes: what makes numbers of bytes goes into the maps behind it, what makes bytes into those before.

Behind this pass there is no quantisation left as an operation of its own.
"""

from dataclasses import replace

from littoral.compiler.ir.expr import Arg, Expr, Load, cast, substitute, walk
from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.maps import add_map
from littoral.compiler.ir.ops import Dequantize, DequantizeWeights, Map, Pool, Quantize, Reduce
from littoral.compiler.ir.quanta import Scheme, Stored, dequantized, limits_of, quantized, stored
from littoral.compiler.passes.byte_formulas import average_formula, byte_formula
from littoral.compiler.passes.byte_ranges import byte_range
from littoral.compiler.passes.integer_products import in_quanta
from littoral.compiler.passes.move_bytes import scheme_of

__all__ = ["integer_maps"]

COUNT_MAX = 1 << 16  # sums of as many bytes are exact in float32


def integer_maps(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        result = None
        match node.op:
            case Map():
                result = _from_bytes(rewriter, node, node.op)
            case Quantize():
                result = _to_bytes(rewriter, node, node.op) or _alone(rewriter, node, node.op)
            case Reduce():
                result = _summed(rewriter, node, node.op)
            case DequantizeWeights():
                arrays = [v.data for v in rewriter.inputs(node)]
                result = rewriter.build.constant(node.op.reference(*(a for a in arrays if a is not None))[0])
        if result is None:
            rewriter.copy(node)
        else:
            rewriter.put(node, [result])
    return _spelled_out(rewriter.finish())


def _from_bytes(rewriter: Rewriter, node: Node, op: Map) -> Value | None:
    """The map on bytes, where some of its inputs are made of them."""
    inputs = rewriter.inputs(node)
    loaded = {e.index for e in walk(op.expr) if isinstance(e, Load)}
    schemes = [None if i in loaded else scheme_of(v) for i, v in enumerate(inputs)]
    if not any(schemes):
        return None
    places: dict[int, Expr] = {i: dequantized(Arg(s.dtype, i), s) for i, s in enumerate(schemes) if s is not None}
    expr = substitute(op.expr, lambda n: places.get(n.index) if isinstance(n, Arg) else None)
    raw = [v if s is None or v.producer is None else v.producer.inputs[0] for v, s in zip(inputs, schemes, strict=True)]
    return add_map(rewriter.build, expr, raw, node.outputs[0].shape, node.label)


def _summed(rewriter: Rewriter, node: Node, op: Reduce) -> Value | None:
    """A sum of numbers from bytes as a sum of the bytes, which is exact."""
    scheme = scheme_of(rewriter.inputs(node)[0])
    if scheme is None or op.combine != "sum" or op.before is not None or len(node.inputs) > 1:
        return None
    (x,) = rewriter.inputs(node)
    assert x.producer is not None
    count = x.type.elements // max(node.outputs[0].type.elements, 1)
    if not 0 < count <= COUNT_MAX:
        return None
    byte = cast(Arg(scheme.dtype, 0), "int32")
    total = (cast(Arg("int32", 0), "float32") - float(count * scheme.zero)) * scheme.scale
    after = substitute(op.after or Arg("float32", 0), lambda n: total if isinstance(n, Arg) else None)
    return rewriter.build.add(replace(op, before=byte, after=after), *x.producer.inputs, label=node.label)


def _to_bytes(rewriter: Rewriter, node: Node, op: Quantize) -> Value | None:
    """The map before a quantisation, with bytes for its result."""
    (x,) = rewriter.inputs(node)
    before = x.producer
    if before is None:
        return None
    if isinstance(before.op, Dequantize):
        expr: Expr = dequantized(Arg(before.op.scheme.dtype, 0), before.op.scheme)
    elif rewriter.uses[node.inputs[0]] != 1:
        return None
    elif isinstance(before.op, Map) and before.op.expr.dtype == "float32":
        expr = before.op.expr
    elif isinstance(before.op, Reduce) and before.op.after is not None and _is_whole(before.op):
        average = average_formula(before.op.after, op.scheme) if op.nearest else None
        reduced = replace(before.op, after=average or _limited(before.op.after, op))
        return rewriter.build.add(reduced, *before.inputs, label=before.label)
    elif isinstance(before.op, Pool) and before.op.combine == "mean" and op.nearest:
        return rewriter.build.add(Map(_average(op.scheme)), x, label=node.label)
    else:
        return None
    form = _limited(expr, op)
    return add_map(rewriter.build, form, before.inputs, node.outputs[0].shape, before.label)


def _alone(rewriter: Rewriter, node: Node, op: Quantize) -> Value:
    """By itself, and within what products take its bytes to be: limits before it do not hold for a NaN."""
    low, high = byte_range(node.outputs[0])
    scheme = replace(op.scheme, low=low, high=high)
    return rewriter.build.add(Map(quantized(Arg("float32", 0), scheme)), *rewriter.inputs(node), label=node.label)


def _is_whole(op: Reduce) -> bool:
    return op.before is not None and op.before.dtype == "int32"


def _average(scheme: Scheme) -> Expr:
    """The byte of an average, which often falls on a tie: the zero point is added first, as ONNX Runtime does."""
    value = Arg("float32", 0) / scheme.scale + float(scheme.zero)
    return stored(Stored(value, "round", 0, scheme.low, scheme.high, scheme.dtype))


def _limited(expr: Expr, op: Quantize) -> Expr:
    """The byte of an expression; limits at its end become the byte's."""
    scheme = op.scheme
    value, low, high = limits_of(expr, scheme)
    if op.nearest and (formula := byte_formula(value, scheme, low, high)) is not None:
        return formula
    return stored(Stored(in_quanta(value, op), "round", scheme.zero, low, high, scheme.dtype))


def _spelled_out(graph: Graph) -> Graph:
    """What is left of numbers made of bytes, as maps."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        match node.op:
            case Dequantize(scheme):
                op = Map(dequantized(Arg(scheme.dtype, 0), scheme))
            case _:
                rewriter.copy(node)
                continue
        rewriter.put(node, [rewriter.build.add(op, *rewriter.inputs(node), label=node.label)])
    return rewriter.finish()
