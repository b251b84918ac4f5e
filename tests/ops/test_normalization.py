"""Layer and root-mean-square normalisation: recognised however they are written, at every remainder, against numpy."""

from typing import Any

import numpy as np
import onnx as onnx_project
import pytest
from onnx import TensorProto, helper

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.reference import interpret
from littoral.compiler.ir.verify import verify
from littoral.compiler.passes import PASSES
from littoral.compiler.passes.fuse_normalization import fuse_normalization
from model_host import run_bare
from onnx_models import single

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 13, 15, 16, 17, 19, 31, 64, 197)
EPSILON = 1e-5


def by_numpy(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, axes: int = 1) -> np.ndarray:
    along = tuple(range(x.ndim - axes, x.ndim))
    wide = x.astype("f8")
    centered = wide - wide.mean(along, keepdims=True)
    return centered / np.sqrt((centered**2).mean(along, keepdims=True) + EPSILON) * scale + bias


def arrays(shape: tuple[int, ...], axes: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(sum(shape))
    row = shape[len(shape) - axes :]
    return (
        (rng.normal(size=shape) * 3 + 2).astype("f4"),
        rng.normal(size=row).astype("f4"),
        rng.normal(size=row).astype("f4"),
    )


def decomposed(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, shown: str = "") -> bytes:
    """As exporters write it where there is no operator for it. shown: a second output."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        helper.make_node("Sub", ["x", "mean"], ["centered"]),
        helper.make_node("Pow", ["centered", "two"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["variance"], axes=[-1]),
        helper.make_node("Add", ["variance", "epsilon"], ["more"]),
        helper.make_node("Sqrt", ["more"], ["deviation"]),
        helper.make_node("Div", ["centered", "deviation"], ["plain"]),
        helper.make_node("Mul", ["plain", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["y"], "last"),
    ]
    constants = {"two": np.float32(2), "epsilon": np.float32(EPSILON), "scale": scale, "bias": bias}
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)]
    if shown:
        outputs.append(helper.make_tensor_value_info(shown, TensorProto.FLOAT, None))
    graph = helper.make_graph(
        nodes,
        "decomposed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        outputs,
        [onnx_project.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def kinds(model: bytes) -> list[str]:
    return [layer.kind for layer in compile_model(model).manifest.layers]


def output(model: bytes, feeds: dict[str, Any]) -> np.ndarray:
    return next(iter(run_bare(compile_model(model).wasm, feeds).values()))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("form", ["operator", "decomposed"])
def test_rows(width: int, form: str) -> None:
    x, scale, bias = arrays((3, 2, width))
    operator = single("LayerNormalization", {"x": x}, {"s": scale, "b": bias}, axis=-1, epsilon=EPSILON)
    model = operator if form == "operator" else decomposed(x, scale, bias)
    assert kinds(model) == ["normalize"]
    assert np.abs(output(model, {"x": x}) - by_numpy(x, scale, bias)).max() <= 4e-6 * max(1, np.abs(scale).max())


@pytest.mark.parametrize("axes", [2, 3])
def test_several_axes_are_one_row(axes: int) -> None:
    x, scale, bias = arrays((3, 5, 3, 7), axes)
    model = single("LayerNormalization", {"x": x}, {"s": scale, "b": bias}, axis=-axes, epsilon=EPSILON)
    assert kinds(model) == ["normalize"]
    assert np.abs(output(model, {"x": x}) - by_numpy(x, scale, bias, axes)).max() <= 1e-5


def test_a_scale_may_come_at_run_time() -> None:
    x, scale, bias = arrays((4, 9))
    feeds = {"x": x, "s": scale, "b": bias}
    model = single("LayerNormalization", feeds, axis=-1, epsilon=EPSILON)
    assert kinds(model) == ["normalize"]
    assert np.abs(output(model, feeds) - by_numpy(x, scale, bias)).max() <= 1e-5


@pytest.mark.parametrize("width", [1, 6, 32])
def test_without_a_mean(width: int) -> None:
    x, scale, _ = arrays((5, width))
    model = single("RMSNormalization", {"x": x}, {"s": scale}, axis=-1, epsilon=EPSILON, opset=23)
    want = x / np.sqrt((x.astype("f8") ** 2).mean(-1, keepdims=True) + EPSILON) * scale
    assert kinds(model) == ["normalize"]
    assert np.abs(output(model, {"x": x}) - want).max() <= 1e-5


@pytest.mark.parametrize("place", [0, 6, 8])
@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_what_is_no_number_stays_in_its_row(place: int, what: float) -> None:
    x, scale, bias = arrays((3, 9))
    x[1, place] = what
    got = output(decomposed(x, scale, bias), {"x": x})
    assert np.isnan(got[1]).any()
    assert np.abs(got[[0, 2]] - by_numpy(x[[0, 2]], scale, bias)).max() <= 1e-5


def test_a_row_of_one_value_gives_the_bias() -> None:
    x, scale, bias = np.full((2, 12), 3.0, np.float32), *arrays((2, 12))[1:]
    assert np.abs(output(decomposed(x, scale, bias), {"x": x}) - bias).max() <= 1e-5


@pytest.mark.parametrize("shown", ["mean", "centered", "deviation"])
def test_what_others_read_is_computed_apart(shown: str) -> None:
    x, scale, bias = arrays((3, 9))
    model = decomposed(x, scale, bias, shown)
    assert kinds(model) != ["normalize"]
    assert np.abs(output(model, {"x": x}) - by_numpy(x, scale, bias)).max() <= 1e-5
    refused: list[str | None] = []
    fuse_normalization(graph_before(model), lambda fusion: refused.append(fusion.refused))
    assert refused[-1] == "its mean or spread is read by others too"


def graph_before(model: bytes) -> Graph:
    graph = onnx.import_model(onnx.decode_model(model), {}, None)
    for name, run in PASSES.items():
        if name == "fuse-normalization":
            break
        graph = run(graph)
    return graph


def test_the_pass_keeps_what_the_graph_means() -> None:
    x, scale, bias = arrays((3, 9))
    before = graph_before(decomposed(x, scale, bias))
    after = fuse_normalization(before)
    verify(after)
    (want,), (got,) = (interpret(graph, {"x": x}).values() for graph in (before, after))
    assert got.tobytes() == want.tobytes()
