"""What the engine makes of the inner loops: instructions are counted, spills and moves must not be there."""

import pytest
import wasmtime

from littoral.compiler.kernels import Depthwise, Gemm, Kernel, Rows
from littoral.compiler.wasm import Module
from machine_code import Loop, innermost_loops
from model_host import ENGINE


def loops_of(kernel: Kernel) -> list[Loop]:
    module = Module()
    module.add(kernel.function("kernel"), export="kernel")
    return innermost_loops(bytes(wasmtime.Module(ENGINE, module.encode(1, None)).serialize()))


@pytest.mark.parametrize("depth", [96, 97, 960])
def test_matrix_product_is_loads_multiplications_and_additions(depth: int) -> None:
    """Two steps of K for 4 × 8 sums: 12 loads, 16 multiplications, 16 additions, and the loop itself."""
    inner = loops_of(Gemm(Rows(1, 64, 0, 4 * depth, ((0, depth),)), 64, True))[0]
    assert (inner.multiplies, inner.adds) == (16, 16)
    assert inner.stack_references == 0
    assert inner.register_moves == 0
    assert inner.instructions <= 12 + 32 + 9


def test_depthwise_keeps_its_sums_in_registers() -> None:
    """The whole group is one block of straight code inside the loop over groups."""
    size = (28, 28)
    pads = ((1, 1), (1, 1))
    kernel = Depthwise(32, size, size, (3, 3), (1, 1), (1, 1), pads)
    inner = loops_of(kernel)[0]
    assert inner.multiplies == 9 * (kernel.group - 1)  # 28 outputs a line: 1, 4 × 6, 3
    assert inner.stack_references == 0
