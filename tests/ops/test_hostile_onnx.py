"""Broken and hostile ONNX files: a clear error of the tree, never a crash, and never much time or memory."""

import os
import random
from pathlib import Path

import numpy as np
import onnx as onnx_project
import pytest
from onnx import TensorProto, helper, numpy_helper

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.errors import (
    LittoralError,
    ModelError,
    NotFoundError,
    OnnxFormatError,
    ShapeError,
    UnsupportedOperatorError,
)
from onnx_cases import collected
from onnx_models import NETWORKS, single


def model_of(nodes: list, inputs: dict[str, list], outputs: list[str], initializers: list | None = None) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_empty_tensor_value_info(n) for n in outputs],
        initializers or [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"hello, this is text and no model at all", "not a readable ONNX model"),
        (b"\x08\x09", "no graph inside"),
        (b"\x3a\xff\xff\xff\xff\x0f", "bytes, 0 are left"),
        (b"\x0a" * 3000, "not a readable ONNX model"),
    ],
)
def test_bytes_that_are_no_model(data: bytes, words: str) -> None:
    with pytest.raises(OnnxFormatError, match=words):
        compile_model(data)


def test_nesting_is_bounded() -> None:
    """A graph in an attribute of a node in a graph in an attribute …: each level is a few bytes."""
    data = b""
    for _ in range(400):
        data = b"\x32" + onnx_varint(len(data)) + data  # AttributeProto.g
        data = b"\x2a" + onnx_varint(len(data)) + data  # NodeProto.attribute
        data = b"\x0a" + onnx_varint(len(data)) + data  # GraphProto.node
    with pytest.raises(OnnxFormatError, match="nested deeper than 40"):
        compile_model(b"\x08\x09\x3a" + onnx_varint(len(data)) + data)


def onnx_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_a_million_nodes_are_refused() -> None:
    node = b"\x0a\x00"  # GraphProto.node, empty
    graph = node * 1_000_000
    with pytest.raises(OnnxFormatError, match="more than 50000 nodes"):
        compile_model(b"\x08\x09\x3a" + onnx_varint(len(graph)) + graph)


def test_a_cycle_names_its_node() -> None:
    nodes = [
        helper.make_node("Relu", ["b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
    ]
    with pytest.raises(OnnxFormatError, match=r"node `(first|second)` depends on itself"):
        compile_model(model_of(nodes, {"x": [1]}, ["a"]))


def test_a_missing_tensor_names_node_and_tensor() -> None:
    nodes = [helper.make_node("Add", ["x", "ghost"], ["y"], name="sum")]
    with pytest.raises(OnnxFormatError, match="node `sum`: input `ghost` is made by no node"):
        compile_model(model_of(nodes, {"x": [2]}, ["y"]))


def test_an_output_that_nothing_makes() -> None:
    with pytest.raises(OnnxFormatError, match="output `z`: no node makes it"):
        compile_model(model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, ["z"]))


def test_two_producers() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])]
    with pytest.raises(OnnxFormatError, match="same name"):
        compile_model(model_of(nodes, {"x": [2]}, ["y"]))


@pytest.mark.parametrize("dims", [[2**62, 2**62], [2**40], [-5], [1 << 33]])
def test_absurd_dimensions(dims: list[int]) -> None:
    with pytest.raises(ModelError):
        compile_model(model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": dims}, ["y"]))
    tensor = TensorProto(name="w", data_type=1, dims=dims, raw_data=b"\0" * 16)
    with pytest.raises(OnnxFormatError, match="tensor `w`"):
        compile_model(model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [2]}, ["y"], [tensor]))


def test_data_of_the_wrong_length() -> None:
    tensor = TensorProto(name="w", data_type=1, dims=[4], raw_data=b"\0" * 15)
    with pytest.raises(OnnxFormatError, match=r"tensor `w`: 15 bytes for float32\[4\], expected 16"):
        compile_model(model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [4]}, ["y"], [tensor]))


def test_open_dimensions_say_what_to_give() -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": ["batch", 3]}, ["y"])
    with pytest.raises(ShapeError, match=r"input `x`: dimensions `batch` are left open · hint: .*shapes="):
        compile_model(model)
    assert compile_model(model, shapes={"x": (2, 3)}).manifest.variants[0].inputs[0].shape == (2, 3)
    with pytest.raises(ShapeError, match="the model has no input `z`; its inputs: x"):
        compile_model(model, shapes={"z": (2, 3)})
    with pytest.raises(ShapeError, match=r"shape \[2, 4\] was given, the model declares \['batch', 3\]"):
        compile_model(model, shapes={"x": (2, 4)})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: single("Frobnicate", {"x": np.zeros(3, "f4")}),
            r"node `node`: `Frobnicate` \(opset 17\) is not supported",
        ),
        (
            lambda: single(
                "Conv", {"x": np.zeros((1, 3, 8, 8), "f4")}, {"w": np.zeros((4, 3, 3, 3), "f4")}, shape_tricks=1
            ),
            "attribute `shape_tricks` is not supported",
        ),
        (
            lambda: single(
                "Resize", {"x": np.zeros((1, 1, 2, 2), "f4")}, {"none": 0, "s": np.ones(4, "f4")}, mode="spline"
            ),
            "attribute `mode` is `spline`; supported: nearest, linear, cubic",
        ),
    ],
)
def test_what_is_not_supported_is_named(make, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UnsupportedOperatorError, match=words):
        compile_model(make())


def test_shapes_that_do_not_fit_name_node_and_both_sides() -> None:
    model = single("MatMul", {"a": np.zeros((2, 3), "f4"), "b": np.zeros((4, 5), "f4")})
    with pytest.raises(ShapeError, match="node `node`: `matmul` of .*inner sizes differ: left `2x3`, right `4x5`"):
        compile_model(model)


def external(folder: Path, location: str, **more: str) -> Path:
    tensor = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "m.onnx"
    path.write_bytes(model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [4]}, ["y"], [tensor]))
    return path


def test_external_data_beside_the_model_are_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 8 + np.arange(4, dtype=np.float32).tobytes())
    model = compile_model(external(tmp_path, "w.bin", offset="8", length="16"))
    assert np.arange(4, dtype=np.float32).tobytes() in model.wasm


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/hostname", "a/../../w.bin", "", "link.bin", "folder/w.bin", "pipe"]
)
def test_external_data_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "w.bin").write_bytes(b"\0" * 16)
    (inner / "link.bin").symlink_to(tmp_path / "w.bin")
    (inner / "folder").symlink_to(tmp_path)
    os.mkfifo(inner / "pipe")
    with pytest.raises(OnnxFormatError, match="tensor `w`"):
        compile_model(external(inner, location))


def test_external_data_that_are_too_short(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 7)
    with pytest.raises(OnnxFormatError, match="ends early: 7 bytes, expected 16"):
        compile_model(external(tmp_path, "w.bin"))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(NotFoundError, match="model `ghost.onnx`: No such file or directory"):
        compile_model("ghost.onnx")


def test_every_flipped_byte_is_an_error_or_a_model() -> None:
    """Bits of a small model turned over one at a time: an error of the tree, or a module; nothing else."""
    good = single("Conv", {"x": np.zeros((1, 1, 4, 4), "f4")}, {"w": np.ones((1, 1, 3, 3), "f4")}, pads=[1, 1, 1, 1])
    outcomes = {"error": 0, "model": 0}
    for i in range(len(good)):
        for flip in (0x01, 0x80):
            bad = bytearray(good)
            bad[i] ^= flip
            try:
                compile_model(bytes(bad))
                outcomes["model"] += 1
            except LittoralError as error:
                assert str(error)
                outcomes["error"] += 1
    assert outcomes["error"] > 50
    assert outcomes["model"] > 20


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.99])
def test_truncated_networks(keep: float) -> None:
    data = NETWORKS["residual"]()
    with pytest.raises(OnnxFormatError):
        compile_model(data[: int(len(data) * keep)])


def test_the_reader_agrees_with_the_onnx_package() -> None:
    data = NETWORKS["inverted_residual"]()
    ours, theirs = onnx.decode_model(data), onnx_project.load_from_string(data)
    assert ours.graph is not None
    assert [(n.op_type, n.input, n.output) for n in ours.graph.node] == [
        (n.op_type, list(n.input), list(n.output)) for n in theirs.graph.node
    ]
    assert [t.name for t in ours.graph.initializer] == [t.name for t in theirs.graph.initializer]


def _changed(model: onnx_project.ModelProto, rng: random.Random) -> bytes:
    """The model with the shape of an input, or a number among the attributes, replaced by another."""
    changed = onnx_project.ModelProto()
    changed.CopyFrom(model)
    dims = rng.choice(list(changed.graph.input)).type.tensor_type.shape.dim
    numbers = [a for a in changed.graph.node[0].attribute if a.type == onnx_project.AttributeProto.INT]
    match rng.choice(["longer", "shorter", "size", "attribute"]):
        case "longer":
            dims.add().dim_value = rng.choice([1, 3])
        case "shorter" if len(dims):
            del dims[-1]
        case "size" if len(dims):
            rng.choice(list(dims)).dim_value = rng.choice([0, 1, 7])
        case "attribute" if numbers:
            rng.choice(numbers).i = rng.choice([-9, -1, 0, 7, 1 << 40])
    return bytes(changed.SerializeToString())


@pytest.mark.parametrize("seed", range(4))
def test_shapes_and_attributes_that_do_not_fit_are_an_error_or_a_model(seed: int) -> None:
    rng = random.Random(seed)
    models = [c.model for c in collected().values() if len(c.model.graph.node) == 1 and c.model.graph.input]
    for model in rng.sample(models, 120):
        try:
            compile_model(_changed(model, rng))
        except LittoralError as error:
            assert str(error)
