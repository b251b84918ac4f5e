"""Facts on their way between nodes: each tells all others its own, the more seldom the more they are.

In a large site who comes, or comes back, asks a few others what they know, and so does everyone now and then: what they
say of third nodes is hearsay, which that node's own word replaces.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from random import Random

import msgspec

from littoral.clock import Clock
from littoral.errors import ForbiddenError, InputError, LittoralError
from littoral.mesh.facts import Fact, Facts, decode_fact, decode_facts, encode_fact, encode_facts
from littoral.node.federation.messages import decoded
from littoral.transport import Transport

__all__ = ["FACTS", "FactExchange"]

FACTS = "facts"
FACTS_KNOWN = "facts-known"
TELL_S = 2.0
HEARD_PER_S = 25.0
"""So many facts reach a node in a second, however many nodes there are."""

ASKED_COUNT = 2
ASK_S = 2.0
REST_S = 1.0
"""Between two times of asking, however many come."""

ANSWER_BYTES = 1 << 20

_orders = msgspec.msgpack.Decoder(dict[str, tuple[int, int]])


class FactExchange:
    """members: names of the nodes of the site. heard: told which map a node goes by."""

    def __init__(
        self,
        facts: Facts,
        transport: Transport,
        members: Callable[[], Mapping[str, str]],
        heard: Callable[[str, int], None],
        clock: Clock,
    ) -> None:
        self.decode: Callable[[bytes, str], Fact] = decode_fact
        self._facts = facts
        self._transport = transport
        self._members = members
        self._heard = heard
        self._clock = clock
        self._rng = Random(transport.name)  # noqa: S311 (when to tell)
        self._tell_at_s = 0.0
        self._told_map = -1
        self._ask_at_s = self._rest_until_s = 0.0
        self._came: set[str] = set()

    @property
    def tell_s(self) -> float:
        """How often a node tells its fact."""
        return max(TELL_S, len(self._members()) / HEARD_PER_S)

    @property
    def is_large(self) -> bool:
        """Whether facts come so seldom that who knows nothing yet should ask."""
        return self.tell_s > TELL_S

    async def open(self) -> None:
        """From now on it hears what others tell, and answers who asks."""
        await self._transport.subscribe(FACTS, self._take)
        await self._transport.serve(FACTS_KNOWN, self._tell_known)

    def seen(self, name: str) -> None:
        """A node came, which may know what was told while it could not be heard."""
        self._came.add(name)
        if not self.is_large:
            self._tell_at_s = 0.0

    def soon(self) -> None:
        """There is something that others wait for: it is told in the next round, in a site that is not large."""
        if not self.is_large:
            self._tell_at_s = 0.0

    async def tell(self, make: Callable[[], Awaitable[Fact]], *, map_number: int, is_writer: bool) -> None:
        """This node's fact, where it is due; at once where it goes by another map: in a large site, if it wrote it."""
        now_s = self._clock.monotonic()
        is_new_map = map_number != self._told_map and (is_writer or not self.is_large)
        if now_s < self._tell_at_s and not is_new_map:
            return
        self._told_map = map_number
        self._tell_at_s = now_s + self.tell_s * (0.75 + self._rng.random() / 2 if self.is_large else 0.99)
        fact = await make()
        self._facts.take(fact)
        await self._transport.publish(FACTS, encode_fact(fact))

    async def ask(self) -> None:
        """What a few others know: those who came, else now and then somebody."""
        now_s = self._clock.monotonic()
        if not self.is_large or now_s < self._rest_until_s:
            return
        came, self._came = self._came, set()
        self._rest_until_s = now_s + REST_S
        alive = self._transport.alive() - {self._transport.name}
        if not (came := came & alive):
            if now_s < self._ask_at_s:
                return
            came = set(alive & self._members().keys())
        self._ask_at_s = now_s + self.tell_s * (0.5 + self._rng.random())
        for peer in self._rng.sample(sorted(came), min(ASKED_COUNT, len(came))):
            try:
                await self._ask_one(peer)
            except LittoralError:
                self._came.add(peer)

    async def _ask_one(self, peer: str) -> None:
        """Until it tells nothing new."""
        is_news = True
        while is_news:
            known = {name: one.fact.order for name, one in self._facts.all().items()}
            body = await self._transport.request(peer, FACTS_KNOWN, msgspec.msgpack.encode(known), deadline_s=ASK_S)
            is_news = False
            for sender, told in decode_facts(body, peer):
                with contextlib.suppress(InputError):
                    is_news |= self._take_one(self.decode(told, sender), is_proven=sender == peer)

    async def _tell_known(self, caller: str, body: bytes) -> bytes:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")
        known = decoded(_orders, body, f"request of `{caller}` for facts")
        newer = (
            one.fact
            for name, one in self._facts.all().items()
            if name != caller and one.fact.order > known.get(name, ())
        )
        return encode_facts(newer, ANSWER_BYTES)

    def _take(self, sender: str, _topic: str, body: bytes) -> None:
        with contextlib.suppress(LittoralError):
            self._take_one(self.decode(body, sender), is_proven=True)

    def _take_one(self, fact: Fact, *, is_proven: bool) -> bool:
        if fact.node == self._transport.name or fact.node not in self._members():
            return False
        is_news = self._facts.take(fact, is_proven=is_proven)
        if is_news:
            self._heard(fact.node, fact.map_number)
        return is_news
