"""Each operator of bytes by itself, with scales and zero points at random: ONNX Runtime's bytes, to one quantum.

Every case runs eight models of 25 inputs each: uint8 and int8, zero points at the ends of the range and within.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from onnx import helper, numpy_helper

from littoral.compiler.driver import planned, written
from model_host import run_bare
from quantized_models import Oracle

BATCH, MODELS = 25, 8
MICROSOFT = "com.microsoft"


class One(NamedTuple):
    """A node. inputs: names of what is fed, constants, None. shapes: of what is fed."""

    op: str
    inputs: Sequence[Any]
    shapes: Mapping[str, Sequence[int]]
    domain: str = MICROSOFT
    attributes: Mapping[str, Any] = {}
    outputs: Sequence[str] = ("y",)
    fed: Any = None


def scale(rng: Any, about: float = 0.1) -> Any:
    return np.float32(about * rng.uniform(0.5, 2))


def zero(rng: Any, dtype: Any) -> Any:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return dtype(rng.choice([low, high, (low + high) // 2, rng.integers(low, high + 1)]))


def whole(rng: Any, shape: Any, dtype: Any) -> Any:
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, shape).astype(dtype)


def unary(op: str, result: float = 0.1, shape: Sequence[int] = (BATCH, 3, 20), **attributes: Any) -> Any:
    def one(rng: Any, dtype: Any) -> One:
        held = (scale(rng, result), zero(rng, dtype))
        return One(op, ["a", scale(rng), zero(rng, dtype), *held], {"a": shape}, attributes=attributes)

    return one


def share(op: str, **attributes: Any) -> Any:
    """What lies between 0 and 1, as quantisation leaves it."""

    def one(rng: Any, dtype: Any) -> One:
        held = (np.float32(1 / 256), dtype(np.iinfo(dtype).min))
        return One(op, ["a", scale(rng), zero(rng, dtype), *held], {"a": (BATCH, 3, 20)}, attributes=attributes)

    return one


def binary(op: str, result: float, row: Sequence[int] = (BATCH, 3, 20)) -> Any:
    def one(rng: Any, dtype: Any) -> One:
        held = [(scale(rng), zero(rng, dtype)) for _ in range(2)]
        after = (scale(rng, result), zero(rng, dtype))
        return One(op, ["a", *held[0], "b", *held[1], *after], {"a": (BATCH, 3, 20), "b": row})

    return one


def concat(rng: Any, dtype: Any) -> One:
    held = [(scale(rng), zero(rng, dtype)) for _ in range(3)]
    shapes = {"a": (BATCH, 3, 20), "b": (BATCH, 2, 20)}
    return One("QLinearConcat", [*held[2], "a", *held[0], "b", *held[1]], shapes, attributes={"axis": 1})


def where(rng: Any, dtype: Any) -> One:
    held = [(scale(rng), zero(rng, dtype)) for _ in range(3)]
    mask = rng.random((BATCH, 3, 20)) < 0.5
    shapes = {"a": (BATCH, 3, 20), "b": (BATCH, 3, 20)}
    return One("QLinearWhere", [mask, "a", *held[0], "b", *held[1], *held[2]], shapes)


def weights(rng: Any, dtype: Any, shape: Sequence[int], by_channel: int | None) -> tuple[Any, Any, Any]:
    """Weights, scale and zero point. dtype: of the activations; weights may be of either."""
    kind = np.int8 if dtype is np.int8 or by_channel is not None else rng.choice([np.uint8, np.int8])
    if by_channel is None:
        return whole(rng, shape, kind), scale(rng, 0.02), zero(rng, kind)
    count = shape[by_channel]
    return whole(rng, shape, kind), rng.uniform(0.01, 0.04, count).astype("f4"), np.zeros(count, kind)


def convolution(by_channel: bool, groups: int = 1) -> Any:
    def one(rng: Any, dtype: Any) -> One:
        w, by, at = weights(rng, dtype, (8, 8 // groups, 3, 3), 0 if by_channel else None)
        given, after = (scale(rng), zero(rng, dtype)), (scale(rng, 2), zero(rng, dtype))
        bias = rng.integers(-2000, 2000, 8).astype(np.int32)
        attributes = {"pads": [1, 0, 1, 1], "strides": [2, 1], "group": groups}
        inputs = ["a", *given, w, by, at, *after, bias]
        return One("QLinearConv", inputs, {"a": (BATCH, 8, 7, 6)}, "", attributes)

    return one


def product(by_channel: bool) -> Any:
    def one(rng: Any, dtype: Any) -> One:
        w, by, at = weights(rng, dtype, (20, 13), 1 if by_channel else None)
        given, after = (scale(rng), zero(rng, dtype)), (scale(rng, 1), zero(rng, dtype))
        return One("QLinearMatMul", ["a", *given, w, by, at, *after], {"a": (BATCH, 3, 20)}, "")

    return one


def gemm(rng: Any, dtype: Any) -> One:
    w, by, at = weights(rng, dtype, (20, 13), None)
    given, after = (scale(rng), zero(rng, dtype)), (scale(rng, 1), zero(rng, dtype))
    bias = rng.integers(-2000, 2000, 13).astype(np.int32)
    return One("QGemm", ["a", *given, w, by, at, bias, *after], {"a": (BATCH, 20)}, attributes={"transB": 0})


def whole_product(rng: Any, dtype: Any) -> One:
    w, _, at = weights(rng, dtype, (20, 13), None)
    return One("MatMulInteger", ["a", w, zero(rng, dtype), at], {"a": (BATCH, 3, 20)}, "")


def whole_convolution(rng: Any, _: Any) -> One:
    w, _, at = weights(rng, np.uint8, (5, 4, 3, 2), None)
    given = {"a": (BATCH, 4, 7, 6)}
    return One("ConvInteger", ["a", w, zero(rng, np.uint8), at], given, "", {"pads": [1, 0, 1, 1]}, fed=np.uint8)


def found_at_run_time(_: Any, __: Any) -> One:
    return One("DynamicQuantizeLinear", ["a"], {"a": (BATCH, 33)}, "", outputs=("y", "scale", "zero"), fed=np.float32)


PICTURE = (BATCH, 5, 9, 11)
WINDOW = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}
CASES: dict[str, Callable[[Any, Any], One]] = {
    "add": binary("QLinearAdd", 0.15),
    "add, a row": binary("QLinearAdd", 0.15, (20,)),
    "mul": binary("QLinearMul", 0.9),
    "sigmoid": share("QLinearSigmoid"),
    "leaky": unary("QLinearLeakyRelu", alpha=0.2),
    "softmax": share("QLinearSoftmax", axis=-1, opset=13),
    "average": unary("QLinearAveragePool", shape=PICTURE, **WINDOW),
    "average, pads counted": unary("QLinearAveragePool", shape=PICTURE, **WINDOW, count_include_pad=1),
    "average of all": unary("QLinearGlobalAveragePool", shape=PICTURE, channels_last=0),
    "concat": concat,
    "where": where,
    "convolution": convolution(by_channel=False),
    "convolution, by channel": convolution(by_channel=True),
    "convolution, in groups": convolution(by_channel=True, groups=2),
    "convolution, depthwise": convolution(by_channel=True, groups=8),
    "product": product(by_channel=False),
    "product, by channel": product(by_channel=True),
    "gemm": gemm,
    "whole product": whole_product,
    "whole convolution": whole_convolution,
    "found at run time": found_at_run_time,
}


def model_of(one: One, dtype: Any) -> bytes:
    names, constants = [], []
    for i, given in enumerate(one.inputs):
        names.append(given if isinstance(given, str) else f"c{i}")
        if not isinstance(given, str):
            constants.append(numpy_helper.from_array(np.asarray(given), names[-1]))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(one.fed or dtype))
    node = helper.make_node(one.op, names, one.outputs, name="node", domain=one.domain, **one.attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(n, kind, shape) for n, shape in one.shapes.items()],
        [helper.make_empty_tensor_value_info(n) for n in one.outputs],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def feeds_for(one: One, dtype: Any, rng: Any) -> dict[str, Any]:
    if one.fed is np.float32:
        return {
            n: (rng.normal(size=s) * rng.uniform(0.1, 9) + rng.normal()).astype("f4") for n, s in one.shapes.items()
        }
    return {n: whole(rng, s, one.fed or dtype) for n, s in one.shapes.items()}


@pytest.mark.parametrize("name", CASES)
def test_an_operator_gives_the_bytes_of_onnx_runtime(name: str) -> None:
    rng = np.random.default_rng(7)
    apart = of = 0
    for i in range(MODELS):
        dtype = (np.uint8, np.int8)[i % 2]
        one = CASES[name](rng, dtype)
        model, feeds = model_of(one, dtype), feeds_for(one, dtype, rng)
        wanted, got = Oracle(model).run(feeds), run_bare(written(planned(model)).wasm, feeds)
        for output, want in wanted.items():
            assert got[output].dtype == want.dtype
            if want.dtype == np.float32:
                np.testing.assert_array_equal(got[output], want)
                continue
            gap = np.abs(got[output].astype(np.int64) - want)
            assert gap.max(initial=0) <= (0 if want.dtype == np.int32 else 1), (dtype, one)
            apart, of = apart + int((gap > 0).sum()), of + gap.size
    assert apart <= 0.005 * of
