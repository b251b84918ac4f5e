"""What the engines run: networks, and every operator case, with ordinary inputs and with odd ones."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from bench.networks import mobilenet_v2
from onnx import TensorProto, helper, numpy_helper

from graphs_in_text import GRAPHS, feeds_of, model_of
from integer_models import MODELS
from littoral.compiler.quantize import Int8
from onnx_models import DTYPES, NETWORKS, Network, single
from operator_cases import CASES
from sentence_folders import write_folder

__all__ = ["Subject", "integers", "networks", "operators", "threaded", "with_odd"]

TINY = np.finfo(np.float32).tiny
ODD = np.asarray(
    [np.inf, -0.0, TINY / 4, -TINY / 1024, 0.0, 3.4e38, -np.inf, TINY, -3e38, 1e-45, 88.8, -87.4, 0.5, 2.5, -1.5],
    np.float32,
)
UNARY = (
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor HardSigmoid HardSwish LeakyRelu Log "
    "Mish Neg Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh ThresholdedRelu"
)
ENDS_ON_ODD = {"Upsample"}  # its sizes are made of the input: where they are none, the run ends
AFTER_PRODUCTS = "Elu Erf Exp Gelu HardSwish LeakyRelu Mish Relu Selu Sigmoid Softplus Tanh"


class Subject(NamedTuple):
    """A model with the inputs it is run on. variants: as `compile_model` takes them, in the order of the feeds.

    int8: what it is calibrated on, to be in integers. threads: that it is divided among.
    """

    name: str
    source: Any
    feeds: Sequence[Mapping[str, Any]]
    variants: Sequence[Mapping[str, Sequence[int]]] | None = None
    shapes: Mapping[str, Sequence[int]] | None = None
    int8: Int8 | None = None
    threads: int = 1


def with_odd(feeds: Mapping[str, Any], *, nan: bool = True) -> dict[str, Any]:
    """The same with infinities, zeros of both signs, denormals, large numbers and a NaN strewn over what is float."""
    found = {}
    for name, given in feeds.items():
        found[name] = array = np.array(given)
        if array.dtype.kind == "f":
            flat, step = array.reshape(-1), 1 + array.size // 40
            places = flat[::step]
            with np.errstate(over="ignore"):
                places[...] = np.resize(ODD, places.shape).astype(array.dtype)
            if nan and array.size > 2:
                flat[array.size // 2] = np.nan
    return found


def networks(folder: Path) -> Iterator[Subject]:
    """Few, each with many kernels in it. folder: where a model that is a folder is made."""
    rng = np.random.default_rng(7)

    def normal(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    for name, make in NETWORKS.items():
        yield _both(name, make(24), {"x": normal(1, 3, 24, 24)})
    yield _both("winograd", winograd(), {"x": normal(1, 32, 22, 19)})
    yield _both("attention", attention(), {name: normal(2, 3, 13, 16) for name in "qkv"})
    yield _both("after-products", after_products(), {"x": normal(1, 6, 5, 7)})
    yield _both("reductions", reductions(), {"x": normal(3, 5, 37)})
    line = np.concatenate([ODD, [np.nan], rng.normal(0, 3, 300), rng.normal(0, 90, 99)])
    for dtype in (np.float32, np.float64, np.float16):
        with np.errstate(over="ignore"):
            yield Subject(f"functions-{dtype.__name__}", functions(dtype, len(line)), [{"x": line.astype(dtype)}])
    yield Subject("casts", casts(len(line)), [{"x": line.astype(np.float32)}])
    for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        weights = {"w": normal(1, gates * 6, 5), "r": normal(1, gates * 6, 6), "b": normal(1, gates * 12)}
        yield _both(op, single(op, {"x": normal(7, 2, 5)}, weights, hidden_size=6), {"x": normal(7, 2, 5)})
    for name in GRAPHS:
        model = model_of(name)
        yield Subject(name, model.SerializeToString(), [feeds_of(model)])
    yield sentences(folder)
    yield Subject("mobilenet_v2", mobilenet_v2(), [{"pixels": normal(1, 3, 224, 224)}])


def operators() -> Iterator[Subject]:
    """Every operator case, also with odd numbers strewn over its inputs."""
    for case in CASES:
        if case.name in ENDS_ON_ODD:
            yield Subject(case.name, case.model, [case.feeds])
        else:
            yield _both(case.name, case.model, case.feeds)


def integers() -> Iterator[Subject]:
    """Networks quantised here, and elsewhere in every way."""
    for name, make in MODELS.items():
        model = make()
        yield Subject(name, model.source, [model.feeds, with_odd(model.feeds)], int8=model.int8)


def threaded() -> Iterator[Subject]:
    """Models divided among two threads, and one among three."""
    rng = np.random.default_rng(11)
    sides = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in {"x": (1, 3, 40, 40), "w": (1, 32, 22, 19)}.items()
    }
    yield Subject("alone", NETWORKS["inverted_residual"](40), [{"x": sides["x"]}])
    for threads in (2, 3):
        yield Subject(f"residuals, {threads}", NETWORKS["inverted_residual"](40), [{"x": sides["x"]}], threads=threads)
    yield Subject("winograd, 2", winograd(), [{"x": sides["w"]}], threads=2)
    for name in ("crossing, 8 bits", "encoder", "pairs of uint8"):
        model = MODELS[name]()
        yield Subject(f"{name}, 2", model.source, [model.feeds, with_odd(model.feeds)], int8=model.int8, threads=2)


def sentences(folder: Path) -> Subject:
    lengths = (5, 12)
    feeds = [
        {"input_ids": np.arange(n)[None] % 50, "attention_mask": (np.arange(n) < n - 2).astype(np.int64)[None]}
        for n in lengths
    ]
    return Subject("sentences", write_folder(folder / "sentences"), feeds, [{"input_ids": (1, n)} for n in lengths])


def winograd() -> bytes:
    """Two 3×3 convolutions wide enough to go by Winograd's filtering, on a picture of no whole number of tiles."""
    net = Network((1, 32, 22, 19))
    net.conv(32, pads=[1, 1, 1, 1])
    net.node("Relu", net.at)
    net.conv(36, pads=[1, 1, 1, 1])
    return net.bytes()


def graph(nodes: Sequence[Any], inputs: Mapping[str, Any], constants: Mapping[str, Any], opset: int = 20) -> bytes:
    """A model all of whose nodes' outputs that nobody reads are outputs of its own. inputs: name to array or type."""
    read = {name for node in nodes for name in node.input}
    outputs = [name for node in nodes for name in node.output if name not in read]
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, DTYPES_OF[a.dtype], a.shape) for name, a in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


DTYPES_OF = {**DTYPES, np.dtype(np.float16): TensorProto.FLOAT16}


def functions(dtype: Any, count: int) -> bytes:
    """Every function of one number."""
    nodes = [helper.make_node(op, ["x"], [op]) for op in UNARY.split()]
    nodes += [helper.make_node("Gelu", ["x"], [f"Gelu{a}"], approximate=a) for a in ("none", "tanh")]
    return graph(nodes, {"x": np.empty(count, dtype)}, {})


def casts(count: int) -> bytes:
    """float32 to everything."""
    kinds = "INT8 UINT8 INT16 UINT16 INT32 UINT32 INT64 UINT64 BOOL FLOAT16 DOUBLE BFLOAT16 FLOAT8E4M3FN FLOAT8E5M2"
    nodes = [helper.make_node("Cast", ["x"], [kind], to=getattr(TensorProto, kind)) for kind in kinds.split()]
    return graph(nodes, {"x": np.empty(count, np.float32)}, {}, opset=21)


def after_products() -> bytes:
    """Each function that may end a product: behind a dense layer, a 1×1 and a depthwise convolution."""
    rng = np.random.default_rng(5)
    constants = {
        "dense": rng.normal(0, 0.5, (7, 11)),
        "bias": rng.normal(size=11),
        "pointwise": rng.normal(0, 0.5, (9, 6, 1, 1)),
        "depthwise": rng.normal(0, 0.5, (6, 1, 3, 3)),
        "scale": rng.normal(size=11),
    }
    nodes = []
    for op in AFTER_PRODUCTS.split():
        products = {
            "dense": helper.make_node("MatMul", ["x", "dense"], [f"{op}-m"]),
            "pointwise": helper.make_node("Conv", ["x", "pointwise"], [f"{op}-pointwise"]),
            "depthwise": helper.make_node("Conv", ["x", "depthwise"], [f"{op}-depthwise"], group=6),
        }
        nodes += products.values()
        nodes.append(helper.make_node("Add", [f"{op}-m", "bias"], [f"{op}-dense"]))
        nodes += [helper.make_node(op, [f"{op}-{kind}"], [f"{op}-{kind}-y"]) for kind in products]
    return graph(
        nodes, {"x": np.empty((1, 6, 5, 7), np.float32)}, {k: v.astype(np.float32) for k, v in constants.items()}
    )


def attention() -> bytes:
    """Softmax of scaled, masked products of two tensors, times a third."""
    mask = np.where(np.arange(13) < 10, 0, -np.inf).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "kt"], ["s"]),
        helper.make_node("Mul", ["s", "quarter"], ["t"]),
        helper.make_node("Add", ["t", "mask"], ["u"]),
        helper.make_node("Softmax", ["u"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    shape = np.empty((2, 3, 13, 16), np.float32)
    return graph(nodes, dict.fromkeys("qkv", shape), {"quarter": np.float32(0.25), "mask": mask})


def reductions() -> bytes:
    """What makes one number of many."""
    names = "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare"
    nodes = [helper.make_node(op, ["x", f"axis{axis}"], [f"{op}{axis}"]) for op in names.split() for axis in range(3)]
    for axis in range(3):
        nodes += [helper.make_node(op, ["x"], [f"{op}{axis}"], axis=axis) for op in ("Softmax", "LogSoftmax", "ArgMax")]
    nodes.append(helper.make_node("LayerNormalization", ["x", "scale"], ["norm"], axis=-1))
    nodes.append(helper.make_node("TopK", ["x", "five"], ["top", "places"], axis=2))
    nodes.append(helper.make_node("CumSum", ["x", "two"], ["sums"]))
    constants: dict[str, Any] = {f"axis{axis}": np.asarray([axis]) for axis in range(3)}
    constants |= {"scale": np.linspace(-1, 1, 37, dtype=np.float32), "five": np.asarray([5]), "two": np.asarray(2)}
    return graph(nodes, {"x": np.empty((3, 5, 37), np.float32)}, constants)


def _both(name: str, source: Any, feeds: Mapping[str, Any]) -> Subject:
    odd = [with_odd(feeds)] if any(np.asarray(a).dtype.kind == "f" for a in feeds.values()) else []
    return Subject(name, source, [feeds, *odd])
