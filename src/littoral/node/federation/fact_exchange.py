"""Facts on their way between nodes: each tells all others its own, the more seldom the more they are.

In a large site who comes asks a few others what they know. From then on each compares itself with one other at a time,
and who knows of fewer lives asks the other for its facts. What is said of third nodes is hearsay, which that node's own
word replaces.
"""

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import NamedTuple

import msgspec

from littoral.clock import Clock
from littoral.errors import ForbiddenError, InputError, LittoralError
from littoral.mesh.facts import (
    FACT_BYTES_MAX,
    Fact,
    Facts,
    Lives,
    Number,
    decode_fact,
    decode_facts,
    encode_fact,
    encode_facts,
)
from littoral.node.federation.messages import decoded
from littoral.transport import Transport

__all__ = ["FACTS", "FactExchange"]

FACTS = "facts"
FACTS_KNOWN = "facts-known"
FACT_TOLD = "fact-told"
LIVES = "lives"
TELL_S = 2.0
HEARD_PER_S = 25.0
"""So many facts reach a node in a second, however many nodes there are."""

ASK_S = 2.0
COMPARE_S = 1.0
COMPARED_COUNT = 3
TRIED_COUNT = 32
KNOWING_COUNT_MAX = 8
VAIN_COUNT_MAX = 64

ANSWER_BYTES = 1 << 20

_compared = msgspec.msgpack.Decoder(tuple[Number, Lives])
_orders = msgspec.msgpack.Decoder(dict[str, tuple[int, int]])


class Told(NamedTuple):
    """What whoever writes the map has of a node. boot: the writer's, as far as known: with it ends what it heard."""

    map_number: int
    settled: int
    writer: str
    boot: int


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
        self._told_at_s = -TELL_S
        self._told_count = 0
        self._told = Told(-1, -1, "", 0)
        self._map_number = 0
        self._compare_at_s = 0.0
        self._is_new = True
        self._knowing: dict[str, Lives] = {}
        self._vain: deque[Lives] = deque(maxlen=VAIN_COUNT_MAX)
        self._names: tuple[Mapping[str, str], list[str]] = ({}, [])

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
        await self._transport.serve(FACT_TOLD, self._take_told)
        await self._transport.serve(LIVES, self._compare)

    def seen(self) -> None:
        """A node came."""
        if not self.is_large:
            self._tell_at_s = 0.0

    def soon(self) -> None:
        """There is something that others wait for: it is told in the next round, in a site that is not large."""
        if not self.is_large:
            self._tell_at_s = 0.0

    async def tell(
        self,
        make: Callable[[], Awaitable[Fact]],
        maps: tuple[int, int],
        writer: str,
        is_moving: bool,
    ) -> None:
        """This node's fact, where it is due; at once where it goes by another map: in a large site to who wrote it,
        and once more to who was started anew since, or if not all was in its place then.

        maps: by which it goes, and by which all is in its place. is_moving: what it holds is being moved, and others
        wait for its word. Who told it to less than half of those who are here tells it again.
        """
        self._map_number = map_number = maps[0]
        now_s, is_writer = self._clock.monotonic(), writer == self._transport.name
        told = Told(*maps, writer, self._facts.orders.get(writer, (0, 0))[0])
        is_new_map = map_number != self._told.map_number
        here_count = len(self._transport.alive())
        is_awaited = is_moving or here_count > 2 * self._told_count
        is_for_all = now_s >= self._tell_at_s or (is_awaited and now_s >= self._told_at_s + TELL_S)
        is_for_all |= is_new_map and (is_writer or is_moving or not self.is_large)
        if not is_for_all and (is_writer or told == self._told):
            return
        fact = await make()
        self._facts.take(fact)
        if not is_for_all:
            with contextlib.suppress(LittoralError):
                await self._transport.request(writer, FACT_TOLD, encode_fact(fact), deadline_s=ASK_S)
                self._told = told
            return
        self._told, self._told_at_s, self._told_count = told, now_s, here_count
        self._tell_at_s = now_s + self.tell_s * (0.75 + self._rng.random() / 2 if self.is_large else 0.99)
        await self._transport.publish(FACTS, encode_fact(fact))

    async def ask(self) -> None:
        """In a large site: what is known elsewhere and not here, of lives and of the map."""
        self._facts.belong(self._members())
        now_s = self._clock.monotonic()
        if not self.is_large or now_s < self._compare_at_s:
            return
        self._compare_at_s = now_s + COMPARE_S
        if self._is_new:
            for peer in self._some(1):
                await self._ask_of(peer, None)
        else:
            for peer in self._some(COMPARED_COUNT):
                if await self._is_alike(peer):
                    break
        knowing, self._knowing = self._knowing, {}
        for peer, lives in knowing.items():
            if self._is_more(lives):
                await self._ask_of(peer, lives)

    def _some(self, count: int) -> list[str]:
        """Members that are here, at random."""
        if (members := self._members()) is not self._names[0]:
            self._names = (members, sorted(members))
        here = self._transport.alive() - {self._transport.name}
        tried = self._rng.sample(self._names[1], min(TRIED_COUNT, len(members)))
        found = [name for name in tried if name in here] or sorted(here & members.keys())
        return found[:count]

    async def _is_alike(self, peer: str) -> bool:
        """Whether it knows of the same lives."""
        try:
            answer = await self._transport.request(peer, LIVES, self._own_lives(), deadline_s=COMPARE_S)
        except LittoralError:
            return False
        return self._hear_lives(peer, answer) == self._facts.lives

    async def _compare(self, caller: str, body: bytes) -> bytes:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")
        self._hear_lives(caller, body)
        return self._own_lives()

    def _own_lives(self) -> bytes:
        return msgspec.msgpack.encode((self._map_number, self._facts.lives))

    def _hear_lives(self, peer: str, body: bytes) -> Lives:
        map_number, lives = decoded(_compared, body, f"lives that `{peer}` knows of")
        self._heard(peer, map_number)
        if self._is_more(lives) and len(self._knowing) < KNOWING_COUNT_MAX:
            self._knowing[peer] = lives
        return lives

    def _is_more(self, lives: Lives) -> bool:
        return lives > self._facts.lives and lives not in self._vain

    async def _ask_of(self, peer: str, lives: Lives | None) -> None:
        try:
            is_news = await self._ask_one(peer)
        except LittoralError:
            if lives is not None:
                self._knowing[peer] = lives
            return
        self._is_new = False
        if lives is not None and not is_news:
            self._vain.append(lives)

    async def _ask_one(self, peer: str) -> bool:
        """All that it knows; whether there was something new."""
        has_told = False
        while True:
            known = msgspec.msgpack.encode(self._facts.orders)
            body = await self._transport.request(peer, FACTS_KNOWN, known, deadline_s=ASK_S)
            is_news = False
            for sender, told in decode_facts(body, peer):
                with contextlib.suppress(InputError):
                    is_news |= self._take_one(self.decode(told, sender), told, is_proven=sender == peer)
            has_told |= is_news
            if not is_news or len(body) + FACT_BYTES_MAX < ANSWER_BYTES:
                return has_told

    async def _tell_known(self, caller: str, body: bytes) -> bytes:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")
        known = decoded(_orders, body, f"request of `{caller}` for facts")
        facts, orders = self._facts.all(), self._facts.orders
        newer = (facts[name] for name, order in orders.items() if order > known.get(name, ()) and name != caller)
        return encode_facts(newer, ANSWER_BYTES)

    async def _take_told(self, caller: str, body: bytes) -> bytes:
        self._take_one(self.decode(body, caller), body, is_proven=True)
        return b""

    def _take(self, sender: str, _topic: str, body: bytes) -> None:
        try:
            self._take_one(self.decode(body, sender), body, is_proven=True)
        except LittoralError:
            return

    def _take_one(self, fact: Fact, told: bytes, *, is_proven: bool) -> bool:
        if fact.node == self._transport.name or fact.node not in self._members():
            return False
        is_news = self._facts.take(fact, is_proven=is_proven, told=told)
        if is_news:
            self._heard(fact.node, fact.map_number)
        return is_news
