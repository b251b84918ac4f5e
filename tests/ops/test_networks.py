"""Whole networks: interpreter, every pass, and the compiled module against ONNX Runtime."""

import numpy as np
import onnxruntime
import pytest

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.reference import interpret
from littoral.compiler.ir.verify import verify
from littoral.compiler.passes import PASSES
from model_host import run_bare
from onnx_models import NETWORKS


def oracle(model: bytes, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def feeds_for(model: bytes, seed: int = 1) -> dict[str, np.ndarray]:
    shape = tuple(d.dim_value for d in onnx.decode_model(model).graph.input[0].type.tensor_type.shape.dim)
    return {"x": np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)}


def assert_close(got: dict[str, np.ndarray], want: dict[str, np.ndarray], limit: float) -> None:
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].shape == array.shape
        assert got[name].dtype == array.dtype
        assert np.abs(got[name] - array).max() <= limit * np.abs(array).max(), name


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [16, 23])
def test_the_compiled_module_agrees_with_onnx_runtime(name: str, size: int) -> None:
    if name == "segmenter" and size % 2:
        size += 1
    model = NETWORKS[name](size)
    feeds = feeds_for(model)
    assert_close(run_bare(compile_model(model).wasm, feeds), oracle(model, feeds), 1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_pass_keeps_the_meaning(name: str) -> None:
    model = NETWORKS[name]()
    feeds = feeds_for(model)
    graph = onnx.import_model(onnx.decode_model(model), {}, None)
    verify(graph)
    want = interpret(graph, feeds)
    assert_close(want, oracle(model, feeds), 1e-5)
    for run in PASSES.values():
        graph = run(graph)
        verify(graph)
        assert_close(interpret(graph, feeds), want, 1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_layout_change_is_left_inside(name: str) -> None:
    """Transposes stay at most at the input and at the output."""
    graph = onnx.import_model(onnx.decode_model(NETWORKS[name]()), {}, None)
    for run in PASSES.values():
        graph = run(graph)
    left = [i for i, node in enumerate(graph.nodes) if node.op.name == "transpose"]
    inside = [i for i in left if 0 < i < len(graph.nodes) - 1]
    assert len(inside) <= (1 if name == "segmenter" else 0)  # the transposed convolution lays out its taps


def test_the_same_input_gives_the_same_bytes() -> None:
    model = NETWORKS["inverted_residual"]()
    assert compile_model(model).wasm == compile_model(model).wasm


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_in_the_file_once(name: str) -> None:
    model = NETWORKS[name](32)
    stored = sum(len(t.raw_data or b"") for t in onnx.decode_model(model).graph.initializer)
    assert compile_model(model).manifest.memory.weights[1] < 1.5 * stored + 4096


def test_names_of_classes_and_how_inputs_are_made_go_into_the_manifest() -> None:
    made = {"mean": 127, "std": 128}
    model = compile_model(NETWORKS["inverted_residual"](), labels=["idle", "worn"], preprocess=made)
    assert (model.manifest.labels, model.manifest.preprocess) == (["idle", "worn"], made)
