"""Sealed fields of spread collections: the node that is asked seals and opens, all others have the sealed form alone.

Which key seals is in the shard map, so that all nodes go by one, and equality is found whoever wrote. The node that
writes the map goes over to a newer key once every member that can read the collection has proven to have it. A node
that lacks a key, or whose site file names a field that does not lie sealed, refuses the collection: it would find too
little, or what it is to seal would lie plain. It holds its shards all the same, since that takes no key.

A field that no node's site file names any more leaves in steps, each of which begins when all go by the one before: who
reads both forms is never beside who reads sealed values alone while somebody writes plain ones.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from msgspec.structs import replace

from littoral.errors import UnavailableError
from littoral.mesh.facts import Fact, Known
from littoral.mesh.shard_map import Leaving, Sealing, ShardMap, Spread
from littoral.node.site_tables import CollectionTable
from littoral.vault import KeyRing
from littoral.vectors import frames
from littoral.vectors.collection import ShardAnswers
from littoral.vectors.encrypted.fields import SealedFields
from littoral.vectors.encrypted.shard import Renewed, SealedShard
from littoral.vectors.records import Payload, PointId

__all__ = ["SealedSpread", "SiteSealing", "Staying", "Waiting"]

OWNER = "mesh\0"
"""What a spread collection's values are bound to, beside its name: no node's own collection opens them."""


class SealedSpread:
    """In the place of a `SpreadShard`. using: the fields that lie sealed now, if any, for as long as a request goes by
    them; raises UnavailableError.
    """

    def __init__(self, shard: ShardAnswers, using: Callable[[], AbstractContextManager[SealedFields | None]]) -> None:
        self._shard = shard
        self._using = using

    async def ask(self, request: frames.Request, deadline_s: float) -> frames.Answer:
        """As the shard's, with plain values. Raises as `SealedShard.ask`."""
        with self._using() as fields:
            shard = self._shard if fields is None else SealedShard(self._shard, fields)
            return await shard.ask(request, deadline_s)

    async def renew(self, deadline_s: float, done: Renewed) -> Renewed:
        """As `SealedShard.renew`, for all nodes."""
        with self._using() as fields:
            return done if fields is None else await SealedShard(self._shard, fields).renew(deadline_s, done)


class Waiting(NamedTuple):
    """A newer key of this node's does not seal a collection yet. nodes: that lack it, or were not heard of."""

    collection: str
    key: str
    nodes: list[str]


class Staying(NamedTuple):
    """A field that this node's site file names no more lies sealed still. nodes: whose site files name it."""

    collection: str
    field: str
    nodes: list[str]


class SiteSealing:
    """Of one node. ring: the site's keys, as this node has them. tables: of its spread collections."""

    def __init__(
        self,
        site: str,
        node: str,
        ring: KeyRing | None,
        tables: Mapping[str, CollectionTable],
        shard_map: Callable[[], ShardMap],
    ) -> None:
        self._site, self._node = site, node
        self._keys = {} if ring is None else {key.id.hex(): key for key in ring.keys}
        self._ring = ring
        self._tables = tables
        self._map = shard_map
        self._kept: dict[str, tuple[Sealing, SealedFields]] = {}
        self._under_way: Counter[tuple[str, str]] = Counter()
        self.proofs = {key_id: key.proof(_statement(site, node)) for key_id, key in self._keys.items()}
        """By id of key, the newest first, what only a node that has it can say of itself."""

    def of(self, name: str) -> SealedFields | None:
        """What lies sealed of a collection; None for nothing. Raises UnavailableError where this node cannot know."""
        spread, declared = self._map().spreads.get(name), self._declared(name)
        if spread is None or (spread.sealing is None and not declared):
            return None
        if why := self._why_not(spread.sealing, declared):
            raise UnavailableError(f"collection `{name}` is refused on node `{self._node}`: {why}", hint=HINT)
        assert spread.sealing is not None
        assert self._ring is not None
        kept = self._kept.get(name)
        if kept is None or kept[0] != spread.sealing:
            kept = self._kept[name] = (spread.sealing, _fields(name, spread.sealing, self._ring))
        return kept[1]

    @contextlib.contextmanager
    def using(self, name: str) -> Iterator[SealedFields | None]:
        """As `of`, noted until the request has ended: what it writes is sealed so, whatever the map says by then."""
        fields = self.of(name)
        way = (name, self._way(name))
        self._under_way[way] += 1
        try:
            yield fields
        finally:
            self._under_way[way] -= 1
            if not self._under_way[way]:
                del self._under_way[way]

    def still(self) -> dict[str, list[str]]:
        """By collection, how requests that are under way seal, where the map has another way by now."""
        found: dict[str, list[str]] = {}
        for name, way in self._under_way:
            if way != self._way(name):
                found.setdefault(name, []).append(way)
        return found

    def _way(self, name: str) -> str:
        spread = self._map().spreads.get(name)
        sealing = None if spread is None else spread.sealing
        return "" if sealing is None else " ".join([sealing.key, _told(sealing.fields), *_told_leaving(sealing)])

    def declared(self) -> dict[str, list[str]]:
        """By collection, what is to lie sealed as this node's site file has it."""
        found = {name: self._declared(name) for name in self._tables}
        return {name: fields for name, fields in found.items() if fields}

    def opened(self, name: str, point_id: PointId, payload: Payload | None) -> Payload | None:
        """A payload as it lies in a shard, with plain values; the given one stays. Raises as `of`, TrustError."""
        fields = None if payload is None else self.of(name)
        return payload if fields is None or payload is None else fields.opened(point_id, dict(payload))

    def refused(self) -> dict[str, str]:
        """Collections that are not to be had on this node, and why."""
        spreads = self._map().spreads
        here = sorted(self._tables.keys() & spreads.keys())
        whys = {name: self._why_not(spreads[name].sealing, self._declared(name)) for name in here}
        return {name: why for name, why in whys.items() if why}

    def first(self, name: str, facts: Mapping[str, Known], members: Iterable[str]) -> Sealing | None:
        """As the writer of the map: of a collection without points."""
        if not (fields := self._declared(name)) or not self._keys:
            return None
        return Sealing(fields, self._newest("", facts, members))

    def following(self, facts: Mapping[str, Known], members: Iterable[str]) -> dict[str, Spread]:
        """As the writer of the map: collections that go over to a newer key, or have other sealed fields."""
        spreads, found, members = self._map().spreads, dict[str, Spread](), list(members)
        for name in self._tables.keys() & spreads.keys():
            now, fields = spreads[name].sealing, self._declared(name)
            if not self._keys or (now is None and not fields):
                continue
            if now is None:
                after = Sealing(fields, self._newest("", facts, members), is_partly_plain=True)
            else:
                after = self._next(name, now, fields, facts, members)
            if after != now:
                found[name] = replace(spreads[name], sealing=after)
        return found

    def settled(self, name: str, sealing: Sealing) -> dict[str, Spread]:
        """As the writer of the map: what was to be done while this held is done, so the next step begins."""
        spread = self._map().spreads.get(name)
        if spread is None or spread.sealing != sealing or spread.change is not None:
            return {}
        if step := _FOLLOWING.get(sealing.step):
            return {name: replace(spread, sealing=replace(sealing, step=step))}
        is_all_plain = sealing.step == "clearing" and not sealing.fields
        after = replace(sealing, older=[], is_partly_plain=False, leaving=[], step="")
        return {name: replace(spread, sealing=None if is_all_plain else after)}

    def waiting(self, facts: Mapping[str, Known], members: Iterable[str]) -> list[Waiting]:
        """Where the key that stands first here is not the one that seals yet."""
        first = next(iter(self._keys), "")
        found: list[Waiting] = []
        for name in sorted(self._tables.keys() & self._map().spreads.keys()):
            sealing = self._map().spreads[name].sealing
            if sealing is not None and sealing.key != first and sealing.key in self._keys:
                lacking = [node for node in sorted(members) if not self._has(node, first, sealing.key, facts)]
                found.append(Waiting(name, first, lacking))
        return found

    def staying(self, facts: Mapping[str, Known], members: Iterable[str]) -> list[Staying]:
        """Fields that this node's site file names no more, while those of others do, or were not heard of."""
        spreads, members = self._map().spreads, sorted(members)
        found: list[Staying] = []
        for name in sorted(self._tables.keys() & spreads.keys()):
            if (sealing := spreads[name].sealing) is not None:
                fields = (field for field in sealing.fields if field not in self._declared(name))
                found += [Staying(name, field, self._naming(name, field, facts, members)) for field in fields]
        return found

    def _naming(self, name: str, field: str, facts: Mapping[str, Known], members: Iterable[str]) -> list[str]:
        """Who wants it sealed, or was not heard of."""
        others = (node for node in members if node != self._node)
        return [node for node in others if node not in facts or field in facts[node].fact.sealed.get(name, ())]

    def _declared(self, name: str) -> list[str]:
        table = self._tables.get(name)
        return [] if table is None or table.encrypted is None else sorted(table.encrypted.fields)

    def _why_not(self, sealing: Sealing | None, declared: list[str]) -> str:
        """What keeps this node from it; empty = nothing."""
        if sealing is None:
            return f"its site file seals {_listed(declared)}, the site's shard map nothing" if declared else ""
        if not set(declared) <= set(sealing.fields):
            return f"the site seals {_listed(sealing.fields)}, this node's site file {_listed(declared)}"
        if lacking := [key for key in sealing.keys if key not in self._keys]:
            have = ", ".join(self._keys) or "none"
            return f"its fields are sealed by key {', '.join(lacking)} of the site, this node has {have}"
        return ""

    def _next(
        self, name: str, now: Sealing, fields: list[str], facts: Mapping[str, Known], members: Sequence[str]
    ) -> Sealing:
        if not self._keys.keys() >= set(now.keys):
            return now
        if further := set(fields) - set(now.fields):
            left = [field for field in now.leaving if field not in further]
            sealed = sorted({*now.fields, *further})
            now = replace(now, fields=sealed, is_partly_plain=True, leaving=left, step=now.step if left else "")
        if now.leaving:
            return now
        if now.is_settled and (gone := [one for one in now.fields if not self._is_named(name, one, facts, members)]):
            left = [field for field in now.fields if field not in gone]
            return replace(now, fields=left, leaving=gone, step="announced")
        if (key := self._newest(now.key, facts, members)) != now.key:
            now = replace(now, key=key, older=[one for one in now.keys if one != key])
        return now

    def _is_named(self, name: str, field: str, facts: Mapping[str, Known], members: Sequence[str]) -> bool:
        return field in self._declared(name) or bool(self._naming(name, field, facts, members))

    def _newest(self, current: str, facts: Mapping[str, Known], members: Iterable[str]) -> str:
        """Of this node's keys, up to the current one, the newest that all others have who can read by the current one.

        Who was not heard of may still go by it, so it stays; without one, who was not heard of is not waited for.
        """
        ids = list(self._keys)
        ahead = ids[: ids.index(current)] if current else ids
        members = list(members)
        for key in ahead:
            if all(self._has(node, key, current, facts) for node in members):
                return key
        return current or ids[0]

    def _has(self, node: str, key: str, current: str, facts: Mapping[str, Known]) -> bool:
        """Whether it has the key, or does not count: it has none, or lacks the current one and refuses everything."""
        if node == self._node:
            return True
        if (known := facts.get(node)) is None:
            return not current
        has = self._proven(known.fact)
        return key in has or (current not in has if current else not has)

    def _proven(self, fact: Fact) -> set[str]:
        statement = _statement(self._site, fact.node)
        known = ((key_id, self._keys.get(key_id), proof) for key_id, proof in fact.keys.items())
        return {key_id for key_id, key, proof in known if key is not None and key.proves(statement, proof)}


_FOLLOWING: Mapping[Leaving, Leaving] = {"announced": "opening", "opening": "clearing"}

HINT = "`encrypted.fields` and the keys of `mesh.encryption` must be the same on all nodes: `littoral mesh status`"


def _fields(name: str, sealing: Sealing, ring: KeyRing) -> SealedFields:
    return SealedFields(
        name,
        [*sealing.fields, *sealing.leaving],
        ring.sealing_by(sealing.key),
        OWNER,
        either=[*sealing.leaving, *(sealing.fields if sealing.is_partly_plain else ())],
        opening=() if sealing.step == "announced" else sealing.leaving,
        is_cleared=sealing.step == "clearing",
    )


def _told(fields: Iterable[str]) -> str:
    return ",".join(fields)


def _told_leaving(sealing: Sealing) -> list[str]:
    return [sealing.step, _told(sealing.leaving)] if sealing.leaving else []


def _statement(site: str, node: str) -> str:
    return f"{site}\0{node}"


def _listed(fields: Iterable[str]) -> str:
    return ", ".join(f"`{field}`" for field in fields) or "nothing"
