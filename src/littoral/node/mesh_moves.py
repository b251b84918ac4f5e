"""Changes of where shards lie that are on their way, as the shard map and the facts of the nodes tell them. Pure."""

from collections.abc import Iterable, Mapping

from littoral.mesh.facts import Known
from littoral.mesh.shard_map import Change, Layout, Spread
from littoral.node.mesh_told import MoveTold

__all__ = ["move"]

SHARES: Mapping[str, float | None] = {"making": 0.0, "copying": None, "flipping": 1.0}
"""None: by the points that are there."""


def move(name: str, spread: Spread, facts: Iterable[Known]) -> MoveTold:
    """What a collection is on its way to. Its spread has a change."""
    change = spread.change
    assert change is not None
    before, after = _ways(spread, change)
    going = sorted(before.places.keys() - after.places.keys())
    coming = sorted(after.places.keys() - before.places.keys())
    share = SHARES[change.step]
    return MoveTold(
        collection=name,
        what=_what(before, after, going, coming),
        shards=coming,
        sources=_nodes(before, going),
        targets=_nodes(after, coming),
        stage=change.step,
        share=_copied(name, going, coming, facts) if share is None else share,
    )


def _ways(spread: Spread, change: Change) -> tuple[Layout, Layout]:
    """From, to: with the flip the two change places."""
    return (change.other, spread.layout) if change.step == "flipping" else (spread.layout, change.other)


def _what(before: Layout, after: Layout, going: list[int], coming: list[int]) -> str:
    if before.strategy != after.strategy:
        return f"from {before.strategy} to {after.strategy}"
    if len(coming) > len(going):
        return "divides"
    if len(coming) < len(going):
        return "merges"
    return "moves"


def _nodes(layout: Layout, shards: Iterable[int]) -> list[str]:
    return sorted({node for shard in shards for node in layout.places[shard]})


def _copied(name: str, going: list[int], coming: list[int], facts: Iterable[Known]) -> float | None:
    """Points in the shards to come, of those in the shards to go; of each shard the most that a holder told."""
    most: dict[int, int] = {}
    for known in facts:
        for shard, count in known.fact.points.get(name, {}).items():
            most[shard] = max(most.get(shard, 0), count)
    old = sum(most.get(shard, 0) for shard in going)
    return min(1.0, sum(most.get(shard, 0) for shard in coming) / old) if old else None
