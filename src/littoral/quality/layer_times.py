"""How long each layer of a model takes: the same kernels on the same addresses, called one after the other.

A module is made for it that also exports every layer by itself. Each round writes the inputs and calls all layers in
order, so that every layer reads what it reads in a whole run; what a call costs by itself is taken off.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

import littoral
from littoral.artifact import Store
from littoral.artifact.manifest import layer_entry
from littoral.clock import SYSTEM, Clock
from littoral.compiler.driver import Planned, Progress, silent, written
from littoral.compiler.driver import why_whole as why_untimed
from littoral.compiler.emit import EMPTY_ENTRY, ENTRY, heaviest
from littoral.compiler.kernels import Products
from littoral.quality.machine_limit import LOOPS
from littoral.tensors import Array

__all__ = ["LayerTime", "LayerTimes", "time_layers", "why_untimed"]

WARM_UP_ROUNDS = 2
EMPTY_CALLS = 4  # before the layers: the first call after the inputs takes ten times as long as the others
SHORT_MS = 0.005  # below it the call itself takes as long


class LayerTime(NamedTuple):
    """One layer: its median, and what it is. bytes: of constants. products: what it multiplies."""

    name: str
    kernel: str
    tile: str
    output: str
    macs: int
    bytes: int
    time_ms: float
    products: Products = "float32"

    @property
    def gflops(self) -> float | None:
        """10⁹ operations/s; None for a layer that multiplies nothing, or is too short to say."""
        return 2 * self.macs / self.time_ms / 1e6 if self.macs and self.time_ms >= SHORT_MS else None


@dataclass(frozen=True)
class LayerTimes:
    """Layers in order. whole_ms: median of a whole run in the same rounds. limit_gflops: best
    of `Multiplications` in the same rounds; limits_gops: of the loops for what else layers multiply.
    """

    layers: tuple[LayerTime, ...]
    rounds: int
    whole_ms: float
    limit_gflops: float
    limits_gops: Mapping[Products, float] = field(default_factory=dict)

    @property
    def sum_ms(self) -> float:
        return sum(layer.time_ms for layer in self.layers)

    def limit_share(self, layer: LayerTime) -> float | None:
        """Of what the machine can do at most; None where the layer's own speed is."""
        limit = self.limits_gops.get(layer.products, self.limit_gflops)
        return None if layer.gflops is None else layer.gflops / limit


def time_layers(
    found: Planned,
    feeds: Mapping[str, Array],
    rounds: int,
    *,
    progress: Progress = silent,
    clock: Clock = SYSTEM,
) -> LayerTimes:
    """Medians over `rounds` of every layer of the first variant, which `feeds` are for.

    The model must be one of which `why_untimed` says nothing. Raises as `Session.run`.
    """
    model = written(found, apart=True)
    Store().record(model.digest)
    calls = list(found.layouts[0].program.layers())
    entries = [*[EMPTY_ENTRY] * EMPTY_CALLS, *(layer_entry(i) for i in range(len(calls)))]
    whole_ms, times_ms = np.empty(rounds), np.empty((rounds, len(entries)))
    products: list[Products] = [heaviest(call.lowered).kernel.products for call in calls]
    limits_gops: dict[Products, float] = dict.fromkeys(("float32", *products), 0.0)
    with littoral.load(model) as session, ExitStack() as stack:
        loops = {kind: stack.enter_context(LOOPS[kind]()) for kind in limits_gops}
        for i in range(-WARM_UP_ROUNDS, rounds):
            whole, parts = session.time_entries(feeds, [ENTRY], clock), session.time_entries(feeds, entries, clock)
            for kind, loop in loops.items():
                limits_gops[kind] = max(limits_gops[kind], loop.speed(clock))
            if i >= 0:
                whole_ms[i], times_ms[i] = whole[0], parts
                progress(f"{whole[0]:.2f} ms", i + 1, rounds)
    medians_ms = _without_the_call(np.median(times_ms, axis=0))
    layers = [
        LayerTime(
            name=row.name,
            kernel=row.kind,
            tile=heaviest(call.lowered).kernel.tiling,
            output=str(call.writes[0].type),
            macs=row.macs,
            bytes=row.bytes,
            time_ms=time_ms,
            products=kind,
        )
        for row, call, kind, time_ms in zip(model.manifest.layers, calls, products, medians_ms, strict=True)
    ]
    return LayerTimes(tuple(layers), rounds, float(np.median(whole_ms)), limits_gops.pop("float32"), limits_gops)


def _without_the_call(medians_ms: Array) -> Sequence[float]:
    """Times of the layers, which come after the empty calls, without what the last of those took."""
    return [float(ms) for ms in np.maximum(medians_ms[EMPTY_CALLS:] - medians_ms[EMPTY_CALLS - 1], 0)]
