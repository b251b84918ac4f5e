"""Steps that the host does itself, on arrays (`runtime/host/`): `HOST_STEPS` by name.

Most of them are small; what has many bytes goes to the guest threads, so as not to hold up the event loop.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from littoral.errors import SettingError
from littoral.runtime.edges import EdgeType, Value, tensors_of
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.host.axis import JOIN, NORMALIZE, SOFTMAX, THRESHOLD, TOP_K
from littoral.runtime.host.boxes import NMS
from littoral.runtime.host.crop import CROP
from littoral.runtime.host.draw import DRAW
from littoral.runtime.host.kinds import Kind
from littoral.runtime.host.letters import CTC
from littoral.runtime.host.options import OPTIONS, HostOptions
from littoral.runtime.host.regions import REGIONS
from littoral.runtime.step import How
from littoral.tensors import Array

__all__ = ["HOST_STEPS", "HostStage", "HostStep"]

INLINE_BYTES_MAX = 1 << 18  # above, the work would hold up the event loop
IN_THREADS = ("crop", "draw", "regions")

HOST_STEPS: Mapping[str, Kind] = {
    "normalize": NORMALIZE,
    "softmax": SOFTMAX,
    "top_k": TOP_K,
    "threshold": THRESHOLD,
    "join": JOIN,
    "nms": NMS,
    "regions": REGIONS,
    "ctc": CTC,
    "crop": CROP,
    "draw": DRAW,
}


class HostStep:
    """One of `HOST_STEPS`. told: what it is, with what it is told, or its name and that by keyword (`host.options`).

    labels: names of classes, where it is to use some. Raises SettingError for an option that it does not have.
    """

    def __init__(
        self,
        told: HostOptions | str,
        *,
        threads: GuestThreads,
        labels: Sequence[str] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        self._options = told if isinstance(told, HostOptions) else _options(told, options)
        self.name = name or self._options.step
        self._kind = HOST_STEPS[self._options.step]
        self._labels = labels
        self._threads = threads

    @property
    def takes(self) -> EdgeType:
        return self._kind.takes(self._options)

    def bind(self, given: EdgeType) -> "HostStage":
        more = () if self._labels is None else (self._labels,)
        gives, work = self._kind.bind(self._options, given, *more)
        return HostStage(gives, work, self._threads, self._options.step in IN_THREADS)


class HostStage(NamedTuple):
    gives: EdgeType
    work: Callable[[Mapping[str, Array]], Value]
    threads: GuestThreads
    is_long: bool

    async def run(self, value: Value, _how: How) -> Value:
        tensors = tensors_of(value)
        if self.is_long or sum(array.nbytes for array in tensors.values()) > INLINE_BYTES_MAX:
            return await self.threads.run(self.work, tensors)
        return self.work(tensors)


def _options(kind: str, options: Mapping[str, Any]) -> HostOptions:
    if (table := OPTIONS.get(kind)) is None:
        raise SettingError(f"step `{kind}` is unknown, known: {', '.join(OPTIONS)}")
    try:
        return msgspec.convert({"step": kind} | dict(options), table)
    except msgspec.ValidationError as error:
        raise SettingError(f"step `{kind}`: {error}") from error
