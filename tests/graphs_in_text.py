"""Graphs in which sizes are found at run time, as text, with inputs."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, parser

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
