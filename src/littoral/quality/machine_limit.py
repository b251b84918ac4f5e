"""The most that strict float32 can do here: multiplications and additions on registers alone, four at a time.

No kernel of ours can be faster than this loop, on this machine and engine: it is what a layer's speed is held against.
"""

from types import TracebackType

from littoral.clock import SYSTEM, Clock
from littoral.compiler.wasm import Code, Function, Module, const, load
from littoral.runtime.engine import compile_module
from littoral.runtime.sandbox import Guest, Limits

__all__ = ["Multiplications"]

ENTRY = "run"
CHAINS = 12  # with two operands they fit the sixteen registers of x86-64, and hide the latency of both operations
STEPS = 100_000
LANES = 4
LIMITS = Limits(memory_bytes=1 << 16, deadline_ms=1000)


class Multiplications:
    """The loop, ready to run; a run takes some tenths of a millisecond. Close it, or use it in a `with` block."""

    def __init__(self) -> None:
        self._guest = Guest(compile_module(_module(), "trusted"), LIMITS, name="loop of multiplications")

    def gflops(self, clock: Clock = SYSTEM) -> float:
        """GFLOP/s of one run in this thread. The best of many is the limit: whatever else runs here slows some down."""
        began = clock.monotonic()
        self._guest.call(ENTRY)
        return 2 * LANES * CHAINS * STEPS / (clock.monotonic() - began) / 1e9

    def close(self) -> None:
        self._guest.close()

    def __enter__(self) -> "Multiplications":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _module() -> bytes:
    """Chains of x · factor + term, each step waiting for the one before; the engine knows neither factor nor term."""
    f = Function(ENTRY)
    unknown = load("v128.load", const("i32", 0), 0, "f32x4")
    factor, term = f.local("f32x4", value=unknown + 0.5), f.local("f32x4", value=unknown + 1.0)
    chains = [f.local("f32x4", value=unknown + float(i)) for i in range(CHAINS)]
    with f.repeat(STEPS):
        for chain in chains:
            f.set(chain, chain * factor + term)
    total: Code = chains[0]
    for chain in chains[1:]:
        total = total + chain
    f.store("v128.store", const("i32", 16), total)
    module = Module()
    module.add(f, export=ENTRY)
    return module.encode(1, None)
