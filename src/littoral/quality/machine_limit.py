"""The most that can be multiplied and added here, on registers alone: float32, 16-bit whole numbers, bytes.

No kernel of ours can be faster than these loops, on this machine and engine: they are what a layer's speed is held
against.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from littoral.clock import SYSTEM, Clock
from littoral.compiler.kernels import Products
from littoral.compiler.wasm import Code, Function, Local, Module, const, load, op
from littoral.runtime.engine import compile_module
from littoral.runtime.sandbox import Guest, Limits

__all__ = ["LOOPS", "ByteProducts", "Loop", "Multiplications", "ShortProducts"]

ENTRY = "run"
STEPS = 100_000
LIMITS = Limits(memory_bytes=1 << 16, deadline_ms=1000)
CHAINS = 12  # with two operands they fit the sixteen registers of x86-64, and hide the latency of both operations
PAIR_CHAINS = 8  # two more registers are taken by what is added first
LANES, SHORTS, BYTES = 4, 8, 16


class Loop:
    """A loop, ready to run; a run takes some tenths of a millisecond. Close it, or use it in a `with` block."""

    def __init__(self, module: bytes, operations: int) -> None:
        self._guest = Guest(compile_module(module, "trusted"), LIMITS, name="loop of multiplications")
        self._operations = operations

    def speed(self, clock: Clock = SYSTEM) -> float:
        """10⁹ operations/s of one run in this thread. The best of many is the limit: what else runs slows some down."""
        began = clock.monotonic()
        self._guest.call(ENTRY)
        return self._operations / (clock.monotonic() - began) / 1e9

    def close(self) -> None:
        self._guest.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Multiplications(Loop):
    """Strict float32: a multiplication, then an addition, rounded each."""

    def __init__(self) -> None:
        def step(f: Function, chain: Local, factor: Local, term: Local) -> None:
            f.set(chain, chain * factor + term)

        super().__init__(_module("f32x4", CHAINS, step), 2 * LANES * CHAINS * STEPS)

    def gflops(self, clock: Clock = SYSTEM) -> float:
        """GFLOP/s of one run."""
        return self.speed(clock)


class ByteProducts(Loop):
    """Products of activations of 7 bits with weights of 8 bits, or of 7, summed in 32 bits (`kernels.int8_dot`)."""

    def __init__(self, bits: Literal[8, 7]) -> None:
        def dot(f: Function, chain: Local, x: Local, _: Local) -> None:
            f.set(chain, op("i32x4.relaxed_dot_i8x16_i7x16_add_s", chain, x, chain))

        def pairs(f: Function, chain: Local, x: Local, y: Local) -> None:
            first, second = (op("i16x8.relaxed_dot_i8x16_i7x16_s", chain, values) for values in (x, y))
            f.set(chain, chain + op("i32x4.extadd_pairwise_i16x8_s", first + second))

        chains, products = (CHAINS, BYTES) if bits == 8 else (PAIR_CHAINS, 2 * BYTES)
        super().__init__(_module("i32x4", chains, dot if bits == 8 else pairs), 2 * products * chains * STEPS)


class ShortProducts(Loop):
    """Products of 16-bit whole numbers, summed in 32 bits (`kernels.int16_gemm`)."""

    def __init__(self) -> None:
        def step(f: Function, chain: Local, x: Local, _: Local) -> None:
            f.set(chain, chain + op("i32x4.dot_i16x8_s", chain, x))

        super().__init__(_module("i32x4", CHAINS, step), 2 * SHORTS * CHAINS * STEPS)


LOOPS: dict[Products, Callable[[], Loop]] = {
    "float32": Multiplications,
    "bytes": lambda: ByteProducts(8),
    "pairs": lambda: ByteProducts(7),
    "shorts": ShortProducts,
}
"""By what a kernel multiplies."""


def _module(kind: str, chains: int, step: Callable[[Function, Local, Local, Local], None]) -> bytes:
    """Chains in which each step waits for the one before and reads it; the engine knows neither operand."""
    f = Function(ENTRY)
    unknown = load("v128.load", const("i32", 0), 0, kind)
    first, second = (f.local(kind, value=unknown + const(kind, n)) for n in (1, 2))
    values = [f.local(kind, value=unknown + const(kind, i)) for i in range(chains)]
    with f.repeat(STEPS):
        for value in values:
            step(f, value, first, second)
    total: Code = values[0]
    for value in values[1:]:
        total = total + value
    f.store("v128.store", const("i32", 16), total)
    module = Module()
    module.add(f, export=ENTRY)
    return module.encode(1, None)
