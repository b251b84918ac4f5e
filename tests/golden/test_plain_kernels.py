"""Kernels of bytes without vectors, as text: what a product of bytes costs an interpreter."""

from collections.abc import Callable

import pytest

from littoral.compiler.ir.expr import Arg
from littoral.compiler.kernels import Finish, IntegerDepthwise, IntegerGemm, Kernel, Rows, without_vectors
from littoral.compiler.wasm import Function, TargetedModule, function_text

TO_BYTE = Finish(Arg("float32", 0), "uint8", "trunc", high=127, is_small=True)
KERNELS = {
    "gemm": IntegerGemm(Rows(1, 2, 0, 8, ((0, 8),)), 4, "dot", TO_BYTE, tile_rows=2, vectors=1),
    "depthwise": IntegerDepthwise(1, (3, 5), (1, 5), (3, 3), (1, 1), ((0, 0), (1, 1)), "dot", 0, TO_BYTE),
}


def plain(kernel: Kernel) -> Function:
    module = TargetedModule("mvp")
    module.add(without_vectors(kernel).function(kernel.kind))
    return module.functions[0]


@pytest.mark.parametrize("name", KERNELS)
def test_the_code(name: str, golden: Callable[[str], None]) -> None:
    golden(function_text(plain(KERNELS[name])))


def test_a_multiplication_makes_two_products() -> None:
    """Of 2 rows, 4 values of K and 4 columns, which is the whole loop."""
    names = [i.name for i in plain(KERNELS["gemm"]).instructions()]
    assert names.count("i64.mul") == 4 * 4
    assert names.count("i64.load8_s") == 4 * 4
    assert names.count("i64.load8_u") == 2 * 4


def test_a_product_deeper_than_the_lower_half_holds_goes_row_by_row() -> None:
    rows = Rows(1, 2, 0, 40_000, ((0, 40_000),))
    names = [i.name for i in plain(IntegerGemm(rows, 4, "wide_u", TO_BYTE)).instructions()]
    assert "i64.mul" not in names
    assert names.count("i32.mul") == 2 * 4
