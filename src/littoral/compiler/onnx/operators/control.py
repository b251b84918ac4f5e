"""If, Loop and Scan."""

from collections.abc import Sequence

import numpy as np

from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.ir.maps import scalar_constant
from littoral.compiler.ir.ops import Branch, Repeat, Slice, Transpose
from littoral.compiler.ir.types import TensorType
from littoral.compiler.onnx.importer import Body, OnnxNode, operator
from littoral.errors import ShapeError

RUNS_MAX = 1 << 24
_INDEX = TensorType("int64", ())
_FLAG = TensorType("bool", ())


@operator("If", keeps_halves=True)
def if_else(node: OnnxNode) -> Sequence[Value]:
    """A constant condition chooses now; otherwise both branches are kept, and must give the same types."""
    condition = node.input(0)
    bodies = node.graph("then_branch"), node.graph("else_branch")
    known = scalar_constant(condition)
    if known is not None:
        chosen = node.import_body(bodies[0] if known.value else bodies[1], None)
        assert isinstance(chosen, list)
        return chosen
    imported = [node.import_body(body, ()) for body in bodies]
    then, otherwise = (body for body in imported if isinstance(body, Body))
    both = [*then.captured, *(v for v in otherwise.captured if v not in then.captured)]
    graphs = [_with_inputs(body, both) for body in (then, otherwise)]
    try:
        return node.build.add_all(Branch(*graphs), condition, *both)
    except ShapeError:
        node.unsupported("has branches of different types, which is not supported")


def _with_inputs(body: Body, wanted: list[Value]) -> Graph:
    """The body with one input for each wanted outer value, in their order."""
    own = dict(zip(body.captured, body.graph.inputs, strict=True))
    body.graph.inputs = [own.get(v) or Value(v.type, f"unread {i}") for i, v in enumerate(wanted)]
    return body.graph


@operator("Loop", keeps_halves=True)
def loop(node: OnnxNode) -> Sequence[Value]:
    """The number of runs must be known; a condition may end the loop where nothing is collected."""
    runs, first = node.optional(0), node.optional(1)
    start = [node.input(i) for i in range(2, len(node.proto.input))]
    start_flag = scalar_constant(first) if first is not None else None
    if first is not None and start_flag is None:
        node.unsupported("needs its first condition to be constant")
    graph = node.graph("body")
    count = _known_runs(node, runs)
    if start_flag is not None and not start_flag.value:
        count = 0
    types = [_INDEX, _FLAG, *(v.type for v in start)]
    body = node.import_body(graph, types)
    assert isinstance(body, Body)
    flag = body.graph.outputs[0][1]
    goes_on = scalar_constant(flag)
    always = flag is body.graph.inputs[1] or (goes_on is not None and bool(goes_on.value))
    if not always and len(body.graph.outputs) - 1 > len(start):
        node.unsupported("collects results while a condition may end it, which is not supported")
    index, flag_in, *rest = body.graph.inputs
    flag_in.data = np.asarray(True)  # the body would not run otherwise
    body.graph.inputs = [index, *rest]
    if always:
        body.graph.outputs = body.graph.outputs[1:]
    return node.build.add_all(Repeat(body.graph, count, len(start), stops=not always), *start, *body.captured)


def _known_runs(node: OnnxNode, runs: Value | None) -> int:
    known = None if runs is None else scalar_constant(runs)
    if known is None:
        node.unsupported("needs its number of runs to be constant")
    if not 0 <= int(known.value) <= RUNS_MAX:
        node.unsupported(f"runs {known.value} times, at most {RUNS_MAX}")
    return int(known.value)


@operator("Scan", keeps_halves=True)
def scan(node: OnnxNode) -> Sequence[Value]:
    if node.opset < 9:
        node.unsupported("with batches is not supported")
    scanned_count = node.integer("num_scan_inputs", 1)
    inputs = node.inputs()
    start, arrays = inputs[: len(inputs) - scanned_count], inputs[len(inputs) - scanned_count :]
    axes = node.integers("scan_input_axes", (0,) * scanned_count)
    turned = node.integers("scan_input_directions", (0,) * scanned_count)
    lined = [
        _turned(node, _to_front(node, v, node.normal_axis(axis, v.type.rank)), bool(flip))
        for v, axis, flip in zip(arrays, axes, turned, strict=True)
    ]
    count = lined[0].shape[0]
    types = [*(v.type for v in start), *(TensorType(v.dtype, v.shape[1:]) for v in lined)]
    body = node.import_body(node.graph("body"), types)
    assert isinstance(body, Body)
    body.graph.inputs = [Value(_INDEX, "run"), *body.graph.inputs]
    op = Repeat(body.graph, count, len(start), scanned_count)
    results = node.build.add_all(op, *start, *lined, *body.captured)
    collected = results[len(start) :]
    out_axes = node.integers("scan_output_axes", (0,) * len(collected))
    out_turned = node.integers("scan_output_directions", (0,) * len(collected))
    moved = [
        _from_front(node, _turned(node, v, bool(flip)), node.normal_axis(axis, v.type.rank))
        for v, axis, flip in zip(collected, out_axes, out_turned, strict=True)
    ]
    return [*results[: len(start)], *moved]


@operator("OptionalHasElement", keeps_halves=True)
def optional_has_element(node: OnnxNode) -> Value:
    """A tensor is there; an input that is left out is not."""
    return node.constant(np.asarray(node.optional(0) is not None))


@operator("OptionalGetElement", keeps_halves=True)
def optional_get_element(node: OnnxNode) -> Value:
    return node.input(0)


def _to_front(node: OnnxNode, x: Value, axis: int) -> Value:
    order = (axis, *(a for a in range(x.type.rank) if a != axis))
    return x if axis == 0 else node.add(Transpose(order), x)


def _from_front(node: OnnxNode, x: Value, axis: int) -> Value:
    order = [*range(1, axis + 1), 0, *range(axis + 1, x.type.rank)]
    return x if axis == 0 else node.add(Transpose(tuple(order)), x)


def _turned(node: OnnxNode, x: Value, flip: bool) -> Value:
    if not flip:
        return x
    rank = x.type.rank
    return node.add(Slice((x.shape[0] - 1, *(0,) * (rank - 1)), (-1, *(1,) * (rank - 1)), x.shape), x)
