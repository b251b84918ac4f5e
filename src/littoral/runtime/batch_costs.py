"""What a run of each of a model's batch sizes costs, and whether it gives the bits of single runs: measured.

Costs are processor time of the thread that runs the guest: what else the machine does is no cost of the batch.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from math import inf

import numpy as np

from littoral.artifact.manifest import Variant
from littoral.clock import SYSTEM, THREAD, Clock
from littoral.errors import SandboxError
from littoral.runtime.fitting import Place, split_dimension
from littoral.runtime.instance import Session
from littoral.tensors import DTYPES, Array

__all__ = ["BatchCosts", "measured"]

SHARE_OF_THE_LATEST = 0.1
TIMED_RUNS = 2
TIME_S_MAX = 3.0
GAIN_MIN = 0.9
"""A larger batch must cost each item at most this share of a smaller one's."""

Shapes = tuple[tuple[int, ...], ...]


class BatchCosts:
    """seconds: of a run, by the shapes of the variant; those that are not in it are not used. From any thread."""

    def __init__(self, seconds: Mapping[Shapes, float]) -> None:
        self._seconds = dict(seconds)
        self._usable: dict[tuple[int, ...], list[int]] = {}
        self._lock = threading.Lock()

    def usable(self, place: Place) -> list[int]:
        """Sizes that may be used, ascending."""
        if (found := self._usable.get(place.group)) is None:
            found = sorted(size for size, shapes in place.sizes.items() if shapes in self._seconds)
            self._usable[place.group] = found
        return found

    def of(self, place: Place, items: int) -> float:
        """Seconds of the run that holds so many; infinite if none does."""
        size = next((size for size in self.usable(place) if size >= items), None)
        return inf if size is None else self._seconds[place.sizes[size]]

    def best(self, place: Place, items_max: int) -> int:
        """The number of items whose run costs each of them least; the smaller of two that are much the same."""
        found, each = 1, self.of(place, 1)
        for size in self.usable(place):
            if size <= items_max and self.of(place, size) / size < each * GAIN_MIN:
                found, each = size, self.of(place, size) / size
        return found

    def each_s(self, place: Place, items_max: int) -> float:
        """Seconds of an item in the best run."""
        best = self.best(place, items_max)
        cost = self.of(place, best) / best
        return 0.0 if cost == inf else cost

    def choose(self, place: Place, counts: Sequence[int], left_s: float) -> int:
        """How many of the first requests run together. counts: items of the first, of the first two, …

        As many as cost each item least, and not more than the first has time for.
        """
        chosen, each = 1, self.of(place, counts[0]) / counts[0]
        for number, items in enumerate(counts[1:], 2):
            cost = self.of(place, items)
            if cost <= left_s and cost / items < each * (GAIN_MIN if chosen == 1 else 1):
                chosen, each = number, cost / items
        return chosen

    def note(self, place: Place, items: int, seconds: float) -> None:
        """What a run took: the mean follows."""
        size = next((size for size in self.usable(place) if size >= items), None)
        if size is None:
            return
        with self._lock:
            shapes = place.sizes[size]
            self._seconds[shapes] += (seconds - self._seconds[shapes]) * SHARE_OF_THE_LATEST


def measured(
    session: Session, *, batch_max: int, say: Callable[[str], object] = lambda _: None, clock: Clock = SYSTEM
) -> BatchCosts:
    """Runs every variant of at most `batch_max` items on made-up values, in a guest thread; for 3 s at most.

    A variant that fails, or gives other bits than single runs do, is left out, and `say` is told.
    """
    split = split_dimension(session.manifest.axes)
    rng = np.random.default_rng(0)
    seconds: dict[Shapes, float] = {}
    until = clock.monotonic() + TIME_S_MAX
    for variant in sorted(session.manifest.variants, key=lambda variant: variant.key[split]):
        items = variant.key[split]
        if items > max(1, batch_max):
            continue
        if clock.monotonic() > until:
            say(f"batches of {items} are not used: no time was left to try them")
            continue
        requests = [_made_up(session, variant, split, rng) for _ in range(items)]
        try:
            took = _took(session, requests)
        except SandboxError as error:
            say(f"batches of {items} are not used: {error.message}")
            continue
        if took is None:
            say(f"batches of {items} are not used: they give other bits than single runs")
        else:
            seconds[tuple(port.shape for port in variant.inputs)] = took
    return BatchCosts(seconds)


def _made_up(session: Session, variant: Variant, split: str, rng: np.random.Generator) -> dict[str, Array]:
    """One item. Whole numbers are 0 and 1, which every table has."""
    along, feeds = session.manifest.axes[split].inputs, {}
    for port in variant.inputs:
        shape = tuple(1 if axis == along[port.name] else size for axis, size in enumerate(port.shape))
        storage = DTYPES[port.dtype].storage
        is_float = port.dtype in ("float16", "float32", "float64")
        feeds[port.name] = (
            rng.standard_normal(shape).astype(storage) if is_float else rng.integers(0, 2, shape).astype(storage)
        )
    return feeds


def _took(session: Session, requests: Sequence[Mapping[str, Array]]) -> float | None:
    """Seconds of a run, the best of two; None if the bits are not those of single runs."""
    times = []
    for _ in range(TIMED_RUNS):
        began = THREAD.monotonic()
        together = session.run_together(requests)
        times.append(THREAD.monotonic() - began)
    for feeds, outputs in zip(requests, together, strict=True):
        single = session.run(feeds)
        if any(single[name].tobytes() != array.tobytes() for name, array in outputs.items()):
            return None
    return min(times)
