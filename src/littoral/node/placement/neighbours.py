"""The other nodes as this one sees them: what they could run, how far they are, and who had better not be asked now."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from littoral.clock import Clock
from littoral.errors import LittoralError, PeerError
from littoral.node.placement.experience import Experience
from littoral.node.placement.transfer import Transfer
from littoral.node.placement.way import Way
from littoral.steps.messages import LOADS, Loads, StepTold, decode_loads
from littoral.steps.offer import Offer

__all__ = ["Neighbour", "Neighbours"]

ASK_S = 1.0
FRESH_S = 3.0
BACK_OFF_S = (0.5, 30.0)
REFUSED_S = 2.0
"""A node that takes no part, or not yet, is asked again after so long."""


@dataclass
class Neighbour:
    """loads: as last told, offers brought up to date by every answer; taken_s: when. on_the_way: steps by key.

    failures: since it last answered; rests_until_s: it is left alone, for `why`. has_refused: to tell its loads.
    is_doubtful: it did not answer the last time, and gets one step until it does.
    """

    transfer: Transfer = field(default_factory=Transfer)
    loads: Loads | None = None
    taken_s: float = -1e9
    on_the_way: dict[str, int] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    is_spent: bool = False
    failures: int = 0
    rests_until_s: float = 0.0
    why: str = ""
    has_refused: bool = False
    is_doubtful: bool = False


class Neighbours:
    """For one event loop."""

    def __init__(self, transport: Way, experience: Experience, clock: Clock) -> None:
        self._transport = transport
        self._experience = experience
        self._clock = clock
        self._known: dict[str, Neighbour] = {}

    def of(self, name: str) -> Neighbour:
        if (found := self._known.get(name)) is None:
            found = self._known[name] = Neighbour()
        return found

    def away(self, name: str, alive: Collection[str]) -> str:
        """Why a node cannot be asked, else empty."""
        if name not in alive:
            return "is away"
        found, now_s = self.of(name), self._clock.monotonic()
        if now_s < found.rests_until_s:
            return f"failed, tried again in {found.rests_until_s - now_s:.1f} s: {found.why}"
        if now_s - found.taken_s > FRESH_S:
            return "has not told its load of late"
        if found.is_doubtful and found.on_the_way:
            return "is tried with one step, after a failure"
        return ""

    async def refresh(self, names: Collection[str]) -> None:
        """Asks those nodes for their loads, all at once."""
        await asyncio.gather(*(self._refresh(name) for name in names))

    def is_resting(self, name: str) -> bool:
        """Whether it is left alone for a while."""
        return self._clock.monotonic() < self.of(name).rests_until_s

    async def _refresh(self, name: str) -> None:
        began_s = self._clock.monotonic()
        try:
            body = await self._transport.request(name, LOADS, b"", deadline_s=ASK_S)
            loads = decode_loads(body, name)
        except PeerError as error:
            self._rest(self.of(name), error.message)
            return
        except LittoralError as error:
            self._rest(self.of(name), error.message, max(REFUSED_S, getattr(error, "retry_after_s", 0.0)))
            self.of(name).has_refused = True
            return
        now_s = self._clock.monotonic()
        found = self.of(name)
        found.transfer.note(len(body), now_s - began_s)
        if found.loads is not None and found.loads.boot != loads.boot:
            self._experience.forget(name)
        if found.has_refused:
            self.returned(name)
        found.loads, found.taken_s, found.is_spent = loads, now_s, loads.spent
        found.offers = {key: offer for key in loads.offers if (offer := loads.offer(key)) is not None}

    def answered(self, name: str, key: str, told: StepTold, size_bytes: int, way_s: float) -> None:
        """A step was done there. way_s: there and back, without the time inside."""
        found = self.of(name)
        found.failures, found.why, found.is_doubtful = 0, "", False
        found.transfer.note(size_bytes, way_s)
        found.offers[key] = Offer(told.offer.waiting, told.offer.busy, told.offer.slots, told.offer.service_s)
        found.is_spent = told.spent
        found.taken_s = self._clock.monotonic()

    def failed(self, name: str, error: LittoralError) -> None:
        """It is left alone for a while: as long as it says, else longer each time."""
        found = self.of(name)
        found.failures += 1
        found.is_doubtful = found.is_doubtful or isinstance(error, PeerError)
        self._rest(found, error.message, getattr(error, "retry_after_s", None))

    def returned(self, name: str) -> None:
        """It came (back)."""
        found = self.of(name)
        found.failures, found.rests_until_s, found.why = 0, 0.0, ""
        found.has_refused = found.is_doubtful = False

    def all(self) -> Mapping[str, Neighbour]:
        """By name."""
        return self._known

    def _rest(self, found: Neighbour, why: str, wanted_s: float | None = None) -> None:
        least_s, most_s = BACK_OFF_S
        rest_s = min(most_s, least_s * 2 ** min(found.failures, 10)) if wanted_s is None else min(most_s, wanted_s)
        found.rests_until_s = max(found.rests_until_s, self._clock.monotonic() + rest_s)
        found.why = why
