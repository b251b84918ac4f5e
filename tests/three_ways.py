"""One model run three ways: the interpreter before and after each pass, compiled modules, and ONNX Runtime."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx as onnx_project
import onnxruntime
from onnx import helper

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.reference import interpret
from littoral.compiler.ir.verify import verify
from littoral.compiler.passes import PASSES, inside_bodies
from model_host import run_bare
from model_maker import Made, arrays_for
from random_models import random_model

LIMIT = 1e-4
RUNTIME_ERRORS = tuple(
    error
    for error in vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
    if isinstance(error, type) and issubclass(error, Exception)
)
REASSOCIATING = {"fold-affine", "decompose", "decompose-softmax", "canonicalize", "simplify", "sink-transposes"}
BY_ELEMENT = {"map", "transpose", "reshape", "slice", "concat", "gather", "pad", "spread", "require"}


class DifferenceError(AssertionError):
    """Two ways do not agree."""


def oracle(made: Made) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(made.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, made.feeds), strict=True))


def agree(what: str, got: Mapping[str, Any], want: Mapping[str, Any], limit: float) -> None:
    """limit: of the largest magnitude, at least 1; 0 for the same bits (any NaN is like another)."""
    if got.keys() != want.keys():
        raise DifferenceError(f"{what}: outputs {sorted(got)}, expected {sorted(want)}")
    for name, array in want.items():
        found = got[name]
        if (found.shape, found.dtype) != (array.shape, array.dtype):
            raise DifferenceError(
                f"{what}: `{name}` is {found.dtype}{found.shape}, expected {array.dtype}{array.shape}"
            )
        if limit == 0 or array.dtype.kind != "f":
            same = np.array_equal(found, array, equal_nan=array.dtype.kind == "f")
            if not same or (array.dtype.kind == "f" and limit == 0 and not _same_zeros(found, array)):
                raise DifferenceError(f"{what}: `{name}` differs in its bits: {_first(found, array)}")
            continue
        finite = np.isfinite(array)
        if not np.array_equal(found[~finite], array[~finite], equal_nan=True):
            raise DifferenceError(f"{what}: `{name}` differs where it is no number")
        scale = max(float(np.abs(array[finite]).max(initial=0)), 1.0)
        error = np.abs(found[finite].astype(np.float64) - array[finite]).max(initial=0) / scale
        if not error <= limit:
            raise DifferenceError(f"{what}: `{name}` is off by {error:.2g} of {scale:.3g}: {_first(found, array)}")


def _same_zeros(a: Any, b: Any) -> bool:
    return bool(np.array_equal(np.signbit(a[a == 0]), np.signbit(b[a == 0])))


def _first(found: Any, wanted: Any) -> str:
    same = (found == wanted) | ((found != found) & (wanted != wanted))
    at = np.unravel_index(int(np.argmax(~same)), found.shape) if found.shape else ()
    return f"at {tuple(map(int, at))} {found[at]} instead of {wanted[at]}"


def check(made: Made) -> None:
    """Raises DifferenceError, or what the compiler raises."""
    try:
        wanted = oracle(made)
    except RUNTIME_ERRORS:
        return  # what ONNX Runtime refuses is no model
    data = made.model.SerializeToString()
    graph = onnx.import_model(onnx.decode_model(data), {}, None)
    verify(graph)
    start = interpret(graph, made.feeds)
    agree("the interpreter against ONNX Runtime", start, wanted, LIMIT)
    last = check_passes(graph, made.feeds, start)
    wasm = compile_model(data).wasm
    got = run_bare(wasm, made.feeds)
    limit = 0.0 if {n.op.name for n in last.nodes} <= BY_ELEMENT else LIMIT
    agree("the module against the interpreter", got, interpret(last, made.feeds), limit)
    for target in ("simd128", "mvp"):
        agree(f"{target} against relaxed", run_bare(compile_model(data, target=target).wasm, made.feeds), got, 0.0)


def check_passes(graph: Graph, feeds: Mapping[str, Any], start: Mapping[str, Any]) -> Graph:
    """Each pass alone: what comes behind it is valid, and gives what came before it. The last graph."""
    before = start
    for name, run in PASSES.items():
        graph = run(graph)
        verify(graph)
        after = interpret(graph, feeds)
        agree(f"the interpreter after `{name}`", after, before, LIMIT if name in REASSOCIATING else 0.0)
        before = after
    graph = inside_bodies(graph, _all)
    agree("the interpreter after passes inside bodies", interpret(graph, feeds), before, LIMIT)
    return graph


def _all(graph: Graph) -> Graph:
    for run in PASSES.values():
        graph = run(graph)
    return graph


def failure(made: Made) -> str | None:
    """What goes wrong, if anything; the kind of the error first."""
    try:
        check(made)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what is to be made smaller
        return f"{type(error).__name__}: {error}"
    return None


def assert_three_ways(seed: int, nodes: int = 12) -> None:
    """Fails with the smallest model that goes wrong like the model of the seed."""
    made = random_model(seed, nodes)
    if (why := failure(made)) is None:
        return
    kind = why.partition(":")[0]
    small = smaller(made, lambda m: (failure(m) or "").partition(":")[0] == kind)
    text = onnx_project.printer.to_text(_without_weights(small.model))
    raise AssertionError(f"seed {seed}, {nodes} nodes: {failure(small)}\n{text}\nbefore it was made smaller: {why}")


def smaller(made: Made, fails: Callable[[Made], bool]) -> Made:
    """Nodes are taken away, what they made becoming inputs, as long as it still fails."""
    changed = True
    while changed:
        changed = False
        for attempt in (*_fewer_outputs(made.model), *_fewer_nodes(made.model)):
            found = Made(attempt, arrays_for(attempt.graph.input, 1))
            if fails(found):
                made, changed = found, True
                break
    return made


def _fewer_outputs(model: onnx_project.ModelProto) -> list[onnx_project.ModelProto]:
    outputs = list(model.graph.output)
    return [_rebuilt(model, list(model.graph.node), [o]) for o in outputs] if len(outputs) > 1 else []


def _fewer_nodes(model: onnx_project.ModelProto) -> list[onnx_project.ModelProto]:
    """Without each node in turn: it is the end (what it read comes out), or what it made goes in."""
    nodes, found = list(model.graph.node), []
    typed = {v.name: v for v in onnx_project.shape_inference.infer_shapes(model).graph.value_info}
    typed |= {v.name: v for v in (*model.graph.input, *model.graph.output)}
    for i, node in enumerate(nodes):
        rest = nodes[:i] + nodes[i + 1 :]
        made = {name for name in node.output if name}
        kept = [o for o in model.graph.output if o.name not in made]
        if kept and made <= typed.keys():
            found.append(_rebuilt(model, rest, kept, [typed[n] for n in made]))
        sources = {n for other in rest for n in other.output}
        ends = [typed[n] for n in node.input if n in typed and n in sources]
        if not kept and ends:
            found.append(_rebuilt(model, rest, ends))
    return found


def _rebuilt(
    model: onnx_project.ModelProto, nodes: list[Any], outputs: list[Any], more_inputs: list[Any] | None = None
) -> onnx_project.ModelProto:
    """The model of what these outputs need."""
    needed = {o.name for o in outputs}
    kept: list[Any] = []
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.insert(0, node)
            needed |= set(node.input) | _read_inside(node)
    inputs = [i for i in (*model.graph.input, *(more_inputs or [])) if i.name in needed]
    weights = [w for w in model.graph.initializer if w.name in needed]
    graph = helper.make_graph(kept, model.graph.name, inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _read_inside(node: Any) -> set[str]:
    return {n for a in node.attribute if a.HasField("g") for inner in a.g.node for n in inner.input}


def _without_weights(model: onnx_project.ModelProto) -> onnx_project.ModelProto:
    """Long constants as nothing but their shape."""
    shown = onnx_project.ModelProto()
    shown.CopyFrom(model)
    for weight in shown.graph.initializer:
        if np.prod(weight.dims) > 16:
            weight.ClearField("raw_data")
    return shown
