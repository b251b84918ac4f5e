"""Graphs in which sizes are found at run time: interpreter and module give what ONNX Runtime gives."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, parser

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.reference import interpret
from littoral.errors import UnsupportedOperatorError
from model_host import run_bare

HEAD = '<ir_version: 9, opset_import: ["": 18]>'
GRAPHS = {
    "coordinates as rows": """(float[3, 4] x) => (int64[n, 2] y) {
        found = NonZero(x)
        y = Transpose<perm=[1, 0]>(found) }""",
    "rows that pass a limit": """(float[5, 3] x) => (float[n, 3] y, float[m] z) {
        zero = Constant<value_float=0.0>()
        last = Constant<value_ints=[2]>()
        one = Constant<value_ints=[1]>()
        scores = Gather<axis=1>(x, last)
        line = Squeeze(scores, one)
        kept = Greater(line, zero)
        found = NonZero(kept)
        axis = Constant<value_ints=[0]>()
        rows = Squeeze(found, axis)
        y = Gather<axis=0>(x, rows)
        z = Gather<axis=0>(line, rows) }""",
    "two of unknown size in one sum": """(float[4] x, float[3] w) => (float[n, m] y) {
        a = Compress<axis=0>(x, left)
        b = Compress<axis=0>(w, right)
        one = Constant<value_ints=[1]>()
        column = Unsqueeze(a, one)
        y = Add(column, b) }""",
    "unknown beside known": """(float[4] x, float[3] w) => (float[n] y, int64 z) {
        a = Compress<axis=0>(x, left)
        y = Concat<axis=0>(w, a, w, a)
        z = Size(y) }""",
    "joined and split again": """(float[4, 6] x) => (float[n, 3] y, float[k, 2] z) {
        a = Compress<axis=0>(x, left)
        shape = Constant<value_ints=[-1, 3]>()
        y = Reshape(a, shape)
        pairs = Constant<value_ints=[0, 3, 2]>()
        c = Reshape(a, pairs)
        first = Constant<value_int=1>()
        z = Gather<axis=1>(c, first) }""",
    "cut at its own end": """(float[4] x) => (float[n] y) {
        a = Compress<axis=0>(x, left)
        start = Constant<value_ints=[-2]>()
        stop = Constant<value_ints=[9]>()
        y = Slice(a, start, stop) }""",
    "a loop that data end": """(float[2] x, int64 n) => (float[2] y, float[k, 2] z) {
        true = Constant<value = bool {1}>()
        y, z = Loop(n, true, x) <body = b (int64 i, bool going, float[2] s)
                                       => (bool more, float[2] after, float[2] seen) {
            limit = Constant<value_float=40.0>()
            after = Add(s, s)
            sum = ReduceSum<keepdims=0>(after)
            more = Less(sum, limit)
            seen = Identity(s) }> }""",
}
LEFT, RIGHT = np.array([True, False, True, True]), np.array([False, True, True])
RNG = np.random.default_rng(3)


def model_of(name: str) -> Any:
    """The graph, with the flags it names as inputs."""
    model = parser.parse_model(f"{HEAD} g {GRAPHS[name]}")
    for flag, values in (("left", LEFT), ("right", RIGHT)):
        if f" {flag})" in GRAPHS[name]:
            model.graph.input.append(helper.make_tensor_value_info(flag, TensorProto.BOOL, values.shape))
    return model


def feeds_of(model: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"left": LEFT, "right": RIGHT, "n": np.asarray(7)}
    for info in model.graph.input:
        if info.name not in made:
            made[info.name] = RNG.normal(size=[d.dim_value for d in info.type.tensor_type.shape.dim]).astype(np.float32)
    return {info.name: made[info.name] for info in model.graph.input}


def interpreted(data: bytes, feeds: dict[str, Any]) -> dict[str, Any]:
    return interpret(onnx.import_model(onnx.decode_model(data), {}, None), feeds)


def compiled(data: bytes, feeds: dict[str, Any]) -> dict[str, Any]:
    return run_bare(compile_model(data).wasm, feeds)


@pytest.mark.parametrize("runner", [interpreted, compiled])
@pytest.mark.parametrize("name", GRAPHS)
def test_sizes_found_at_run_time(name: str, runner) -> None:  # type: ignore[no-untyped-def]
    model = model_of(name)
    data, feeds = model.SerializeToString(), feeds_of(model)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    got = runner(data, feeds)
    for output, want in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        assert got[output.name].shape == want.shape
        np.testing.assert_allclose(got[output.name], want, 1e-6)


def test_what_cannot_take_unknown_sizes_says_so() -> None:
    text = (
        "(float[4] x) => (float[n] y) { found = NonZero(x) line = Cast<to=1>(found) y = ReduceSum<keepdims=0>(line) }"
    )
    with pytest.raises(UnsupportedOperatorError, match="`ReduceSum` .* of a tensor whose shape depends on data"):
        compile_model(parser.parse_model(f"{HEAD} g {text}").SerializeToString())
