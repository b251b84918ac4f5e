"""If, Loop and Scan."""

from collections.abc import Sequence

import numpy as np

from littoral.compiler.ir.expr import Arg, Const, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Builder, Graph, Value
from littoral.compiler.ir.maps import scalar_constant
from littoral.compiler.ir.ops import Branch, Concat, Map, Repeat, Require, Reshape, Slice, Transpose
from littoral.compiler.ir.types import TensorType
from littoral.compiler.onnx.importer import Body, OnnxNode, operator
from littoral.compiler.onnx.proto import GraphProto
from littoral.errors import ShapeError

RUNS_MAX = 1 << 24
SCANNED_BATCH_MAX = 64
COLLECTED_RUNS_MAX = 4096  # of a loop that data end
_INDEX = TensorType("int64", ())
_FLAG = TensorType("bool", ())


@operator("If", keeps_halves=True)
def if_else(node: OnnxNode) -> Sequence[Value]:
    """A constant condition chooses now; otherwise both branches are kept, and must give the same types.

    A branch whose shapes do not fit cannot run at these sizes: the other one is taken, and a run that asks for it ends.
    """
    condition = node.input(0)
    bodies = node.graph("then_branch"), node.graph("else_branch")
    known = scalar_constant(condition)
    if known is not None:
        chosen = node.import_body(bodies[0] if known.value else bodies[1], None)
        assert isinstance(chosen, list)
        return chosen
    imported = []
    for body, other, wanted in ((bodies[0], bodies[1], False), (bodies[1], bodies[0], True)):
        try:
            imported.append(node.import_body(body, ()))
        except ShapeError as error:
            return _only(node, condition, other, wanted, error)
    then, otherwise = (body for body in imported if isinstance(body, Body))
    both = [*then.captured, *(v for v in otherwise.captured if v not in then.captured)]
    graphs = [_with_inputs(body, both) for body in (then, otherwise)]
    try:
        return node.build.add_all(Branch(*graphs), condition, *both)
    except ShapeError:
        node.unsupported("has branches of different types, which is not supported")


def _only(node: OnnxNode, condition: Value, body: GraphProto, wanted: bool, error: ShapeError) -> list[Value]:
    """The branch for the `wanted` condition; `error` is why there is no other."""
    results = node.import_body(body, None)
    assert isinstance(results, list)
    flag = condition if wanted else node.add(Map(apply("not", Arg("bool", 0))), condition)
    return [node.add(Require(f"node `{node.label}`: its other branch: {error.message}"), flag, v) for v in results]


def _with_inputs(body: Body, wanted: list[Value]) -> Graph:
    """The body with one input for each wanted outer value, in their order."""
    own = dict(zip(body.captured, body.graph.inputs, strict=True))
    body.graph.inputs = [own.get(v) or Value(v.type, f"unread {i}") for i, v in enumerate(wanted)]
    return body.graph


@operator("Loop", keeps_halves=True)
def loop(node: OnnxNode) -> Sequence[Value]:
    """A loop whose number of runs is known is just that; one that data end keeps count of its runs."""
    runs, first = node.optional(0), node.optional(1)
    start = [node.input(i) for i in range(2, len(node.proto.input))]
    start_flag = None if first is None else scalar_constant(first)
    count = None if runs is None else scalar_constant(runs)
    if start_flag is not None and not start_flag.value:
        count = Const("int64", 0)
    if count is not None and not 0 <= int(count.value) <= RUNS_MAX:
        node.unsupported(f"runs {count.value} times, at most {RUNS_MAX}")
    body = node.import_body(node.graph("body"), [_INDEX, _FLAG, *(v.type for v in start)])
    assert isinstance(body, Body)
    flag = body.graph.outputs[0][1]
    goes_on = scalar_constant(flag)
    always = flag is body.graph.inputs[1] or (goes_on is not None and bool(goes_on.value))
    collects = len(body.graph.outputs) - 1 > len(start)
    known_start = first is None or start_flag is not None
    if count is None or not known_start or (collects and not always):
        return _counted_loop(node, body, runs, first, start)
    index, flag_in, *rest = body.graph.inputs
    flag_in.data = np.asarray(True)  # the body would not run otherwise
    body.graph.inputs = [index, *rest]
    if always:
        body.graph.outputs = body.graph.outputs[1:]
    op = Repeat(body.graph, int(count.value), len(start), stops=not always)
    return node.build.add_all(op, *start, *body.captured)


def _counted_loop(
    node: OnnxNode, body: Body, runs: Value | None, first: Value | None, start: Sequence[Value]
) -> list[Value]:
    """A loop that data end: after the last run nothing changes any more, and results are as long as there were runs."""
    collects = len(body.graph.outputs) - 1 > len(start)
    known = None if runs is None else scalar_constant(runs)
    room = COLLECTED_RUNS_MAX if collects else RUNS_MAX
    most = room if known is None else int(known.value)
    limit = node.constant(np.int64(RUNS_MAX)) if runs is None else node.add(Reshape(()), runs)
    going = node.constant(np.asarray(True)) if first is None else node.add(Reshape(()), first)
    total = node.constant(np.int64(0))
    graph = _counting(body.graph, len(start))
    op = Repeat(graph, most, 2 + len(start), stops=True)
    going, total, *results = node.build.add_all(op, going, total, *start, *body.captured, limit)
    if known is None:
        left = apply("and", Arg("bool", 0), Arg("int64", 1) < Arg("int64", 2))
        ended = node.add(Map(apply("eq", left, number("bool", 0))), going, total, limit)
        total = node.add(Require(f"node `{node.label}`: more than {most} runs"), ended, total)
    for value in results[len(start) :]:
        sizes = [Load("int64", 0, number("int32", 0)), *(number("int64", d) for d in value.shape[1:])]
        row: Expr = sizes[0]
        for axis, size in enumerate(sizes[1:], 1):
            row = apply("select", apply("eq", Position("int32", 0), number("int32", axis)), size, row)
        node.dims[value] = node.add(Map(row, (len(sizes),)), total)
    return results


def _counting(graph: Graph, states: int) -> Graph:
    """The body with two more states before its own, whether it goes on and the runs so far; a limit comes last."""
    index, flag, *rest = graph.inputs
    build = Builder()
    build.graph = graph
    total, limit = build.input("runs", _INDEX), build.input("limit", _INDEX)
    (_, says), *results = graph.outputs
    going = Arg("bool", 0)
    active = build.add(Map(apply("and", going, Arg("int64", 1) < Arg("int64", 2))), flag, index, limit)
    after = [
        build.add(Map(apply("select", Arg("bool", 0), Arg(new.dtype, 1), Arg(new.dtype, 2))), active, new, old)
        for (_, new), old in zip(results[:states], rest[:states], strict=True)
    ]
    counted = build.add(Map(Arg("int64", 0) + cast(Arg("bool", 1), "int64")), total, active)
    goes_on = build.add(Map(apply("and", Arg("bool", 0), Arg("bool", 1))), active, says)
    more = build.add(Map(apply("and", going, Arg("int64", 1) < Arg("int64", 2))), goes_on, counted, limit)
    graph.inputs = [index, flag, total, *rest, limit]
    named = [("goes on", more), ("going", goes_on), ("total", counted)]
    named += [(f"state {i}", v) for i, v in enumerate(after)]
    return build.finish([*named, *((f"added {i}", v) for i, (_, v) in enumerate(results[states:]))])


@operator("Scan", keeps_halves=True)
def scan(node: OnnxNode) -> Sequence[Value]:
    if node.opset < 9:
        return _batched_scan(node)
    scanned_count = node.integer("num_scan_inputs", 1)
    inputs = node.inputs()
    if not 1 <= scanned_count <= len(inputs):
        raise ShapeError(f"node `{node.label}`: {scanned_count} of {len(inputs)} inputs are scanned")
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


def _batched_scan(node: OnnxNode) -> list[Value]:
    """The first form: states and sequences [batch, …], each of the batch on its own."""
    if node.optional(0) is not None:
        node.unsupported("cannot take the input `sequence_lens`")
    scanned = node.integer("num_scan_inputs", 1)
    inputs = [node.input(i) for i in range(1, len(node.proto.input))]
    batch, flips = inputs[0].shape[0], node.integers("directions", (0,) * scanned)
    if not 1 <= batch <= SCANNED_BATCH_MAX or not 1 <= scanned <= len(inputs):
        node.unsupported(f"of {batch} sequences of {scanned} inputs, at most {SCANNED_BATCH_MAX}")
    rows: list[Sequence[Value]] = []
    for b in range(batch):
        own = [_element(node, v, b) for v in inputs]
        start, lines = own[: len(own) - scanned], own[len(own) - scanned :]
        lines = [_turned(node, v, bool(flip)) for v, flip in zip(lines, flips, strict=True)]
        types = [*(v.type for v in start), *(TensorType(v.dtype, v.shape[1:]) for v in lines)]
        body = node.import_body(node.graph("body"), types)
        assert isinstance(body, Body)
        body.graph.inputs = [Value(_INDEX, "run"), *body.graph.inputs]
        op = Repeat(body.graph, lines[0].shape[0], len(start), scanned)
        rows.append(node.build.add_all(op, *start, *lines, *body.captured))
    lined = [[node.add(Reshape((1, *v.shape)), v) for v in values] for values in zip(*rows, strict=True)]
    return [values[0] if batch == 1 else node.add(Concat(0), *values) for values in lined]


def _element(node: OnnxNode, x: Value, index: int) -> Value:
    """x[index]."""
    starts = (index, *(0,) * (x.type.rank - 1))
    cut = node.add(Slice(starts, (1,) * x.type.rank, (1, *x.shape[1:])), x)
    return node.add(Reshape(x.shape[1:]), cut)


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
