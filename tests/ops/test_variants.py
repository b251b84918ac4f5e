"""Several shapes in one module: one copy of the weights, and the same results as modules of one shape each."""

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser

import littoral
from littoral.compiler.driver import compile_model
from littoral.errors import InputError, ShapeError

NETWORK = """<ir_version: 9, opset_import: ["": 17]> g (float[batch, 64] x, float[64, 96] w) => (float[batch, 96] y) {
    product = MatMul(x, w)
    y = Relu(product) }"""
RNG = np.random.default_rng(5)
WEIGHTS = RNG.normal(size=(64, 96)).astype(np.float32)


def network() -> bytes:
    model = parser.parse_model(NETWORK)
    model.graph.initializer.append(numpy_helper.from_array(WEIGHTS, "w"))
    del model.graph.input[1]
    return bytes(model.SerializeToString())


def test_each_variant_gives_what_a_module_of_its_own_gives() -> None:
    together = compile_model(network(), variants=[{"x": (1, 64)}, {"x": (4, 64)}, {"x": (16, 64)}])
    assert [v.key for v in together.manifest.variants] == [{"batch": 1}, {"batch": 4}, {"batch": 16}]
    with littoral.load(together) as session:
        for batch in (4, 1, 16):
            x = RNG.normal(size=(batch, 64)).astype(np.float32)
            with littoral.load(compile_model(network(), shapes={"x": (batch, 64)})) as alone:
                assert np.array_equal(session.run({"x": x})["y"], alone.run({"x": x})["y"])
        with pytest.raises(InputError):
            session.run({"x": np.zeros((3, 63), np.float32)})


def test_weights_are_there_once() -> None:
    one = compile_model(network(), shapes={"x": (4, 64)}).manifest.memory
    two = compile_model(network(), variants=[{"x": (4, 64)}, {"x": (16, 64)}]).manifest.memory
    assert two.weights[1] == one.weights[1]


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ([], "0 are given"),
        ([{"x": (i + 1, 64)} for i in range(17)], "17 are given"),
        ([{"x": (1, 64)}, {"x": (1, 64)}], "number 2 takes the same shapes"),
        ([{"x": (1, 64)}, {}], "left open"),
        ([(1, 64)], r"number 1 is `\(1, 64\)`, must name the inputs"),
    ],
)
def test_variants_that_do_not_go_together(variants: list[Any], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        compile_model(network(), variants=variants)
