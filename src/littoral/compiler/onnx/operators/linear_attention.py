"""Sequence mixers with a state: linear attention and causal convolution."""

import math
from collections.abc import Sequence

from littoral.compiler.ir.expr import Arg, apply
from littoral.compiler.ir.graph import Builder, Graph, Value
from littoral.compiler.ir.ops import Concat, Conv, Map, MatMul, Pad, Reduce, Repeat, Reshape, Slice, Transpose, Window
from littoral.compiler.ir.types import TensorType
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators.elementwise import mapped
from littoral.compiler.onnx.operators.picking import zeros_of
from littoral.errors import ShapeError

RULES = ("linear", "gated", "delta", "gated_delta")


@operator("LinearAttention")
def linear_attention(node: OnnxNode) -> Sequence[Value]:
    """S ← e^g · S; v ← β · (v − Sᵀk); S ← S + k vᵀ; out = scale · Sᵀq, step by step.

    Shapes: batch, steps, heads · size; the state is [batch, heads of the keys, key size, value size].
    """
    q, k, v, past = node.input(0), node.input(1), node.input(2), node.optional(3)
    rule = node.choice("update_rule", "gated_delta", RULES)
    node.ignore("chunk_size")
    decay, beta = _wanted(node, 4, "decay", "gated" in rule), _wanted(node, 5, "beta", "delta" in rule)
    heads, kv_heads = node.integer("q_num_heads", 0), node.integer("kv_num_heads", 0)
    batch, steps, _ = q.shape
    if heads < 1 or kv_heads < 1 or heads % kv_heads or q.shape[2] % heads or v.shape[2] % kv_heads:
        raise ShapeError(f"node `{node.label}`: {heads} and {kv_heads} heads of {q.type} and {v.type}")
    size, value_size = q.shape[2] // heads, v.shape[2] // kv_heads
    lined = [
        _by_step(node, q, (kv_heads, heads // kv_heads, size)),
        _by_step(node, k, (kv_heads, size, 1)),
        _by_step(node, v, (kv_heads, 1, value_size)),
    ]
    if decay is not None:
        lined.append(_by_step(node, decay, (kv_heads, decay.shape[2] // kv_heads, 1)))
    if beta is not None:
        lined.append(_by_step(node, beta, (beta.shape[2], 1, 1)))
    scale = node.number("scale", 0.0) or 1 / math.sqrt(size)
    state = past or zeros_of(node, q.dtype, (batch, kv_heads, size, value_size))
    body = _step(state, lined, decay is not None, beta is not None, scale)
    present, out = node.build.add_all(Repeat(body, steps, 1, len(lined)), state, *lined)
    turned = node.add(Transpose((1, 0, 2, 3, 4)), out)
    return [node.add(Reshape((batch, steps, heads * value_size)), turned), present]


def _wanted(node: OnnxNode, index: int, what: str, wanted: bool) -> Value | None:
    found = node.optional(index)
    if (found is not None) is not wanted:
        node.unsupported(f"{'lacks' if wanted else 'cannot take'} the input `{what}`", attribute="update_rule")
    return found


def _by_step(node: OnnxNode, x: Value, parts: tuple[int, int, int]) -> Value:
    """[batch, steps, a · b · c] as [steps, batch, a, b, c]."""
    batch, steps, _ = x.shape
    return node.add(Transpose((1, 0, 2, 3, 4)), node.add(Reshape((batch, steps, *parts)), x))


def _step(state: Value, lined: Sequence[Value], gated: bool, delta: bool, scale: float) -> Graph:
    """One step: the state and the step's parts in, the next state and the step's output out."""
    build = Builder()
    build.input("run", TensorType("int64", ()))
    s = build.input("state", state.type)
    q, k, v, *rest = (build.input(f"part {i}", TensorType(x.dtype, x.shape[1:])) for i, x in enumerate(lined))
    a, b, c = (Arg(state.dtype, i) for i in range(3))
    if gated:
        s = build.add(Map(a * apply("exp", b)), s, rest.pop(0))
    if delta:
        retrieved = build.add(Reduce("sum", (2,), a * b), s, k)
        v = build.add(Map(c * (a - b)), v, retrieved, rest.pop(0))
    s = build.add(Map(a + b * c), s, k, v)
    out = build.add(Map(a * scale), build.add(MatMul(), q, s))
    return build.finish([("next", s), ("output", out)])


@operator("CausalConvWithState")
def causal_conv_with_state(node: OnnxNode) -> Sequence[Value]:
    """Each channel over its own past; the last positions are handed on. Shapes: batch, channels, length."""
    x, w, bias, past = node.input(0), node.input(1), node.optional(2), node.optional(3)
    activation = node.choice("activation", "none", ("none", "silu", "swish"))
    size, channels = w.shape[2], x.shape[1]
    if past is not None:
        padded = node.add(Concat(2), past, x)
    else:
        padded = node.add(Pad(((0, 0), (0, 0), (size - 1, 0))), x, node.constant(0, x.dtype))
    op = Conv(Window((size,), (1,), (1,), ((0, 0),)), channels, bias=bias is not None)
    out = node.add(op, padded, w, *([bias] if bias else []))
    if activation != "none":
        out = mapped(node, lambda a: a * apply("sigmoid", a), out)
    batch, _, length = padded.shape
    kept = Slice((0, 0, length - size + 1), (1, 1, 1), (batch, channels, size - 1))
    return [out, node.add(kept, padded)]
