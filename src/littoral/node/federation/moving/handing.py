"""Hands points of a shard of this node to the shards that come in its place, and takes those that others hand over."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from littoral.errors import ConflictError, ForbiddenError, LittoralError, UnavailableError
from littoral.mesh.shard_map import Spread
from littoral.node.federation.asking import HOLDERS_S, Target
from littoral.node.federation.generations import (
    Embedders,
    Made,
    NoEmbedders,
    anew,
    config_of,
    made_anew,
    not_known_yet,
)
from littoral.node.federation.local_shards import part_name
from littoral.node.federation.moving.messages import (
    HAND,
    OFFER,
    Asked,
    Hand,
    Handed,
    Offer,
    Offered,
    decode_hand,
    decode_handed,
    decode_offer,
    decode_offered,
    encode,
)
from littoral.node.federation.moving.pacing import Pace
from littoral.node.federation.moving.routes import Routes, region_of, routes, still_wanted
from littoral.node.federation.placing import strategy_of
from littoral.node.federation.replicas import Replicas
from littoral.node.federation.residency import pinned_to
from littoral.transport import Transport
from littoral.vectors.records import Payload, PointId
from littoral.vectors.replication.entries import State, decode_states, key_of, size_of
from littoral.vectors.replication.entries import encode as encode_states

__all__ = ["Handing", "Outcome"]

MESSAGE_BYTES = 1 << 20
STATES_BYTES = 4 << 20
REQUEST_S = 10.0
LEFT_S_MIN = 0.001

Owed = Sequence[tuple[bytes, int]]
Opened = Callable[[str, PointId, Payload | None], Payload | None]


class Outcome(NamedTuple):
    """told: what was handed over, or is known there. away: what goes to shards that nobody here holds. failed: why
    somebody who is here did not take it; None if all did. bytes: handed over, within this node too. level: of
    `pacing.GAITS`, that suits those who took it. refused: what the other layout's model cannot embed. embedded: points
    for which that was tried.
    """

    told: list[tuple[bytes, int]]
    away: list[tuple[bytes, int]]
    failed: LittoralError | None
    bytes: int
    level: int = 0
    refused: Owed = ()
    embedded: int = 0


class _NobodyError(UnavailableError):
    """No node that is here has this shard."""


class Handing:
    """target: a collection by its name. members: names of the nodes of the site."""

    def __init__(
        self,
        transport: Transport,
        replicas: Replicas,
        target: Callable[[str], Target],
        members: Callable[[], Mapping[str, str]],
        pace: Pace,
        opened: Opened,
    ) -> None:
        """opened: of a collection, a payload as whoever embeds it is to see it."""
        self.embedders: Embedders = NoEmbedders()
        self._transport = transport
        self._replicas = replicas
        self._target = target
        self._members = members
        self._pace = pace
        self._opened = opened
        self.bytes_count = 0
        self.points_count = 0
        self.away_point_count = 0
        """Of these, sent to other nodes; a point that goes to two shards of one is sent twice."""

    async def open(self) -> None:
        """From now on points are taken."""
        await self._transport.serve(OFFER, self._answer_offer)
        await self._transport.serve(HAND, self._answer_hand)

    async def hand(
        self,
        target: Target,
        shard: int,
        owed: Owed,
        goal: Spread,
        among: Sequence[int],
        *,
        is_asked_first: bool,
        end_s: float | None = None,
    ) -> Outcome:
        """Points of a shard of this node to those of `goal`, a spread of the collection by another layout.

        among: shards that are told. is_asked_first: what is there already is not sent. end_s: of the clock, by when
        all of it has ended; None: each request has `REQUEST_S`.
        """
        name = part_name(target.name, shard)
        states, unknown = await self._replicas.owed(name).states([key for key, _ in owed])
        away: set[bytes] = set()
        sent = level = 0
        failed: LittoralError | None = None
        made = Made(states, {}, 0)
        try:
            if not (vectors := anew(self._replicas.config(name), goal.model)):
                found = routes(states, goal, target.config, among, region_of(target.spread, shard))
                if is_asked_first and found:
                    found = still_wanted(found, await self._known(target, goal, found), _deleted(states))
            else:
                found, made = await self._embedded(
                    target, shard, states, goal, among, vectors, is_asked_first=is_asked_first
                )
        except _NobodyError:
            return Outcome([], list(owed), None, 0)
        except LittoralError as error:
            return Outcome([], [], error, 0)
        for some in _messages(found):
            try:
                size, gait = await self._send(target, goal, some, end_s)
                sent, level = sent + size, max(level, gait)
            except _NobodyError:
                away |= {key_of(state.change.id) for states in some.values() for state in states}
            except LittoralError as error:
                failed = error
                away |= {key_of(state.change.id) for states in some.values() for state in states}
        seen = ({key_of(state.change.id) for state in states} | unknown) - made.refused.keys()
        done = [(key, noted) for key, noted in owed if key in seen and key not in away]
        left = [(key, noted) for key, noted in owed if key in away]
        self.bytes_count += sent
        self.points_count += len(done)
        refused = [(key, noted) for key, noted in owed if key in made.refused]
        if states:
            self.embedders.refused(target.name, made.refused, [key for key, _ in done])
        return Outcome(done, [] if failed else left, failed, sent, level, refused, made.tried)

    async def _embedded(
        self,
        target: Target,
        shard: int,
        states: Sequence[State],
        goal: Spread,
        among: Sequence[int],
        vectors: Sequence[str],
        *,
        is_asked_first: bool,
    ) -> tuple[Routes, Made]:
        """As `routes`, for shards of another model: of what is not known there, these vectors are embedded anew."""
        config = config_of(target.config, goal)
        known: dict[int, dict[bytes, int]] = {}
        if is_asked_first and states:
            is_by_id, region = strategy_of(goal).by_id, region_of(target.spread, shard)
            asked = routes(states, goal, config, among, region) if is_by_id else {one: list(states) for one in among}
            known = await self._known(target, goal, asked)
            states = not_known_yet(states, known)
        opened = partial(self._opened, target.name)
        made = await made_anew(states, partial(self.embedders.embeds, target.name, goal.model, vectors), opened)
        found = routes(made.states, goal, config, among, region_of(target.spread, shard))
        return still_wanted(found, known, _deleted(states)) if is_asked_first else found, made

    async def _known(self, target: Target, goal: Spread, found: Routes) -> dict[int, dict[bytes, int]]:
        """What each shard that is told of points knows of them.

        Of what is to be gone every holder that is here is asked: one that was just made may lack what others have.
        """
        keys = {shard: [key_of(state.change.id) for state in states] for shard, states in found.items()}
        asked: dict[str, dict[int, list[bytes]]] = {}
        for shard, states in found.items():
            holders = self._here(goal, shard)
            for node in holders if any(state.change.vectors is None for state in states) else holders[:1]:
                asked.setdefault(node, {})[shard] = keys[shard]
        offers = (self._offer(node, Offer(target.name, goal.model, some)) for node, some in asked.items())
        known: dict[int, dict[bytes, int]] = {}
        for some, told in zip(asked.values(), await asyncio.gather(*offers), strict=True):
            for shard in some.keys() & told.times.keys():
                newest = known.setdefault(shard, {})
                for key, time in zip(keys[shard], told.times[shard], strict=True):
                    newest[key] = max(newest.get(key, 0), time, key=abs)
        if left := keys.keys() - known.keys():
            raise _NobodyError(f"shards {sorted(left)} of `{target.name}` are not on their nodes yet")
        return known

    async def look(
        self, target: Target, keys: Sequence[bytes], what: Asked
    ) -> dict[int, tuple[list[int], list[State]]]:
        """What every shard that may be read has of these points: times as in `Offered`, and those that are there.

        Raises UnavailableError where nobody who is here holds one of them.
        """
        asked = self._by_node(target.spread, list(target.spread.places))
        offers = (
            self._offer(node, Offer(target.name, target.spread.model, {shard: list(keys) for shard in shards}, what))
            for node, shards in asked.items()
        )
        found: dict[int, tuple[list[int], list[State]]] = {}
        for told in await asyncio.gather(*offers):
            for shard, times in told.times.items():
                found[shard] = times, decode_states(told.states[shard]) if shard in told.states else []
        if left := target.spread.places.keys() - found.keys():
            raise _NobodyError(f"shards {sorted(left)} of `{target.name}` are not on their nodes yet")
        return found

    async def _offer(self, node: str, offer: Offer) -> Offered:
        if node == self._transport.name:
            return await self._look_up(offer)
        body = await self._transport.request(node, OFFER, encode(offer), deadline_s=REQUEST_S)
        return decode_offered(body, node)

    async def _send(self, target: Target, goal: Spread, some: Routes, end_s: float | None) -> tuple[int, int]:
        """How many bytes, and the level that suits those who took them. One node after the other: who comes later has
        what is left of the time.
        """
        sent = level = 0
        for node, shards in self._by_node(goal, list(some)).items():
            deadline_s = REQUEST_S if end_s is None else max(LEFT_S_MIN, end_s - self._pace.now())
            states = {shard: encode_states(some[shard]) for shard in shards}
            hand = Hand(target.name, goal.model, deadline_s, target.holders, states)
            sent += sum(map(len, states.values()))
            if node == self._transport.name:
                handed = await self._take(hand)
            else:
                self.away_point_count += sum(len(some[shard]) for shard in shards)
                answer = await self._transport.request(node, HAND, encode(hand), deadline_s=deadline_s)
                handed = decode_handed(answer, node)
            level = max(level, handed.level)
            if left := set(shards) - set(handed.taken):
                raise _NobodyError(f"shards {sorted(left)} of `{target.name}` are not on `{node}` yet")
        return sent, level

    def _by_node(self, goal: Spread, shards: Sequence[int]) -> dict[str, list[int]]:
        """One holder of each. Raises _NobodyError."""
        found: dict[str, list[int]] = {}
        for shard in shards:
            found.setdefault(self._here(goal, shard)[0], []).append(shard)
        return found

    def _here(self, goal: Spread, shard: int) -> list[str]:
        """Its holders that are here, this node first. Raises _NobodyError."""
        alive = self._transport.alive() | {self._transport.name}
        nodes = [node for node in goal.places[shard] if node in alive]
        if not nodes:
            raise _NobodyError(f"shard {shard}: none of {', '.join(goal.places[shard])} is here")
        return sorted(nodes, key=lambda node: node != self._transport.name)

    async def _answer_offer(self, caller: str, body: bytes) -> bytes:
        self._check(caller)
        offer = decode_offer(body, caller)
        self._check_model(caller, offer.collection, offer.model, offer.keys)
        if offer.what != "times":
            self._check_may_read(caller, offer)
        return encode(await self._look_up(offer))

    async def _answer_hand(self, caller: str, body: bytes) -> bytes:
        self._check(caller)
        hand = decode_hand(body, caller)
        self._check_model(caller, hand.collection, hand.model, hand.states)
        return encode(await self._take(hand))

    def _check(self, caller: str) -> None:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")

    def _check_may_read(self, caller: str, offer: Offer) -> None:
        region, pinned = self._members()[caller], pinned_to(self._target(offer.collection).spread)
        if hidden := sorted(shard for shard in offer.keys if pinned.get(shard, region) != region):
            raise ForbiddenError(
                f"shard {hidden[0]} of `{offer.collection}` is pinned to a region that node `{caller}` is not in"
            )

    def _check_model(self, caller: str, collection: str, model: str, shards: Iterable[int]) -> None:
        """Shards that have no place here are not taken anyhow."""
        for spread in self._target(collection).spread.both:
            if model != spread.model and not spread.places.keys().isdisjoint(shards):
                raise ConflictError(
                    f"collection `{collection}`: embeddings of model `{spread.model}`, node `{caller}` goes by "
                    f"`{model}`",
                    hint="two models never mix in a collection",
                )

    async def _look_up(self, offer: Offer) -> Offered:
        times: dict[int, list[int]] = {}
        states: dict[int, bytes] = {}
        for shard, keys in offer.keys.items():
            if (name := part_name(offer.collection, shard)) in self._replicas:
                owed = self._replicas.owed(name)
                times[shard] = await owed.times(keys)
                if offer.what != "times" and any(time > 0 for time in times[shard]):
                    found = await owed.outlines(keys) if offer.what == "outlines" else (await owed.states(keys))[0]
                    there = [one for one in found if one.change.vectors is not None]
                    states[shard] = encode_states(_as_many_as_fit(there, STATES_BYTES // len(offer.keys)))
        return Offered(times, states)

    async def _take(self, hand: Hand) -> Handed:
        with self._pace.at_work():
            return Handed(await self._taken(hand), self._pace.level)

    async def _taken(self, hand: Hand) -> list[int]:
        target = self._target(hand.collection)
        alive, places = self._transport.alive() | {self._transport.name}, target.spread.all_places
        end_s, taken = self._pace.now() + hand.deadline_s, list[int]()
        for shard, states in hand.states.items():
            name = part_name(hand.collection, shard)
            if name not in self._replicas or shard not in places:
                continue
            here, left_s = len(alive.intersection(places[shard])), max(LEFT_S_MIN, end_s - self._pace.now())
            await self._replicas.take_over(
                name,
                decode_states(states),
                left_s,
                here=here,
                least=min(hand.holders, here),
                wait_s=min(HOLDERS_S, left_s),
            )
            taken.append(shard)
        return taken


def _deleted(states: Sequence[State]) -> set[bytes]:
    return {key_of(state.change.id) for state in states if state.change.vectors is None}


def _as_many_as_fit(states: Sequence[State], bytes_max: int) -> list[State]:
    """At least one, if there are any: who asks for one point gets it."""
    found: list[State] = []
    for state in states:
        bytes_max -= size_of(state.change)
        if found and bytes_max < 0:
            break
        found.append(state)
    return found


def _messages(found: Routes) -> list[Routes]:
    """In pieces that fit a message between nodes; a point goes with all that is told of it."""
    by_key: dict[bytes, list[tuple[int, State]]] = {}
    for shard, states in found.items():
        for state in states:
            by_key.setdefault(key_of(state.change.id), []).append((shard, state))
    pieces: list[Routes] = [{}]
    size = 0
    for told in by_key.values():
        if size > MESSAGE_BYTES:
            pieces.append({})
            size = 0
        for shard, state in told:
            pieces[-1].setdefault(shard, []).append(state)
            size += size_of(state.change)
    return [piece for piece in pieces if piece]
