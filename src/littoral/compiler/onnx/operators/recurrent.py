"""LSTM, GRU and RNN: the products with the inputs are done at once, the rest runs step by step.

Equations and names: ONNX operator specification. Gates lie one after the other in the weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, apply, cast
from littoral.compiler.ir.graph import Builder, Graph, Value
from littoral.compiler.ir.ops import Concat, Map, MatMul, Repeat, Reshape, Slice, Transpose
from littoral.compiler.ir.types import TensorType
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.errors import ShapeError

_Activation = Callable[[Expr, float, float], Expr]

ACTIVATIONS: dict[str, tuple[_Activation, float, float]] = {
    "sigmoid": (lambda x, _a, _b: apply("sigmoid", x), 0.0, 0.0),
    "tanh": (lambda x, _a, _b: apply("tanh", x), 0.0, 0.0),
    "relu": (lambda x, _a, _b: x.at_least(0.0), 0.0, 0.0),
    "affine": (lambda x, a, b: x * a + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a, _b: apply("select", x < 0.0, x * a, x), 0.01, 0.0),
    "thresholdedrelu": (lambda x, a, _b: apply("select", x > a, x, x * 0.0), 1.0, 0.0),
    "scaledtanh": (lambda x, a, b: apply("tanh", x * b) * a, 1.0, 1.0),
    "hardsigmoid": (lambda x, a, b: (x * a + b).at_least(0.0).at_most(1.0), 0.2, 0.5),
    "elu": (lambda x, a, _b: apply("select", x < 0.0, (apply("exp", x.at_most(0.0)) - 1.0) * a, x), 1.0, 0.0),
    "softsign": (lambda x, _a, _b: x / (apply("abs", x) + 1.0), 0.0, 0.0),
    "softplus": (lambda x, _a, _b: apply("softplus", x), 0.0, 0.0),
}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass
class _Cell:
    """One direction of a recurrent operator."""

    node: OnnxNode
    kind: str
    hidden: int
    activations: list[Callable[[Expr], Expr]]
    clip: float | None
    coupled: bool  # LSTM: the forget gate is what the input gate leaves. GRU: the reset gate comes after the product
    build: Builder

    def map(self, formula: Callable[..., Expr], *inputs: Value) -> Value:
        return self.build.add(Map(formula(*(Arg(v.dtype, i) for i, v in enumerate(inputs)))), *inputs)

    def gate(self, x: Value, index: int) -> Value:
        shape = (*x.shape[:-1], self.hidden)
        starts = (0,) * (x.type.rank - 1) + (index * self.hidden,)
        return self.build.add(Slice(starts, (1,) * x.type.rank, shape), x)

    def clipped(self, x: Expr) -> Expr:
        return x if self.clip is None else x.at_least(-self.clip).at_most(self.clip)

    def times(self, h: Value, weights: Value) -> Value:
        return self.build.add(MatMul(), h, weights)


def _step_rnn(c: _Cell, x: Value, h: Value, r: Value, _bias: Value | None, _p: Value | None) -> tuple[Value, ...]:
    (f,) = c.activations
    return (c.map(lambda a, b: f(c.clipped(a + b)), x, c.times(h, r)),)


def _step_gru(c: _Cell, x: Value, h: Value, r: Value, bias: Value | None, _p: Value | None) -> tuple[Value, ...]:
    f, g = c.activations
    n = c.hidden
    if c.coupled:
        product = c.times(h, r)
        if bias is not None:
            product = c.map(lambda a, b: a + b, product, bias)
        z, reset, new = (c.gate(product, i) for i in range(3))
        z = c.map(lambda a, b: f(c.clipped(a + b)), c.gate(x, 0), z)
        reset = c.map(lambda a, b: f(c.clipped(a + b)), c.gate(x, 1), reset)
        new = c.map(lambda a, b, s: g(c.clipped(a + s * b)), c.gate(x, 2), new, reset)
    else:
        first = c.build.add(Slice((0, 0), (1, 1), (n, 2 * n)), r)
        last = c.build.add(Slice((0, 2 * n), (1, 1), (n, n)), r)
        product = c.times(h, first)
        z = c.map(lambda a, b: f(c.clipped(a + b)), c.gate(x, 0), c.gate(product, 0))
        reset = c.map(lambda a, b: f(c.clipped(a + b)), c.gate(x, 1), c.gate(product, 1))
        held = c.times(c.map(lambda a, b: a * b, reset, h), last)
        new = c.map(lambda a, b: g(c.clipped(a + b)), c.gate(x, 2), held)
    return (c.map(lambda u, a, b: (1.0 - u) * a + u * b, z, new, h),)


def _step_lstm(c: _Cell, x: Value, state: Sequence[Value], r: Value, peepholes: Value | None) -> tuple[Value, Value]:
    f, g, last = c.activations
    h, cell = state
    total = c.map(lambda a, b: a + b, x, c.times(h, r))
    i, o, forget, new = (c.gate(total, k) for k in range(4))
    if peepholes is not None:
        p = [c.gate(peepholes, k) for k in range(3)]
        i = c.map(lambda a, w, s: f(c.clipped(a + w * s)), i, p[0], cell)
    else:
        i = c.map(lambda a: f(c.clipped(a)), i)
    if c.coupled:
        forget = c.map(lambda a: 1.0 - a, i)
    elif peepholes is not None:
        forget = c.map(lambda a, w, s: f(c.clipped(a + w * s)), forget, p[2], cell)
    else:
        forget = c.map(lambda a: f(c.clipped(a)), forget)
    after = c.map(lambda u, s, v, w: u * s + v * g(c.clipped(w)), forget, cell, i, new)
    if peepholes is not None:
        o = c.map(lambda a, w, s: f(c.clipped(a + w * s)), o, p[1], after)
    else:
        o = c.map(lambda a: f(c.clipped(a)), o)
    return c.map(lambda u, s: u * last(s), o, after), after


@operator("LSTM", "GRU", "RNN")
def recurrent(node: OnnxNode) -> list[Value]:
    x, w, r = node.input(0), node.input(1), node.input(2)
    bias, lengths, start_h = node.optional(3), node.optional(4), node.optional(5)
    start_c, peepholes = node.optional(6), node.optional(7)
    if (x.type.rank, w.type.rank, r.type.rank) != (3, 3, 3):
        raise ShapeError(f"node `{node.label}`: X, W and R of ranks 3 are needed, not {x.type}, {w.type}, {r.type}")
    batch_first = bool(node.integer("layout", 0))
    if batch_first:
        x = node.add(Transpose((1, 0, 2)), x)
        start_h, start_c = (v if v is None else node.add(Transpose((1, 0, 2)), v) for v in (start_h, start_c))
    direction = node.choice("direction", "forward", ("forward", "reverse", "bidirectional"))
    hidden = node.integer("hidden_size", r.shape[-1])
    directions = ["forward", "reverse"] if direction == "bidirectional" else [direction]
    functions = _activations(node, len(directions))
    coupled = bool(node.integer("input_forget" if node.op == "LSTM" else "linear_before_reset", 0))
    clip = node.number("clip", 0.0) if node.has("clip") else None
    node.ignore("input_forget", "linear_before_reset")
    lines, last_h, last_c = [], [], []
    for d, way in enumerate(directions):
        cell = _Cell(node, node.op, hidden, functions[d], clip, coupled, node.build)
        pick = [None if v is None else _row(node, v, d) for v in (w, r, bias, start_h, start_c, peepholes)]
        line, states = _direction(cell, x, lengths, pick, way == "reverse")
        lines.append(line)
        last_h.append(states[0])
        last_c.append(states[-1])
    y = _stacked(node, lines, 1)  # [steps, directions, batch, hidden]
    finals = [_stacked(node, last_h, 0), *([_stacked(node, last_c, 0)] if node.op == "LSTM" else [])]
    if batch_first:
        y = node.add(Transpose((2, 0, 1, 3)), y)
        finals = [node.add(Transpose((1, 0, 2)), v) for v in finals]
    return [y, *finals]


def _activations(node: OnnxNode, directions: int) -> list[list[Callable[[Expr], Expr]]]:
    """The functions of each direction, with their parameters given in order to those that take one."""
    found = node.attribute("activations", 8)
    names = [s.decode() for s in found.strings] if found and found.strings else [*DEFAULTS[node.op]] * directions
    alphas, betas = list(node.numbers("activation_alpha", ())), list(node.numbers("activation_beta", ()))
    made: list[Callable[[Expr], Expr]] = []
    for name in names:
        if name.lower() not in ACTIVATIONS:
            node.unsupported(f"is `{name}`", attribute="activations", supported=tuple(ACTIVATIONS))
        function, a, b = ACTIVATIONS[name.lower()]
        a = alphas.pop(0) if alphas and name.lower() in _TAKES_ALPHA else a
        b = betas.pop(0) if betas and name.lower() in _TAKES_BETA else b
        made.append(lambda x, function=function, a=a, b=b: function(x, a, b))  # type: ignore[misc]
    each = len(DEFAULTS[node.op])
    return [made[i * each : (i + 1) * each] for i in range(directions)]


_TAKES_ALPHA = ("affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu")
_TAKES_BETA = ("affine", "scaledtanh", "hardsigmoid")


def _row(node: OnnxNode, x: Value, index: int) -> Value:
    """One direction's part of a tensor."""
    starts = (index, *(0,) * (x.type.rank - 1))
    cut = node.add(Slice(starts, (1,) * x.type.rank, (1, *x.shape[1:])), x)
    return node.add(Reshape(x.shape[1:]), cut)


def _stacked(node: OnnxNode, parts: list[Value], axis: int) -> Value:
    shape = (*parts[0].shape[:axis], 1, *parts[0].shape[axis:])
    lined = [node.add(Reshape(shape), p) for p in parts]
    return lined[0] if len(lined) == 1 else node.add(Concat(axis), *lined)


def _direction(
    cell: _Cell, x: Value, lengths: Value | None, weights: list[Value | None], backwards: bool
) -> tuple[Value, list[Value]]:
    """States of every step [steps, batch, hidden], and the last ones."""
    node, n = cell.node, cell.hidden
    w, r, bias, start_h, start_c, peepholes = weights
    assert w is not None
    assert r is not None
    steps, batch, size = x.shape
    gates = GATES[cell.kind] * n
    flat = node.add(Reshape((steps * batch, size)), x)
    product = node.add(MatMul(), flat, node.add(Transpose((1, 0)), w))
    inside, held = _biases(cell, bias, gates)
    if inside is not None:
        product = cell.map(lambda a, b: a + b, product, inside)
    lined = node.add(Reshape((steps, batch, gates)), product)
    turned = node.add(Transpose((1, 0)), r)
    zero = node.constant(np.zeros((batch, n), np.float32), x.dtype)
    states = [start_h or zero, *([start_c or zero] if cell.kind == "LSTM" else [])]
    others = [turned, *(v for v in (held, peepholes, lengths) if v is not None)]
    body, captured = _body(cell, lined, states, others, held is not None, peepholes is not None, lengths, backwards)
    if backwards:
        lined = node.add(Slice((steps - 1, 0, 0), (-1, 1, 1), lined.shape), lined)
    results = node.build.add_all(Repeat(body, steps, len(states), 1), *states, lined, *captured)
    line = results[-1]
    if backwards:
        line = node.add(Slice((steps - 1, 0, 0), (-1, 1, 1), line.shape), line)
    return line, list(results[:-1])


def _biases(cell: _Cell, bias: Value | None, gates: int) -> tuple[Value | None, Value | None]:
    """What is added to the products at once, and what belongs inside the step (GRU with `linear_before_reset`)."""
    if bias is None:
        return None, None
    first, second = (cell.build.add(Slice((i * gates,), (1,), (gates,)), bias) for i in (0, 1))
    if cell.kind == "GRU" and cell.coupled:
        return first, second
    return cell.map(lambda a, b: a + b, first, second), None


def _body(
    cell: _Cell,
    lined: Value,
    states: list[Value],
    others: list[Value],
    has_held: bool,
    has_peepholes: bool,
    lengths: Value | None,
    backwards: bool,
) -> tuple[Graph, list[Value]]:
    """One step as a graph: states and the step's products in, states and the step's output out."""
    build = Builder()
    index = build.input("run", TensorType("int64", ()))
    inner = [build.input(f"state {i}", v.type) for i, v in enumerate(states)]
    x = build.input("products", TensorType(lined.dtype, lined.shape[1:]))
    captured = [v for v in others if v.data is None]
    mapped = {v: build.input(f"outer {i}", v.type) for i, v in enumerate(captured)}
    use = [mapped.get(v, v) for v in others]
    r = use.pop(0)
    held = use.pop(0) if has_held else None
    peepholes = use.pop(0) if has_peepholes else None
    length = use.pop(0) if lengths is not None else None
    c = _Cell(cell.node, cell.kind, cell.hidden, cell.activations, cell.clip, cell.coupled, build)
    after: tuple[Value, ...]
    if cell.kind == "LSTM":
        after = _step_lstm(c, x, inner, r, peepholes)
    else:
        after = (_step_gru if cell.kind == "GRU" else _step_rnn)(c, x, inner[0], r, held, None)
    output = after[0]
    if length is not None:
        after, output = _masked(build, index, length, lined.shape[0], inner, after, backwards)
    return build.finish([*((f"next {i}", v) for i, v in enumerate(after)), ("output", output)]), captured


def _masked(
    build: Builder,
    run: Value,
    length: Value,
    steps: int,
    before: list[Value],
    after: tuple[Value, ...],
    backwards: bool,
) -> tuple[tuple[Value, ...], Value]:
    """Beyond a sequence's length states stay and outputs are 0. Backwards the short ones begin later."""
    column = build.add(Reshape((length.type.elements, 1)), length)
    at = Arg("int64", 2)
    place = (steps - 1) - at if backwards else at
    inside = place < cast(Arg(length.dtype, 3), "int64")
    kept = tuple(
        build.add(Map(apply("select", inside, Arg(a.dtype, 0), Arg(a.dtype, 1))), a, b, run, column)
        for a, b in zip(after, before, strict=True)
    )
    zero = apply("select", inside, Arg(after[0].dtype, 0), Arg(after[0].dtype, 0) * 0.0)
    return kept, build.add(Map(zero), after[0], after[0], run, column)
