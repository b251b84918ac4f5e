"""The network in one process: every node's end of it in one event loop, with the time of that loop.

In `littoral.testing.SimulatedLoop` that time is simulated, and the same calls give the same order of events.
Nodes may be killed, frozen and cut off from each other. What a message takes from one to another says `Conditions`.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from typing import NamedTuple, Protocol

from littoral.errors import ConflictError
from littoral.transport.desk import Rights
from littoral.transport.fake_end import FakeTransport
from littoral.transport.names import checked_name

__all__ = ["BODY_BYTES_MAX", "LEASE_S", "Calm", "Conditions", "Cut", "Network"]

BODY_BYTES_MAX = 16 << 20
LEASE_S = 2.0
"""A node that says nothing for so long is told to be gone."""

TOGETHER_S = 0.001


class Conditions(Protocol):
    """What lies between two nodes."""

    def arrivals_s(self, origin: str, target: str, body_bytes: int) -> Sequence[float]:
        """After how long a message arrives that is sent now; several: more than once, none: never."""
        ...


class Calm:
    """Everything arrives at once."""

    def arrivals_s(self, origin: str, target: str, body_bytes: int) -> Sequence[float]:  # noqa: ARG002
        return _AT_ONCE


_AT_ONCE = (0.0,)


class Network:
    """For one event loop. is_orderly: what one node sends another arrives in that order, as a transport promises.

    told: called with each message that is sent: origin, to whom, bytes.
    """

    def __init__(
        self,
        conditions: Conditions | None = None,
        *,
        lease_s: float = LEASE_S,
        is_orderly: bool = True,
        told: Callable[[str, Sequence[str], int], None] | None = None,
    ) -> None:
        self._conditions = conditions or Calm()
        self._lease_s = lease_s
        self._is_orderly = is_orderly
        self._told = told
        self._context = copy_context()
        self._ends: dict[str, FakeTransport] = {}
        self._seen: set[str] = set()
        self._hidden: dict[str, set[str]] = {}
        self._everyone: frozenset[str] | None = None
        self._cuts: list[Cut] = []
        self._parked: dict[str, list[Callable[[], None]]] = {}
        self._last_s: defaultdict[str, dict[str, float]] = defaultdict(dict)
        """By origin and target, when the latest message arrives."""

    def join(self, name: str, *, body_bytes_max: int = BODY_BYTES_MAX, rights: Rights | None = None) -> FakeTransport:
        """A node's end, there for the others from the next turn of the loop. Raises ConflictError for a second."""
        if checked_name("node", name) in self._ends:
            raise ConflictError(f"node `{name}`: is on this network already")
        end = self._ends[name] = FakeTransport(self, name, body_bytes_max, rights)
        self._hidden[name] = set()
        self._soon(self._appear, name)
        if self._cuts:
            self._soon(self._settle)
        return end

    def kill(self, name: str) -> None:
        """The process ends at once; the others learn of it after the lease. The name may join again."""
        if (end := self._ends.pop(name, None)) is not None:
            end.end()
            self._parked.pop(name, None)
            self._later(self._lease_s, self._vanish, name, end)

    def freeze(self, name: str) -> None:
        """The process stands still: what it sends and what it is sent waits."""
        self._parked.setdefault(name, [])
        self._later(self._lease_s, self._vanish_frozen, name)

    def thaw(self, name: str) -> None:
        """It goes on, and gets what waited."""
        for deliver in self._parked.pop(name, []):
            self._soon(deliver)
        if name in self._ends:
            self._appear(name)

    def cut(self, some: Iterable[str], others: Iterable[str], *, is_one_way: bool = False) -> "Cut":
        """Nothing gets from either group to the other, until `heal`. is_one_way: from the first to the second.

        Who does not hear another says nothing to it any more, so that after the lease neither sees the other.
        """
        made = Cut(frozenset(some), frozenset(others), is_one_way)
        self._cuts.append(made)
        self._later(self._lease_s, self._settle)
        return made

    def heal(self, cut: "Cut | None" = None) -> None:
        """This cut is gone; without one, every cut. What it held up is asked again by who waits for it still."""
        gone = [one for one in self._cuts if cut is None or one is cut]
        self._cuts = [one for one in self._cuts if cut is not None and one is not cut]
        self._soon(self._settle)
        self._soon(self._ask_again, gone)

    # What an end asks of its network.

    def end_of(self, name: str) -> FakeTransport | None:
        return self._ends.get(name)

    def sees(self, name: str, other: str) -> bool:
        return other in self._seen and other not in self._hidden.get(name, ())

    def seen_by(self, name: str) -> frozenset[str]:
        if self._everyone is None:
            self._everyone = frozenset(self._seen)
        if not (hidden := self._hidden.get(name)):
            return self._everyone if name in self._everyone else self._everyone | {name}
        return self._everyone - hidden | {name}

    def send(self, origin: str, target: str, body_bytes: int, deliver: Callable[[], None]) -> None:
        """What a cut is in the way of, or the conditions lose, never arrives."""
        if origin in self._parked:
            self._parked[origin].append(lambda: self.send(origin, target, body_bytes, deliver))
            return
        if self._told is not None:
            self._told(origin, (target,), body_bytes)
        arrivals_s = self._conditions.arrivals_s(origin, target, body_bytes)
        if self._cuts and self._is_cut(origin, target):
            return
        for arrival_s in arrivals_s:
            self._deliver_in(arrival_s, origin, target, deliver)

    def send_all(self, origin: str, body_bytes: int, deliver: Callable[[str], None]) -> None:
        """To every other node; what arrives within a millisecond arrives together."""
        if origin in self._parked:
            self._parked[origin].append(lambda: self.send_all(origin, body_bytes, deliver))
            return
        targets = [target for target in self._ends if target != origin]
        if self._told is not None:
            self._told(origin, targets, body_bytes)
        now_s, last_s, arrivals_s = _loop().time(), self._last_s[origin], self._conditions.arrivals_s
        together: defaultdict[int, list[str]] = defaultdict(list)
        for target in targets:
            delays_s = arrivals_s(origin, target, body_bytes)
            if self._cuts and self._is_cut(origin, target):
                continue
            for delay_s in delays_s:
                first_s = now_s + delay_s
                if self._is_orderly:
                    first_s = max(first_s, last_s.get(target, 0.0))
                moment = math.ceil((first_s - now_s) / TOGETHER_S)
                last_s[target] = max(first_s, now_s + moment * TOGETHER_S)
                together[moment].append(target)
        for moment, some in together.items():
            self._later(moment * TOGETHER_S, self._arrive_all, some, deliver)

    def _arrive_all(self, targets: list[str], deliver: Callable[[str], None]) -> None:
        for target in targets:
            if target in self._parked:
                self._parked[target].append(partial(deliver, target))
            else:
                deliver(target)

    def _arrival_s(self, origin: str, target: str, arrival_s: float) -> float:
        """Not before what was sent before it."""
        if self._is_orderly:
            last_s = self._last_s[origin]
            last_s[target] = arrival_s = max(arrival_s, last_s.get(target, 0.0))
        return arrival_s

    def _deliver_in(self, delay_s: float, origin: str, target: str, deliver: Callable[[], None]) -> None:
        loop = _loop()
        now_s = loop.time()
        arrival_s = self._arrival_s(origin, target, now_s + delay_s)
        if arrival_s <= now_s:
            self._soon(self._arrive, target, deliver)
        else:
            loop.call_at(arrival_s, self._arrive, target, deliver, context=self._context)

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

    def _is_cut(self, origin: str, target: str) -> bool:
        return any(cut.holds_up(origin, target) for cut in self._cuts)

    def _appear(self, name: str) -> None:
        if name not in self._ends or name in self._seen:
            return
        self._seen.add(name)
        self._everyone = None
        self._tell(name, True)

    def _vanish_frozen(self, name: str) -> None:
        if name in self._parked and name in self._seen:
            self._seen.discard(name)
            self._everyone = None
            self._tell(name, False)

    def _vanish(self, name: str, end: FakeTransport) -> None:
        if name in self._seen and self._ends.get(name, end) is end:
            self._seen.discard(name)
            self._everyone = None
            self._tell(name, False)

    def _tell(self, name: str, is_here: bool) -> None:
        for other, end in list(self._ends.items()):
            if other != name and name not in self._hidden[other]:
                end.notice(name, is_here)

    def _settle(self) -> None:
        """Who is hidden from whom follows the cuts that are there now."""
        for name, end in list(self._ends.items()):
            hidden: set[str] = set()
            for cut in self._cuts:
                hidden |= cut.hidden_from(name)
            before, self._hidden[name] = self._hidden[name], hidden
            if hidden != before:
                for other in sorted((hidden ^ before) & self._seen):
                    end.notice(other, other not in hidden)

    def _ask_again(self, gone: Sequence["Cut"]) -> None:
        for name, end in list(self._ends.items()):
            end.ask_again(partial(_was_cut_off, gone, name))

    def _soon(self, call: Callable[..., None], *args: object) -> None:
        _loop().call_soon(call, *args, context=self._context)

    def _later(self, delay_s: float, call: Callable[..., None], *args: object) -> None:
        _loop().call_later(delay_s, call, *args, context=self._context)


class Cut(NamedTuple):
    """Between two groups of nodes; one way: from the first to the second."""

    some: frozenset[str]
    others: frozenset[str]
    is_one_way: bool

    def holds_up(self, origin: str, target: str) -> bool:
        return (origin in self.some and target in self.others) or (
            not self.is_one_way and origin in self.others and target in self.some
        )

    def hidden_from(self, name: str) -> frozenset[str]:
        return (self.others if name in self.some else _NOBODY) | (self.some if name in self.others else _NOBODY)


_NOBODY: frozenset[str] = frozenset()


def _was_cut_off(gone: Sequence[Cut], name: str, peer: str) -> bool:
    return any(cut.holds_up(name, peer) or cut.holds_up(peer, name) for cut in gone)


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()
