"""What is known when a model is compiled is computed then."""

import numpy as np
import pytest

from littoral.compiler import onnx
from littoral.compiler.driver import compile_model, optimize
from littoral.compiler.ir import graph as ir
from model_host import run_bare
from onnx_models import single


def test_a_large_constant_is_transposed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no larger than what it is made of is folded, whatever its size."""
    monkeypatch.setattr(ir, "FOLD_ELEMENTS_MAX", 8)
    a, b = np.ones((2, 6), np.float32), np.arange(24, dtype=np.float32).reshape(4, 6)
    model = single("Gemm", {"a": a}, {"b": b}, transB=1)
    ops = [node.op.name for node in optimize(onnx.import_model(onnx.decode_model(model), {}, None)).nodes]
    assert ops == ["matmul"]


@pytest.mark.parametrize(("ratio", "trains"), [(0.0, False), (0.0, True), (0.5, False)])
def test_dropout_of_nothing_is_nothing(ratio: float, trains: bool) -> None:
    x = np.arange(6, dtype=np.float32)
    model = single("Dropout", {"x": x}, {"ratio": np.float32(ratio), "mode": np.bool_(trains)})
    (got,) = run_bare(compile_model(model).wasm, {"x": x}).values()
    assert (got == x).all()
