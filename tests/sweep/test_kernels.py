"""Products at every small number of rows, depth and columns with every epilogue; depthwise windows by chance."""

import random
from itertools import product

import numpy as np
import pytest

from kernel_host import run
from littoral.compiler.ir.expr import Arg, Expr
from littoral.compiler.ir.ops import Conv, Window
from littoral.compiler.kernels import Depthwise, Gemm, Rows
from littoral.compiler.plan.weights import pack_columns, pack_depthwise, pack_panels
from littoral.errors import ShapeError

X, Y, Z = (Arg("float32", i) for i in range(3))
EPILOGUES: dict[str, tuple[Expr | None, tuple[str, ...]]] = {
    "none": (None, ()),
    "relu": (X.at_least(0.0), ()),
    "row": (X * Y, ("row",)),
    "full": ((X + Y).at_least(0.0), ("full",)),
    "row and full": (X * Y + Z, ("row", "full")),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", EPILOGUES)
@pytest.mark.parametrize("count", range(1, 14))
def test_products(count: int, name: str, bias: bool) -> None:
    """Every sum in its stated order: the bits are those of numpy, step by step."""
    epilogue, forms = EPILOGUES[name]
    for depth, width in product((1, 2, 3, 4, 5, 7, 8, 33), (*range(1, 18), 31, 41)):
        rng = np.random.default_rng(count * 10_000 + depth * 100 + width)
        a, b = rng.normal(size=(count, depth)).astype("f4"), rng.normal(size=(depth, width)).astype("f4")
        shift, row = rng.normal(size=width).astype("f4"), rng.normal(size=width).astype("f4")
        full = rng.normal(size=(count, width)).astype("f4")
        sums = np.broadcast_to(shift if bias else np.float32(0), (count, width))
        for k in range(depth):
            sums = (a[:, k : k + 1] * b[k]) + sums
        meant = {
            "none": sums,
            "relu": np.maximum(sums, 0),
            "row": sums * row,
            "full": np.maximum(sums + full, 0),
            "row and full": sums * row + full,
        }
        extras = [pack_columns(row) if form == "row" else full for form in forms]
        gemm = Gemm(Rows(1, count, 0, 4 * depth, ((0, depth),)), width, bias, epilogue, forms)
        inputs = [a, pack_panels(b), *([pack_columns(shift)] if bias else []), *extras]
        assert np.array_equal(run(gemm, inputs, (count, width)), meant[name]), (depth, width)


@pytest.mark.parametrize("seed", range(400))
def test_depthwise(seed: int) -> None:
    pick = random.Random(seed)
    channels, size = pick.randint(1, 13), (pick.randint(1, 12), pick.randint(1, 45))
    kernel = pick.randint(1, 5), pick.randint(1, 7)
    strides, dilations = (pick.randint(1, 3), pick.randint(1, 3)), (pick.randint(1, 2), pick.randint(1, 2))
    pads = tuple((pick.randint(0, k), pick.randint(0, k)) for k in kernel)
    window = Window(kernel, strides, dilations, pads)
    try:
        out = window.output(size)
    except ShapeError:
        return
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, *size, channels)).astype("f4")
    w, bias = rng.normal(size=(channels, 1, *kernel)).astype("f4"), rng.normal(size=channels).astype("f4")
    (want,) = Conv(window, channels, last=True, bias=True).reference(x, w, bias)
    k = Depthwise(channels, size, out, kernel, strides, dilations, pads)
    got = run(k, [x, pack_depthwise(w, bias), np.zeros(k.zeros_bytes // 4 + 16, "f4")], want.shape)
    assert np.abs(got - want).max() <= 1e-5 * max(np.abs(want).max(), 1)
