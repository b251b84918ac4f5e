"""Who belongs to a site, who of them is here, and how far behind: the roster's word, liveness and facts together."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from littoral.mesh.facts import Known
from littoral.mesh.shard_map import ShardMap

__all__ = ["MemberState", "members"]


class MemberState(NamedTuple):
    """is_member: by the roster, which is the truth. is_here: by the network, a hint.

    shards: that it should hold, by collection. fact_age_s: None before its first word.
    """

    name: str
    region: str
    is_member: bool
    is_here: bool
    shards: Mapping[str, list[int]]
    points: int | None
    map_number: int | None
    lag_s: float | None
    fact_age_s: float | None
    address: str


def members(
    roster: Mapping[str, str], alive: Iterable[str], facts: Mapping[str, Known], shard_map: ShardMap, *, now_s: float
) -> list[MemberState]:
    """One state a node, by name. roster: regions by node; whoever else is heard of is told as no member."""
    here = frozenset(alive)
    return [_state(name, roster, here, facts.get(name), shard_map, now_s) for name in sorted({*roster, *here, *facts})]


def _state(
    name: str, roster: Mapping[str, str], here: frozenset[str], known: Known | None, shard_map: ShardMap, now_s: float
) -> MemberState:
    shards = {collection: held for collection, spread in shard_map.spreads.items() if (held := spread.held_by(name))}
    fact = None if known is None else known.fact
    return MemberState(
        name=name,
        region=roster.get(name) or (fact.region if fact else ""),
        is_member=name in roster,
        is_here=name in here,
        shards=shards,
        points=None if fact is None else sum(sum(counts.values()) for counts in fact.points.values()),
        map_number=None if fact is None else fact.map_number,
        lag_s=max(fact.lag_s.values()) if fact and fact.lag_s else None,
        fact_age_s=None if known is None else max(0.0, now_s - known.taken_s),
        address="" if fact is None else fact.address,
    )
