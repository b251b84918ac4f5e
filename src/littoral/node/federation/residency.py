"""What of a collection may be on a node, and be seen from one: data that is pinned to a region never leaves it. Pure.

| | nodes of the region | others |
|---|---|---|
| hold a pinned shard, replicate it | may | never, whatever a map says |
| read it, get its summaries | may | never |
| write a point to it, delete one by its id | may | may: what they send is not kept on the way |
| change what a filter finds there | may | never: the answer would tell what is there |

Regions of nodes come from the site file or the signed roster, never from what a node says of itself.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from littoral.mesh.shard_map import Spread
from littoral.node.federation.placing import strategy_of
from littoral.vectors import frames
from littoral.vectors.partition.strategy import Geographic

__all__ = ["View", "allowed", "is_from_anywhere", "pinned_to", "seen_from", "within"]


class View(NamedTuple):
    """spread: with the shards that may be read. withheld: regions whose shards may not, by name."""

    spread: Spread
    withheld: list[str]


def pinned_to(spread: Spread) -> Mapping[int, str]:
    """Shards that must not leave a region, and which."""
    if spread.strategy != "geographic":
        return {}
    strategy = strategy_of(spread)
    return strategy.pinned_shards if isinstance(strategy, Geographic) else {}


def allowed(spread: Spread, regions: Mapping[str, str]) -> Spread:
    """Without the places where a pinned shard must not lie. regions: of each node that is a member."""
    if spread.change is not None:
        other = allowed(msgspec.structs.replace(spread.by(spread.change.other), change=None), regions).layout
        own = allowed(msgspec.structs.replace(spread, change=None), regions)
        return msgspec.structs.replace(own, change=msgspec.structs.replace(spread.change, other=other))
    pinned = pinned_to(spread)
    places = {
        shard: [node for node in nodes if shard not in pinned or regions.get(node) == pinned[shard]]
        for shard, nodes in spread.places.items()
    }
    return spread if places == spread.places else msgspec.structs.replace(spread, places=places)


def seen_from(spread: Spread, region: str) -> View:
    """What a node of this region may read."""
    hidden = {shard: of for shard, of in pinned_to(spread).items() if of != region}
    if not hidden:
        return View(spread, [])
    places = {shard: nodes for shard, nodes in spread.places.items() if shard not in hidden}
    return View(msgspec.structs.replace(spread, places=places), sorted(set(hidden.values())))


def within(spread: Spread, region: str, regions: Mapping[str, str]) -> View:
    """What can be read of a view without a word to other regions: a request that carries what is pinned here."""
    inside = {shard: [node for node in nodes if regions.get(node) == region] for shard, nodes in spread.places.items()}
    places = {shard: nodes for shard, nodes in inside.items() if nodes}
    strategy = strategy_of(spread)
    assert isinstance(strategy, Geographic)
    left = [name for name, part in strategy.regions.items() if not set(part.shards) <= places.keys()]
    return View(msgspec.structs.replace(spread, places=places), sorted(left))


def is_from_anywhere(request: frames.Request) -> bool:
    """Whether a node elsewhere may have this done to a pinned shard."""
    match request:
        case frames.Upsert(mode="upsert", condition=None) | frames.Delete(ids=list(), filter=None):
            return True
        case frames.CreateIndex() | frames.DeleteIndex() | frames.Optimize():
            return True
    return False
