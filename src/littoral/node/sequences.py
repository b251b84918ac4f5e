"""State between the requests of a sequence: what a model gave as state goes into its next run (docs/reference/oip.md).

A sequence stays with the version of the model that it began with. Its requests run one after the other, in the order in
which they came. How many there are, and how long one may pause, is bounded.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from littoral.clock import Clock
from littoral.errors import ConflictError, InputError, UnavailableError
from littoral.tensors import Array

__all__ = ["Flags", "Sequence", "Sequences", "SequencesStatistics"]

WAITING_MAX = 16

_V = TypeVar("_V")


class Flags(NamedTuple):
    """What a request says of its sequence."""

    id: int | str
    is_start: bool = False
    is_end: bool = False


@dataclass
class Sequence(Generic[_V]):
    """version: of the model. state: by the name of the input; None before the first run."""

    version: _V
    state: Mapping[str, Array] | None = None
    used_at: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class SequencesStatistics(NamedTuple):
    """open: now. The others since the start: ended by their last request, expired by their pause."""

    open: int
    begun: int
    ended: int
    expired: int


class Sequences(Generic[_V]):
    """Of one model. ports: which output is fed back, by the name of the input. For one event loop."""

    def __init__(self, name: str, ports: Mapping[str, str], *, count_max: int, idle_s: float, clock: Clock) -> None:
        self.ports = ports
        self._name = name
        self._count_max = count_max
        self._idle_s = idle_s
        self._clock = clock
        self._open: OrderedDict[int | str, Sequence[_V]] = OrderedDict()  # the one that paused longest is the first
        self._begun = 0
        self._ended = 0
        self._expired = 0

    def another(self) -> "Sequences[_V]":
        """Of the same model and bounds, without any that is open here."""
        return Sequences(self._name, self.ports, count_max=self._count_max, idle_s=self._idle_s, clock=self._clock)

    @contextlib.asynccontextmanager
    async def turn(self, flags: Flags, version: _V) -> AsyncIterator[Sequence[_V]]:
        """The sequence, for one request alone. version: for one that begins now.

        Raises InputError for one that has not begun, UnavailableError where too many are open, ConflictError where too
        many requests of it wait.
        """
        sequence = self._find(flags, version)
        if sequence.waiting >= WAITING_MAX:
            busy = f"{sequence.waiting} requests of sequence `{flags.id}` are waiting"
            raise ConflictError(f"model `{self._name}`: {busy}, at most {WAITING_MAX}")
        sequence.waiting += 1
        try:
            async with sequence.turn:
                yield sequence
        finally:
            sequence.waiting -= 1
            self._used(flags, sequence)

    def statistics(self) -> SequencesStatistics:
        self._expire()
        return SequencesStatistics(len(self._open), self._begun, self._ended, self._expired)

    def _find(self, flags: Flags, version: _V) -> Sequence[_V]:
        self._expire()
        found = self._open.get(flags.id)
        if flags.is_start:
            return self._begin(flags, version)
        if found is None:
            raise InputError(
                f"model `{self._name}`: sequence `{flags.id}` is unknown",
                hint=f"begin it with `sequence_start`; after a pause of {self._idle_s:g} s it is forgotten",
            )
        return found

    def _begin(self, flags: Flags, version: _V) -> Sequence[_V]:
        """In place of one of the same id: its requests that still run do so on the state that they had."""
        if flags.id not in self._open and len(self._open) >= self._count_max:
            raise UnavailableError(
                f"model `{self._name}`: {len(self._open)} sequences are open, which is the most",
                hint="end one with `sequence_end`, or raise `sequences.max`",
            )
        sequence = Sequence(version, used_at=self._clock.monotonic())
        self._open[flags.id] = sequence
        self._open.move_to_end(flags.id)
        self._begun += 1
        return sequence

    def _used(self, flags: Flags, sequence: Sequence[_V]) -> None:
        if self._open.get(flags.id) is not sequence:
            return
        if flags.is_end:
            del self._open[flags.id]
            self._ended += 1
            return
        sequence.used_at = self._clock.monotonic()
        self._open.move_to_end(flags.id)

    def _expire(self) -> None:
        until = self._clock.monotonic() - self._idle_s
        for key, sequence in list(self._open.items()):
            if sequence.used_at > until:
                return
            if not sequence.waiting:
                del self._open[key]
                self._expired += 1
