"""One writer at a time where storage has no locks: a lease in one object, by conditional writes alone.

Who has it says so in the object and says it again while it writes. Who waits takes the lease over when the object has
not changed for `LEASE_S` by its own clock: no two machines' clocks are compared.
"""

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from littoral.clock import Clock
from littoral.errors import UnavailableError

__all__ = ["LEASE_S", "RENEW_S", "Cell", "Lease", "Tagged"]

LEASE_S = 60.0
"""Longer than one write lasts at most, and `RENEW_S` beside it: nobody is taken over while a write is on its way."""

RENEW_S = 8.0
WAIT_S_MAX = 3 * LEASE_S
PAUSE_S, PAUSE_S_MAX = 0.05, 1.0


class Tagged(NamedTuple):
    """An object, and the tag that changes with it."""

    data: bytes
    tag: str


class Cell(Protocol):
    """One object that is written on a condition. Raises UnavailableError while the storage is away."""

    def read(self) -> Tagged | None:
        """None where there is none."""
        ...

    def write(self, data: bytes, tag: str | None) -> str | None:
        """In the place of what has this tag, of none for None. The new tag; None where something else is there."""
        ...


class _Held(msgspec.Struct, frozen=True):
    """by: empty where nobody has it. number: of this writing, so that each is another object."""

    by: str = ""
    number: str = ""


class Lease:
    """For one thread at a time. clock: monotonic; wait: seconds."""

    def __init__(self, cell: Cell, name: str, clock: Clock, wait: Callable[[float], object] = time.sleep) -> None:
        self._cell = cell
        self._name = name
        self._clock = clock
        self._wait = wait
        self._by = secrets.token_hex(8)
        self._tag: str | None = None
        self._said_s = 0.0
        self._is_judged = False

    def take(self) -> None:
        """Waits for whoever has it. Raises UnavailableError after `WAIT_S_MAX`, or where the storage is away."""
        begun_s = seen_s = self._clock.monotonic()
        seen: str | None = None
        pause_s = PAUSE_S
        while True:
            found, now_s = self._cell.read(), self._clock.monotonic()
            tag = None if found is None else found.tag
            if seen is None or tag != seen:
                seen, seen_s = tag, now_s
            if (found is None or not _read(found.data).by or now_s - seen_s >= LEASE_S) and self._say(self._by, tag):
                self._judge()
                return
            if now_s - begun_s >= WAIT_S_MAX:
                raise UnavailableError(
                    f"`{self._name}`: others have written for {WAIT_S_MAX:.0f} s",
                    hint="try again",
                    retry_after_s=LEASE_S,
                )
            self._wait(pause_s)
            pause_s = min(PAUSE_S_MAX, 2 * pause_s)

    def keep(self) -> None:
        """Before each write. Raises UnavailableError where another has taken it over."""
        if self._tag is not None and self._clock.monotonic() - self._said_s < RENEW_S:
            return
        if self._tag is None or not self._say(self._by, self._tag):
            self._tag = None
            raise UnavailableError(
                f"`{self._name}`: another writer has taken over",
                hint="what was not written yet was given up; try again",
            )

    def release(self) -> None:
        """What cannot be given back ends by itself."""
        if self._tag is not None:
            try:
                self._say("", self._tag)
            except UnavailableError:
                return
            finally:
                self._tag = None

    def _say(self, by: str, tag: str | None) -> bool:
        """Whether it is so now; an answer that was lost is looked up."""
        data = msgspec.json.encode(_Held(by, secrets.token_hex(8)))
        at_s = self._clock.monotonic()
        new = self._cell.write(data, tag)
        if new is None and (there := self._cell.read()) is not None and there.data == data:
            new = there.tag
        if new is not None:
            self._tag, self._said_s = new, at_s
        return new is not None

    def _judge(self) -> None:
        """Once: that the storage does keep to conditions. Raises UnavailableError."""
        if self._is_judged:
            return
        if self._cell.write(msgspec.json.encode(_Held(self._by, "judged")), None) is not None:
            raise UnavailableError(
                f"`{self._name}`: the storage writes whatever the condition, so that two writers would undo each other",
                hint="storage that knows `If-None-Match` and `If-Match` of PUT",
            )
        self._is_judged = True


def _read(data: bytes) -> _Held:
    """What cannot be read is somebody's, until it has not changed for long enough."""
    try:
        return msgspec.json.decode(data, type=_Held)
    except msgspec.DecodeError:
        return _Held("unknown")
