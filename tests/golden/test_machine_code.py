"""What the engine makes of the inner loops: instructions are counted, spills and moves must not be there."""

import pytest
import wasmtime

from littoral.compiler.ir.expr import Arg
from littoral.compiler.kernels import Depthwise, FromPlanes, Gemm, Kernel, ResamplePlaces, Rows, ToPlanes
from littoral.compiler.kernels.softmax import SoftmaxRows
from littoral.compiler.wasm import Module
from machine_code import Loop, innermost_loops
from model_host import ENGINE

PAGES = 64  # what lies beyond is known to trap, and is not compiled


def loops_of(kernel: Kernel) -> list[Loop]:
    module = Module()
    module.add(kernel.function("kernel"), export="kernel")
    return innermost_loops(bytes(wasmtime.Module(ENGINE, module.encode(PAGES, None)).serialize()))


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


@pytest.mark.parametrize(
    ("size", "taps", "stride", "pads", "spills"),
    [
        ((28, 28), 3, 1, ((1, 1), (1, 1)), 0),
        ((28, 28), 5, 1, ((2, 2), (2, 2)), 0),
        ((56, 56), 3, 2, ((0, 1), (0, 1)), 17),
    ],
)
def test_windows_of_depthwise_spill_no_more_than_they_did(
    size: tuple[int, int], taps: int, stride: int, pads: tuple[tuple[int, int], tuple[int, int]], spills: int
) -> None:
    """With a stride, columns are shared by fewer windows, and not all of them stay in registers."""
    sizes = size, (28, 28), (taps, taps), (stride, stride), (1, 1), pads
    inner = loops_of(Depthwise(32, *sizes))[0]
    assert inner.multiplies == inner.adds
    assert inner.multiplies % (taps * taps) == 0
    assert inner.stack_references <= spills
    assert inner.register_moves == 0


def test_softmax_raises_four_powers_without_moves() -> None:
    powers, *others = loops_of(SoftmaxRows(8, 197))
    assert (powers.multiplies, powers.adds) == (10, 8)
    assert powers.stack_references <= 7  # coefficients of the polynomial
    assert powers.instructions <= 48
    assert [loop.stack_references for loop in others] == [0] * len(others)


def test_resizing_is_loads_sums_and_a_store() -> None:
    """Two places weighed, four channels at a time."""
    inner = loops_of(ResamplePlaces(1, 8, 16, 64, 2))[0]
    assert (inner.multiplies, inner.adds) == (2, 1)
    assert inner.stack_references == inner.register_moves == 0


@pytest.mark.parametrize(
    ("kernel", "multiplies", "adds", "stack_references", "instructions"),
    [
        (ToPlanes(4, 4, 64, 4 * 64 * 18), 72, 48, 133, 436),
        (FromPlanes(16, 16, 64, True, Arg("float32", 0).at_least(0.0)), 30, 96, 129, 359),
    ],
    ids=lambda given: given.kind if isinstance(given, Kernel) else "",
)
def test_transforms_of_winograd_spill_no_more_than_they_did(
    kernel: Kernel, multiplies: int, adds: int, stack_references: int, instructions: int
) -> None:
    """A tile of 36 vectors does not fit sixteen registers: its first half is written to the stack and read back."""
    (inner,) = loops_of(kernel)
    assert (inner.multiplies, inner.adds) == (multiplies, adds)
    assert inner.stack_references <= stack_references
    assert inner.instructions <= instructions
    assert inner.register_moves == 0
