"""What trained models as people publish them ask of the importer: sizes left open as −1, branches for other sizes."""

import numpy as np
import pytest
from onnx import TensorProto, helper, parser

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model
from littoral.compiler.ir.reference import interpret
from littoral.errors import InputError, ShapeError
from model_host import run_bare
from onnx_models import single

BY_RATE = """<ir_version: 9, opset_import: ["": 17]> g (float[1, n] x, int64 rate) => (float[1, m] y)
<int64 full = {16000}, int64[2] narrow = {1, 4}, int64[2] wide = {1, 6}> {
    is_full = Equal(rate, full)
    y = If(is_full)<
        then_branch = a () => (float[1, 6] long) { long = Reshape(x, wide) },
        else_branch = b () => (float[1, 4] short) { short = Reshape(x, narrow) }> }"""


def test_minus_one_is_a_size_left_open() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [-1, 3])
    y = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    assert compile_model(model, shapes={"x": (2, 3)}).manifest.variants[0].inputs[0].shape == (2, 3)
    with pytest.raises(ShapeError, match="input `x`: dimensions `\\?` are left open"):
        compile_model(model)
    with pytest.raises(ShapeError, match=r"shape \[2, 4\] was given, the model declares \['\?', 3\]"):
        compile_model(model, shapes={"x": (2, 4)})


@pytest.mark.parametrize(("size", "rate"), [(6, 16000), (4, 8000)])
def test_a_branch_for_another_size_is_left_out(size: int, rate: int) -> None:
    model = parser.parse_model(BY_RATE).SerializeToString()
    x = np.arange(size, dtype=np.float32)[None]
    shapes = {"x": x.shape}
    (got,) = run_bare(compile_model(model, shapes=shapes).wasm, {"x": x, "rate": np.array(rate)}).values()
    assert (got == x).all()
    graph = onnx.import_model(onnx.decode_model(model), shapes, None)
    with pytest.raises(InputError, match="its other branch: .*elements cannot become"):
        interpret(graph, {"x": x, "rate": np.array(24000 - rate)})


def test_a_model_without_a_branch_that_fits_is_refused() -> None:
    with pytest.raises(ShapeError, match="cannot become"):
        compile_model(parser.parse_model(BY_RATE).SerializeToString(), shapes={"x": (1, 5)})


def test_recurrent_layers_say_which_ranks_they_need() -> None:
    x, w = np.zeros((2, 3), np.float32), np.zeros((1, 16, 3), np.float32)
    model = single("LSTM", {"x": x}, {"w": w, "r": np.zeros((1, 16, 4), np.float32)}, hidden_size=4)
    with pytest.raises(ShapeError, match="ranks 3 are needed"):
        compile_model(model)
