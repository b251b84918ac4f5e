"""The network in one process: every node's end of it in one event loop, with the time of that loop.

In `littoral.testing.SimulatedLoop` that time is simulated, and the same calls give the same order of events.
Nodes may be killed, frozen and cut off from each other. What a message takes from one to another says `Conditions`.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from littoral.errors import ConflictError
from littoral.transport.desk import Rights
from littoral.transport.fake_end import FakeTransport
from littoral.transport.names import checked_name

__all__ = ["BODY_BYTES_MAX", "LEASE_S", "Calm", "Conditions", "Network"]

BODY_BYTES_MAX = 16 << 20
LEASE_S = 2.0
"""A node that says nothing for so long is told to be gone."""


class Conditions(Protocol):
    """What lies between two nodes."""

    def delay_s(self, origin: str, target: str, body_bytes: int) -> float | None:
        """Until a message arrives that is sent now; None: never."""
        ...


class Calm:
    """Everything arrives at once."""

    def delay_s(self, origin: str, target: str, body_bytes: int) -> float | None:  # noqa: ARG002
        return 0.0


class Network:
    """For one event loop."""

    def __init__(self, conditions: Conditions | None = None, *, lease_s: float = LEASE_S) -> None:
        self._conditions = conditions or Calm()
        self._lease_s = lease_s
        self._ends: dict[str, FakeTransport] = {}
        self._seen: set[str] = set()
        self._hidden: dict[str, set[str]] = {}
        self._cuts: list[tuple[frozenset[str], frozenset[str]]] = []
        self._parked: dict[str, list[Callable[[], None]]] = {}
        self._last_s: dict[tuple[str, str], float] = {}

    def join(self, name: str, *, body_bytes_max: int = BODY_BYTES_MAX, rights: Rights | None = None) -> FakeTransport:
        """A node's end, there for the others from the next turn of the loop. Raises ConflictError for a second."""
        if checked_name("node", name) in self._ends:
            raise ConflictError(f"node `{name}`: is on this network already")
        end = self._ends[name] = FakeTransport(self, name, body_bytes_max, rights)
        self._hidden[name] = set()
        _loop().call_soon(self._appear, name)
        _loop().call_soon(self._settle)
        return end

    def kill(self, name: str) -> None:
        """The process ends at once; the others learn of it after the lease. The name may join again."""
        if (end := self._ends.pop(name, None)) is not None:
            end.end()
            self._parked.pop(name, None)
            _loop().call_later(self._lease_s, self._vanish, name, end)

    def freeze(self, name: str) -> None:
        """The process stands still: what it sends and what it is sent waits."""
        self._parked.setdefault(name, [])
        _loop().call_later(self._lease_s, self._vanish_frozen, name)

    def thaw(self, name: str) -> None:
        """It goes on, and gets what waited."""
        for deliver in self._parked.pop(name, []):
            _loop().call_soon(deliver)
        if name in self._ends:
            self._appear(name)

    def cut(self, some: Iterable[str], others: Iterable[str]) -> None:
        """Nothing gets from either group to the other, until `heal`."""
        self._cuts.append((frozenset(some), frozenset(others)))
        _loop().call_later(self._lease_s, self._settle)

    def heal(self) -> None:
        """Every cut is gone."""
        self._cuts.clear()
        _loop().call_soon(self._settle)

    # What an end asks of its network.

    def names(self) -> list[str]:
        return list(self._ends)

    def end_of(self, name: str) -> FakeTransport | None:
        return self._ends.get(name)

    def sees(self, name: str, other: str) -> bool:
        return other in self._seen and other not in self._hidden.get(name, ())

    def seen_by(self, name: str) -> frozenset[str]:
        return frozenset(self._seen - self._hidden.get(name, set()) | {name})

    def send(self, origin: str, target: str, body_bytes: int, deliver: Callable[[], None]) -> None:
        """In order between two nodes. What a cut is in the way of, or the conditions lose, never arrives."""
        if origin in self._parked:
            self._parked[origin].append(lambda: self.send(origin, target, body_bytes, deliver))
            return
        delay_s = self._conditions.delay_s(origin, target, body_bytes)
        if delay_s is None or self._is_cut(origin, target):
            return
        loop, pair = _loop(), (origin, target)
        self._last_s[pair] = arrival_s = max(loop.time() + delay_s, self._last_s.get(pair, 0.0))
        if arrival_s <= loop.time():
            loop.call_soon(self._arrive, target, deliver)
        else:
            loop.call_at(arrival_s, self._arrive, target, deliver)

    def leave(self, end: FakeTransport) -> None:
        """Gracefully: the others learn of it at once."""
        if self._ends.get(end.name) is end:
            del self._ends[end.name]
            self._vanish(end.name, end)

    def _arrive(self, target: str, deliver: Callable[[], None]) -> None:
        if target in self._parked:
            self._parked[target].append(deliver)
        else:
            deliver()

    def _is_cut(self, one: str, other: str) -> bool:
        return any(
            (one in some and other in others) or (one in others and other in some) for some, others in self._cuts
        )

    def _appear(self, name: str) -> None:
        if name not in self._ends or name in self._seen:
            return
        self._seen.add(name)
        self._tell(name, True)

    def _vanish_frozen(self, name: str) -> None:
        if name in self._parked and name in self._seen:
            self._seen.discard(name)
            self._tell(name, False)

    def _vanish(self, name: str, end: FakeTransport) -> None:
        if name in self._seen and self._ends.get(name, end) is end:
            self._seen.discard(name)
            self._tell(name, False)

    def _tell(self, name: str, is_here: bool) -> None:
        for other, end in list(self._ends.items()):
            if other != name and name not in self._hidden[other]:
                end.notice(name, is_here)

    def _settle(self) -> None:
        """Who is hidden from whom follows the cuts that are there now."""
        for name, end in list(self._ends.items()):
            hidden = {other for other in self._seen if self._is_cut(name, other)} if self._cuts else set()
            before, self._hidden[name] = self._hidden[name], hidden
            for other in sorted((hidden ^ before) & self._seen):
                end.notice(other, other not in hidden)


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()
