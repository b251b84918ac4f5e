"""Attention and what goes with it, in terms of matrix products, maps and reductions.

Shapes: batch, heads, sequence, head size; three-dimensional inputs have heads and head size in one axis.
"""

import math
from dataclasses import dataclass

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Concat, Map, MatMul, Pad, Reduce, Reshape, Slice, Softmax, Transpose
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators.elementwise import mapped
from littoral.errors import ShapeError

INDEX = "int32"
_MINUS_INFINITY = float("-inf")


def split_heads(node: OnnxNode, x: Value, heads: int) -> Value:
    """[batch, sequence, heads · size] to [batch, heads, sequence, size]."""
    batch, sequence, width = x.shape
    if heads < 1 or width % heads:
        raise ShapeError(f"node `{node.label}`: {width} values in {heads} heads")
    parts = node.add(Reshape((batch, sequence, heads, width // heads)), x)
    return node.add(Transpose((0, 2, 1, 3)), parts)


def join_heads(node: OnnxNode, x: Value) -> Value:
    batch, heads, sequence, size = x.shape
    moved = node.add(Transpose((0, 2, 1, 3)), x)
    return node.add(Reshape((batch, sequence, heads * size)), moved)


def repeat_heads(node: OnnxNode, x: Value, times: int) -> Value:
    """Each head `times` times, one after the other."""
    if times == 1:
        return x
    batch, heads, sequence, size = x.shape
    column = node.add(Reshape((batch, heads, 1, sequence, size)), x)
    spread = node.add(Map(Arg(x.dtype, 0), (batch, heads, times, sequence, size)), column)
    return node.add(Reshape((batch, heads * times, sequence, size)), spread)


@dataclass
class _Frontier:
    """Where query 0 stands among the keys: `past` keys come before it, or its batch's own number of valid keys says."""

    past: int
    valid: Value | None

    def of(self, batch_axis: int, queries: int, valid_index: int) -> Expr:
        if self.valid is None:
            return number(INDEX, self.past)
        return cast(Load(self.valid.dtype, valid_index, Position(INDEX, batch_axis)), INDEX) - queries


@operator("Attention")
def attention(node: OnnxNode) -> list[Value]:
    q, k, v = (node.input(i) for i in range(3))
    mask, past_key, past_value, valid = (node.optional(i) for i in range(3, 7))
    flat = q.type.rank == 3
    q_heads = node.integer("q_num_heads", 0 if flat else q.shape[1])
    kv_heads = node.integer("kv_num_heads", 0 if flat else k.shape[1])
    if flat:
        q = split_heads(node, q, q_heads)
        k, v = split_heads(node, k, kv_heads), split_heads(node, v, kv_heads)
    scale = math.sqrt(node.number("scale", 0.0) or 1 / math.sqrt(q.shape[3]))
    if past_key is not None and past_value is not None:
        k, v = node.add(Concat(2), past_key, k), node.add(Concat(2), past_value, v)
    present = k, v
    node.ignore("softmax_precision")
    frontier = _Frontier(past_key.shape[2] if past_key is not None else 0, None if past_key is not None else valid)
    bias = _bias(node, q, k, mask, valid, frontier)
    times = q.shape[1] // k.shape[1]
    key, value = repeat_heads(node, k, times), repeat_heads(node, v, times)
    scaled = mapped(node, lambda x: x * scale, q)
    turned = node.add(Transpose((0, 1, 3, 2)), mapped(node, lambda x: x * scale, key))
    product = node.add(MatMul(), scaled, turned)
    softcap = node.number("softcap", 0.0)
    capped = product
    if softcap > 0:
        capped = mapped(node, lambda x: apply("tanh", x / softcap) * softcap, product)
    biased = capped if bias is None else mapped(node, lambda a, b: a + b, capped, bias)
    weights = _softmax_of_rows(node, biased, bias)
    mode = node.integer("qk_matmul_output_mode", 0)
    shown = {0: capped if softcap > 0 else product, 1: capped, 2: biased, 3: weights}
    if mode not in shown:
        node.unsupported(f"is {mode}", attribute="qk_matmul_output_mode", supported=("0", "1", "2", "3"))
    out = node.add(MatMul(), weights, value)
    return [join_heads(node, out) if flat else out, *present, shown[mode]]


@operator("FlexAttention", domain="ai.onnx.preview")
def flex_attention(node: OnnxNode) -> Value:
    """Attention whose scores and shares go through graphs of the model's own."""
    q, k, v = (node.input(i) for i in range(3))
    if {q.type.rank, k.type.rank, v.type.rank} != {4} or q.shape[1] % k.shape[1]:
        raise ShapeError(f"node `{node.label}`: attention of {q.type}, {k.type} and {v.type}")
    node.ignore("softmax_precision")
    scale = math.sqrt(node.number("scale", 0.0) or 1 / math.sqrt(q.shape[3]))
    times = q.shape[1] // k.shape[1]
    key, value = repeat_heads(node, k, times), repeat_heads(node, v, times)
    turned = node.add(Transpose((0, 1, 3, 2)), mapped(node, lambda x: x * scale, key))
    scores = node.add(MatMul(), mapped(node, lambda x: x * scale, q), turned)
    shares = node.add(Softmax(3), _modified(node, "score_mod", scores))
    return node.add(MatMul(), _modified(node, "prob_mod", shares), value)


def _modified(node: OnnxNode, name: str, x: Value) -> Value:
    if not node.has(name):
        return x
    found = node.import_body(node.graph(name), None, [x])
    assert isinstance(found, list)
    return found[0]


def _bias(
    node: OnnxNode, q: Value, k: Value, mask: Value | None, valid: Value | None, frontier: _Frontier
) -> Value | None:
    """What is added to the products: 0 where a query may see a key, −∞ where not, and the mask."""
    batch, queries, keys = q.shape[0], q.shape[2], k.shape[2]
    causal = bool(node.integer("is_causal", 0))
    left, right = node.integer("left_window_size", -1), node.integer("right_window_size", -1)
    inputs: list[Value] = []
    total: Expr | None = None
    if mask is not None:
        mask = _padded_mask(node, mask, keys)
        inputs.append(mask)
        arg = Arg(mask.dtype, 0)
        total = _seen(arg, q.dtype) if mask.dtype == "bool" else arg
    allowed: list[Expr] = []
    place = len(inputs)
    if valid is not None:
        inputs.append(valid)
        allowed.append(Position(INDEX, 3) < cast(Load(valid.dtype, place, Position(INDEX, 0)), INDEX))
    start = frontier.of(0, queries, place)
    behind = Position(INDEX, 2) + start - Position(INDEX, 3)
    if causal:
        allowed.append(behind >= 0)
    if left >= 0:
        allowed.append(behind <= left)
    if right >= 0:
        allowed.append(behind >= -right)
    if total is None and not allowed:
        return None
    for condition in allowed:
        seen = _seen(condition, q.dtype)
        total = seen if total is None else total + seen
    assert total is not None
    shape = (batch if valid is not None else 1, 1, queries, keys)
    return node.add(Map(total, shape), *inputs)


def _seen(condition: Expr, dtype: str) -> Expr:
    return apply("select", condition, number(dtype, 0.0), number(dtype, _MINUS_INFINITY))


def _padded_mask(node: OnnxNode, mask: Value, keys: int) -> Value:
    """A mask that is shorter than the keys hides the rest."""
    missing = keys - mask.shape[-1]
    if missing <= 0:
        return mask
    hidden = node.constant(np.asarray(False)) if mask.dtype == "bool" else node.constant(_MINUS_INFINITY, mask.dtype)
    return node.add(Pad(((0, 0),) * (mask.type.rank - 1) + ((0, missing),)), mask, hidden)


def _softmax_of_rows(node: OnnxNode, x: Value, bias: Value | None) -> Value:
    """Softmax along the last axis; a row that may see nothing is 0."""
    a, b = Arg(x.dtype, 0), Arg(x.dtype, 1)
    largest = node.add(Reduce("max", (x.type.rank - 1,)), x)
    finite = apply("select", apply("eq", b, number(x.dtype, _MINUS_INFINITY)), number(x.dtype, 0.0), b)
    powers = node.add(Map(apply("exp", a - finite)), x, largest)
    total = node.add(Reduce("sum", (x.type.rank - 1,)), powers)
    empty = apply("eq", b, number(x.dtype, 0.0))
    share = apply("select", empty, number(x.dtype, 0.0), a / apply("select", empty, b + 1.0, b))
    found = node.add(Map(share), powers, total)
    if bias is None:
        return found
    best = node.add(Reduce("max", (bias.type.rank - 1,)), bias)
    hidden = apply("eq", b, number(x.dtype, _MINUS_INFINITY))
    return node.add(Map(apply("select", hidden, number(x.dtype, 0.0), a)), found, best)


@operator("RotaryEmbedding")
def rotary_embedding(node: OnnxNode) -> Value:
    """Pairs of values turned by an angle that depends on the position."""
    x, cos, sin, positions = node.input(0), node.input(1), node.input(2), node.optional(3)
    heads = node.integer("num_heads", 0)
    flat = x.type.rank == 3
    if flat:
        x = split_heads(node, x, heads)
    batch, _, sequence, size = x.shape
    turned = node.integer("rotary_embedding_dim", 0) or size
    half = turned // 2
    interleaved = bool(node.integer("interleaved", 0))
    if positions is not None:
        tables = [_picked(node, table, positions, half) for table in (cos, sin)]
    else:
        tables = [node.add(Reshape((batch, 1, sequence, half)), table) for table in (cos, sin)]
    first, second = _pairs(node, x, half, interleaved)
    real = mapped(node, lambda a, b, c, s: a * c - b * s, first, second, *tables)
    imaginary = mapped(node, lambda a, b, c, s: b * c + a * s, first, second, *tables)
    joined = _joined(node, real, imaginary, interleaved)
    if turned < size:
        rest = _cut(node, x, 3, turned, size - turned)
        joined = node.add(Concat(3), joined, rest)
    return join_heads(node, joined) if flat else joined


def _picked(node: OnnxNode, table: Value, positions: Value, half: int) -> Value:
    """Rows of a table [positions, half] as [batch, 1, sequence, half]."""
    batch, sequence = positions.shape
    row = cast(Load(positions.dtype, 1, Position(INDEX, 0) * sequence + Position(INDEX, 2)), INDEX)
    at = row * table.shape[1] + Position(INDEX, 3)
    return node.add(Map(Load(table.dtype, 0, at), (batch, 1, sequence, half)), table, positions)


def _cut(node: OnnxNode, x: Value, axis: int, start: int, size: int, step: int = 1) -> Value:
    starts, steps, shape = [0] * x.type.rank, [1] * x.type.rank, list(x.shape)
    starts[axis], steps[axis], shape[axis] = start, step, size
    return node.add(Slice(tuple(starts), tuple(steps), tuple(shape)), x)


def _pairs(node: OnnxNode, x: Value, half: int, interleaved: bool) -> tuple[Value, Value]:
    if interleaved:
        return _cut(node, x, 3, 0, half, 2), _cut(node, x, 3, 1, half, 2)
    return _cut(node, x, 3, 0, half), _cut(node, x, 3, half, half)


def _joined(node: OnnxNode, a: Value, b: Value, interleaved: bool) -> Value:
    if not interleaved:
        return node.add(Concat(3), a, b)
    shape = (*a.shape, 1)
    both = node.add(Concat(4), node.add(Reshape(shape), a), node.add(Reshape(shape), b))
    return node.add(Reshape((*a.shape[:-1], 2 * a.shape[-1])), both)
