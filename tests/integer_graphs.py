"""Graphs of whole numbers, compiled without a manifest and run bare, beside the interpreter."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import wasmtime

from littoral.compiler.emit import emit
from littoral.compiler.ir.expr import Arg, Expr, cast, number
from littoral.compiler.ir.graph import Builder, Graph, Value
from littoral.compiler.ir.ops import IntegerConv, Window
from littoral.compiler.ir.quanta import Stored, stored
from littoral.compiler.ir.reference import interpret
from littoral.compiler.ir.types import TensorType
from littoral.compiler.plan import lay_out, program_of
from littoral.compiler.wasm import Target
from littoral.tensors import DTYPES
from model_host import ENGINE

CANARY = 0xA5


def run_graph(graph: Graph, feeds: Mapping[str, Any], target: Target = "relaxed") -> dict[str, Any]:
    """Outputs of the compiled graph. Memory around the buffers, and what they hold before, is not zero."""
    layout = lay_out(graph, program_of(graph))
    module, _ = emit(layout, target)
    segment = (layout.constants_at, layout.constants) if layout.constants else None
    store = wasmtime.Store(ENGINE)
    wasm = module.encode(layout.pages, segment)
    exports = wasmtime.Instance(store, wasmtime.Module(ENGINE, wasm), []).exports(store)
    memory = np.ctypeslib.as_array(exports["memory"].data_ptr(store), (exports["memory"].data_len(store),))
    memory[layout.arena_at :] = CANARY

    def view(value: Value) -> Any:
        at = layout.address(value).at
        return memory[at : at + value.type.bytes].view(DTYPES[value.dtype].storage).reshape(value.shape)

    for value in graph.inputs:
        view(value)[...] = feeds[value.name]
    outside = np.ones(memory.size, bool)
    outside[: layout.arena_at] = False
    for buffer in layout.buffers:
        at = layout.addresses[buffer.key]
        outside[at : at + buffer.bytes] = False
    exports["run"](store)
    assert (memory[outside] == CANARY).all(), "wrote outside its buffers"
    if len(graph.nodes) == 1:
        for value in graph.inputs:
            np.testing.assert_array_equal(view(value), feeds[value.name], "wrote over its inputs")
    return {name: view(value).copy() for name, value in graph.outputs}


def assert_same(graph: Graph, feeds: Mapping[str, Any], target: Target | None = None) -> dict[str, Any]:
    """The compiled graph gives the interpreter's bits: for one target, or with vectors and without."""
    want = interpret(graph, feeds)
    got: dict[str, Any] = {}
    for each in (target,) if target else ("relaxed", "mvp"):
        got = run_graph(graph, feeds, each)
        for name, array in want.items():
            assert got[name].dtype == array.dtype
            np.testing.assert_array_equal(got[name], array)
    return got


def kinds_of(graph: Graph) -> list[str]:
    return [s.kernel.kind for call in program_of(graph).calls() for s in call.lowered.steps]


def to_byte(value: Expr, rounding: str = "round", zero: int = 0, low: int = 0, high: int = 127) -> Expr:
    return stored(Stored(value, rounding, zero, low, high, "int8" if low < 0 else "uint8"))


def convolution(
    x: np.ndarray,
    weights: np.ndarray,
    window: Window,
    epilogue: Expr,
    *,
    groups: int = 1,
    fill: int = 0,
    limits: tuple[int, int] = (0, 127),
    extras: Mapping[str, np.ndarray] | None = None,
    scale: float | None = None,
    table: bytes = b"",
) -> tuple[Graph, dict[str, np.ndarray]]:
    """One `IntegerConv` whose sums, scaled, spread over some hundred quanta."""
    rng = np.random.default_rng(weights.size)
    build = Builder()
    outputs = weights.shape[0]
    reach = np.abs(weights.astype(np.float64)).reshape(outputs, -1).sum(1).max() * max(map(abs, limits))
    scales = (rng.uniform(0.5, 1.5, outputs) * (scale or 600 / max(reach, 1))).astype("f4")
    bias = rng.integers(-200, 200, outputs).astype("i4") + np.rint(60 / scales).astype("i4")
    op = IntegerConv(window, groups, fill, *limits, epilogue, table)
    feeds = {"x": x, **(extras or {})}
    inputs = {name: build.input(name, TensorType(a.dtype.name, a.shape)) for name, a in feeds.items()}
    constants = [build.constant(a) for a in (weights, bias, scales)]
    out = build.add(op, inputs["x"], *constants, *(inputs[name] for name in extras or {}), label="conv")
    return build.finish([("y", out)]), feeds


PLAIN = Arg("float32", 0)


def residual(factor: float, dtype: str = "uint8") -> Expr:
    """The sum and a further input's byte, times a number."""
    return PLAIN + cast(Arg(dtype, 1), "float32") * number("float32", factor)
