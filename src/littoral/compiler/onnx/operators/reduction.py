"""Reductions, pooling, softmax."""

from collections.abc import Callable, Sequence

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Map, Pool, Reduce, Reshape
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.compiler.onnx.operators import dynamic
from littoral.compiler.onnx.operators.contraction import window
from littoral.compiler.onnx.operators.pooling import places_of_largest

# combine, what is combined of x, what becomes of the result y for n elements
_Form = tuple[str, Callable[[Expr], Expr] | None, Callable[[Expr, int], Expr] | None]
_FORMS: dict[str, _Form] = {
    "ReduceSum": ("sum", None, None),
    "ReduceMean": ("sum", None, lambda y, n: y * (1.0 / n) if y.dtype.startswith("float") else y / n),
    "ReduceMax": ("max", None, None),
    "ReduceMin": ("min", None, None),
    "ReduceProd": ("prod", None, None),
    "ReduceL1": ("sum", lambda x: apply("abs", x), None),
    "ReduceL2": ("sum", lambda x: x * x, lambda y, _: apply("sqrt", y)),
    "ReduceSumSquare": ("sum", lambda x: x * x, None),
    "ReduceLogSum": ("sum", None, lambda y, _: apply("log", y)),
}
_AXES_INPUT_SINCE = {"ReduceSum": 13}
_SCATTERED = {"sum": "add", "prod": "mul", "max": "max", "min": "min"}
# what becomes of the result y for n elements, where n is known at run time
_AFTER: dict[str, Callable[[Expr, Expr], Expr]] = {
    "ReduceMean": lambda y, n: y / cast(n, y.dtype),
    "ReduceL2": lambda y, _: apply("sqrt", y),
    "ReduceLogSum": lambda y, _: apply("log", y),
}


@operator(*_FORMS)
def reduce(node: OnnxNode) -> Value:
    """Axes are an attribute, or since opset 18 (sums: 13) an input."""
    if (given := _axes_at_run_time(node)) is not None:
        combine, before, _ = _FORMS[node.op]
        x, arg = node.input(0), Arg(node.input(0).dtype, 0)
        keep = bool(node.integer("keepdims", 1))
        node.ignore("noop_with_empty_axes")
        return dynamic.reduce(
            node, x, given, _SCATTERED[combine], before(arg) if before else arg, _AFTER.get(node.op), keep
        )
    x, axes, keep = _axes_of(node)
    return x if axes is None else reduced(node, x, axes, node.op, keep)


def _axes_at_run_time(node: OnnxNode) -> Value | None:
    """The axes, where they are an input that is not known yet; without elements they are none, and known."""
    if node.opset < _AXES_INPUT_SINCE.get(node.op, 18):
        return None
    given = node.optional(1)
    return None if given is None or given.data is not None or given.type.elements == 0 else given


def _axes_of(node: OnnxNode) -> tuple[Value, tuple[int, ...] | None, bool]:
    """Input, axes (None: nothing is reduced), and whether they stay as 1."""
    x, stays = node.input(0), bool(node.integer("noop_with_empty_axes", 0))
    keep = bool(node.integer("keepdims", 1))
    if node.opset >= _AXES_INPUT_SINCE.get(node.op, 18):
        listed = node.optional(1)
        empty = listed is None or listed.type.elements == 0
        given = None if empty else tuple(int(a) for a in node.array(1, "axes").reshape(-1))
        if not given and stays:
            return x, None, keep
    else:
        given = node.optional_integers("axes")
    if not given:
        return x, tuple(range(x.type.rank)), keep
    return x, tuple(sorted({node.normal_axis(a, x.type.rank) for a in given})), keep


@operator("ReduceLogSumExp")
def reduce_log_sum_exp(node: OnnxNode) -> Value:
    """max + ln Σ e^(x − max)."""
    if (given := _axes_at_run_time(node)) is not None:
        return _log_sum_exp_at_run_time(node, node.input(0), given)
    x, axes, keep = _axes_of(node)
    if axes is None:
        return x
    if not x.type.elements and any(not x.shape[a] for a in axes):
        kept = tuple(1 if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes)
        return node.constant(np.full(kept, -np.inf), x.dtype)
    largest = reduced(node, x, axes, "ReduceMax", keep=True)
    a, b = Arg(x.dtype, 0), Arg(x.dtype, 1)
    finite = apply("select", b < float("inf"), b.at_least(-3e38), number(x.dtype, 0.0))
    total = node.add(Reduce("sum", axes, apply("exp", a - finite), apply("log", a)), x, largest)
    found = node.add(Map(a + finite), total, largest)
    return found if keep else node.add(Reshape(tuple(d for i, d in enumerate(x.shape) if i not in axes)), found)


def _log_sum_exp_at_run_time(node: OnnxNode, x: Value, axes: Value) -> Value:
    """In float64, from the largest element of all: its range leaves room for any group."""
    keep = bool(node.integer("keepdims", 1))
    node.ignore("noop_with_empty_axes")
    if x.type.elements:
        largest = reduced(node, x, tuple(range(x.type.rank)), "ReduceMax", keep=False)
    else:
        largest = node.constant(0, x.dtype)
    a, b = (cast(Arg(x.dtype, i), "float64") for i in (0, 1))
    powers = node.add(Map(apply("exp", a - b)), x, largest)
    total = dynamic.reduce(node, powers, axes, "add", Arg("float64", 0), lambda y, _: apply("log", y), keep)
    found = node.add(Map(cast(Arg("float64", 0) + cast(Arg(x.dtype, 1), "float64"), x.dtype)), total, largest)
    node.dims[found] = node.dims[total]
    return found


def reduced(node: OnnxNode, x: Value, axes: tuple[int, ...], form: str, keep: bool) -> Value:
    combine, before, after = _FORMS[form]
    count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    if combine in ("max", "min") and count == 0:
        node.unsupported("of no elements")
    arg = Arg(x.dtype, 0)
    op = Reduce(combine, axes, before(arg) if before else None, after(arg, count) if after else None)
    result = node.add(op, x)
    if keep:
        return result
    return node.add(Reshape(tuple(d for i, d in enumerate(x.shape) if i not in axes)), result)


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: OnnxNode) -> Value:
    form = "ReduceMean" if node.op == "GlobalAveragePool" else "ReduceMax"
    x = node.input(0)
    return reduced(node, x, tuple(range(2, x.type.rank)), form, keep=True)


@operator("MaxPool", "AveragePool")
def pool(node: OnnxNode) -> Sequence[Value]:
    x = node.input(0)
    if node.op == "MaxPool":
        node.ignore("storage_order")
    elif not x.dtype.startswith("float"):
        node.unsupported(f"of {x.dtype}")
    shape = window(node, x.shape[2:], node.integers("kernel_shape", ()))
    op = Pool(
        "max" if node.op == "MaxPool" else "mean",
        shape,
        ceil=bool(node.integer("ceil_mode", 0)),
        counts_pads=node.op == "AveragePool" and bool(node.integer("count_include_pad", 0)),
    )
    out = node.add(op, x)
    wants_places = node.op == "MaxPool" and len(node.proto.output) > 1
    return [out, places_of_largest(node, x, op, out)] if wants_places else [out]
