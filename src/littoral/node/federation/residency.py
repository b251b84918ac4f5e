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

from littoral.errors import ConflictError
from littoral.mesh.shard_map import Layout, Spread
from littoral.node.federation.placing import strategy_of
from littoral.vectors import frames
from littoral.vectors.partition.strategy import Geographic

__all__ = ["View", "allowed", "check_still_pinned", "is_from_anywhere", "pinned_to", "seen_from", "within"]


class View(NamedTuple):
    """spread: with the shards that may be read. withheld: regions whose shards may not, by name."""

    spread: Spread
    withheld: list[str]


def pinned_to(spread: Spread) -> Mapping[int, str]:
    """Shards that must not leave a region, and which; of both layouts while it changes."""
    found: dict[int, str] = {}
    for one in spread.both:
        strategy = strategy_of(one) if one.strategy == "geographic" else None
        if isinstance(strategy, Geographic):
            found |= strategy.pinned_shards
    return found


def check_still_pinned(spread: Spread, layout: Layout) -> None:
    """Raises ConflictError where a collection would go to a layout that lets out what its own one pins."""
    before, after = set(pinned_to(spread).values()), set(pinned_to(spread.by(layout)).values())
    hint = "what is pinned stays so: make another collection for points that may leave"
    if lost := sorted(before - after):
        raise ConflictError(f"region `{lost[0]}` is pinned, and would not be any more", hint=hint)
    if before and (was := _key_of(spread)) != (is_now := _key_of(spread.by(layout))):
        raise ConflictError(f"regions are pinned by `{was}` of a payload, `{is_now}` may say otherwise", hint=hint)


def _key_of(spread: Spread) -> str | None:
    strategy = strategy_of(spread)
    return strategy.key if isinstance(strategy, Geographic) else None


def allowed(spread: Spread, regions: Mapping[str, str]) -> Spread:
    """Without the places where a pinned shard must not lie. regions: of each node that is a member."""
    pinned = pinned_to(spread)
    if not pinned:
        return spread
    if (change := spread.change) is not None:
        other = msgspec.structs.replace(change.other, places=_inside(change.other.places, pinned, regions))
        change = msgspec.structs.replace(change, other=other)
    return msgspec.structs.replace(spread, places=_inside(spread.places, pinned, regions), change=change)


def _inside(
    places: Mapping[int, list[str]], pinned: Mapping[int, str], regions: Mapping[str, str]
) -> dict[int, list[str]]:
    return {
        shard: [node for node in nodes if shard not in pinned or regions.get(node) == pinned[shard]]
        for shard, nodes in places.items()
    }


def seen_from(spread: Spread, region: str) -> View:
    """What a node of this region may read."""
    hidden = {shard: of for shard, of in pinned_to(spread).items() if of != region and shard in spread.places}
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
