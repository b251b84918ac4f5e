"""A site whose models cover what the Open Inference Protocol can ask: data types, versions, state, pipelines."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import littoral
from littoral.artifact import Model, Store

OWN_MODELS = """
[models.types]
path = "types.wasm"

[models.sums]
path = "sums.wasm"
state = { total = "next_total" }
sequences = { max = 3, idle_s = 300.0 }
"""
"""What `all_types` and `summing` make, in a site file."""
SITE = (
    """
[node]
name = "store-12"
listen = "127.0.0.1:0"

[models.scaled]
path = "scaled"
instances = { min = 1, max = 2 }

[models.plain]
path = "plain.wasm"

[agents.decode]
path = "builtin:image"
config = { width = 8, height = 8, layout = "nchw", dtype = "float32" }

[models.picture]
path = "picture.wasm"

[collections.frames]
vectors = { size = 192, distance = "Cosine" }

[pipelines.both]
steps = [{ model = "scaled" }, { model = "plain" }]

[pipelines.embed]
steps = [{ agent = "decode" }, { model = "picture" }, { step = "normalize" }]

[pipelines.similar]
steps = [{ agent = "decode" }, { model = "picture" }, { step = "normalize" }, { search = "frames", limit = 3 }]
"""
    + OWN_MODELS
)
TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
}
LABELS = ["low", "middle", "high"]


@functools.cache
def scaled(factor: float, *, size: int = 3, name: str = "scaled", output: str = "y") -> Model:
    """`y = x · factor`, for 1 to 8 rows of `size` numbers, more by several runs."""
    nodes = [helper.make_node("Mul", ["x", "k"], [output])]
    constants = {"k": np.float32([factor])}
    onnx = _onnx(nodes, {"x": (TensorProto.FLOAT, ["batch", size])}, [output], constants)
    shapes = [{"x": (rows, size)} for rows in (1, 4)]
    return littoral.compile(onnx, variants=shapes, name=name, version=f"{factor:g}", labels=LABELS)


@functools.cache
def large(factor: float) -> Model:
    """As `scaled`, with half a megabyte of weights that come to nothing."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["n"]),
        helper.make_node("Mul", ["x", "k"], ["s"]),
        helper.make_node("Add", ["s", "n"], ["y"]),
    ]
    weights = np.random.default_rng(3).normal(size=(3, 1 << 14)).astype(np.float32)
    constants = {"w": weights, "v": np.zeros((1 << 14, 3), np.float32), "k": np.float32([factor])}
    return littoral.compile(_onnx(nodes, {"x": (TensorProto.FLOAT, [1, 3])}, ["y"], constants), name="large")


@functools.cache
def summing() -> Model:
    """A running sum: `next_total = total + x`, `y = 2 · next_total`."""
    nodes = [
        helper.make_node("Add", ["total", "x"], ["next_total"]),
        helper.make_node("Add", ["next_total", "next_total"], ["y"]),
    ]
    inputs = {"x": (TensorProto.FLOAT, [1, 2]), "total": (TensorProto.FLOAT, [1, 2])}
    return littoral.compile(_onnx(nodes, inputs, ["y", "next_total"], {}), name="sums")


@functools.cache
def all_types() -> Model:
    """Every data type goes in and comes out as it is."""
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in TYPES]
    inputs = {name: (kind, [2, 3]) for name, kind in TYPES.items()}
    return littoral.compile(_onnx(nodes, inputs, [f"{name}_out" for name in TYPES], {}), name="types")


@functools.cache
def picture() -> Model:
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["flat", "mean"], ["embedding"]),
    ]
    return littoral.compile(_onnx(nodes, {"x": (TensorProto.FLOAT, [1, 3, 8, 8])}, ["embedding"], {}), name="picture")


def write_oip_site(folder: Path, text: str = SITE) -> Path:
    """Site file and models; `scaled` is a folder of versions, of which the second is the latest."""
    for model in (scaled(10.0), scaled(100.0), scaled(2.0, name="plain"), all_types(), summing(), picture()):
        Store().record(model.digest)  # compiled for another test, maybe
    for number, factor in ((1, 10.0), (2, 100.0)):
        write_version(folder / "scaled", number, scaled(factor))
    scaled(2.0, name="plain").save(folder / "plain.wasm")
    all_types().save(folder / "types.wasm")
    summing().save(folder / "sums.wasm")
    picture().save(folder / "picture.wasm")
    site = folder / "site.toml"
    site.write_text(text)
    return site


def write_version(folder: Path, number: int, model: Model) -> Path:
    (folder / str(number)).mkdir(parents=True, exist_ok=True)
    model.save(folder / str(number) / "model.wasm")
    return folder / str(number) / "model.wasm"


def _onnx(
    nodes: Sequence[object],
    inputs: dict[str, tuple[int, Sequence[int | str]]],
    outputs: Sequence[str],
    constants: dict[str, np.ndarray],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="")
    return bytes(model.SerializeToString())
