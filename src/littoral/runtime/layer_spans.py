"""The layers of a model in a trace: for a request that is recorded they are called one by one, and each is told."""

from heapq import nlargest
from typing import NamedTuple, Protocol

from littoral.artifact.manifest import Manifest, layer_entry
from littoral.runtime.interface import Interface
from littoral.telemetry import Trace, record_span

__all__ = ["LayerSpans", "layer_spans"]

TOLD_MAX = 256
"""Of one run: those that took longest. A request has room for twice as many spans."""


class _Callable(Protocol):
    def call(self, entry: str) -> object: ...


class LayerSpans(NamedTuple):
    """entry: of the variant whose layers these are. layers: entry and name of each, in order."""

    entry: str
    layers: tuple[tuple[str, str, str], ...]

    def call(self, guest: _Callable, trace: Trace) -> None:
        """What the entry does: the same kernels on the same addresses, one after the other."""
        if (recording := trace.recording) is None:
            guest.call(self.entry)
            return
        times_s = [recording.now_s()]
        for entry, _, _ in self.layers:
            guest.call(entry)
            times_s.append(recording.now_s())
        longest = nlargest(TOLD_MAX, range(len(self.layers)), key=lambda at: times_s[at + 1] - times_s[at])
        for at in sorted(longest):
            _, name, kind = self.layers[at]
            told: dict[str, str | int] = {"littoral.layer": at, "littoral.kernel": kind}
            record_span(trace, f"layer {name}", times_s[at], times_s[at + 1], told)


def layer_spans(manifest: Manifest, interface: Interface) -> LayerSpans | None:
    """None for a module whose layers have no entries of their own (`littoral build --layers`)."""
    entries = [layer_entry(at) for at in range(len(manifest.layers))]
    if not entries or any(interface.functions.get(entry) != "() -> ()" for entry in entries):
        return None
    rows = zip(entries, manifest.layers, strict=True)
    return LayerSpans(manifest.variants[0].entry, tuple((entry, row.name, row.kind) for entry, row in rows))
