"""Changes of where shards lie that are on their way, as the shard map and the facts of the nodes tell them. Pure."""

from collections.abc import Iterable, Mapping

from littoral.mesh.facts import Known
from littoral.mesh.shard_map import Change, Layout, Spread
from littoral.node.mesh_told import MoveTold

__all__ = ["move"]

Facts = Mapping[str, Known]

SHARES: Mapping[str, float | None] = {"making": 0.0, "copying": None, "flipping": 1.0, "kept": 1.0}
"""None: by the points that are there."""


def move(name: str, spread: Spread, facts: Facts) -> MoveTold:
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
        share=_handed_over(name, before.places, going, facts) if share is None else share,
    )


def _ways(spread: Spread, change: Change) -> tuple[Layout, Layout]:
    """From, to: with the flip the two change places."""
    return (change.other, spread.layout) if change.is_flipped else (spread.layout, change.other)


def _what(before: Layout, after: Layout, going: list[int], coming: list[int]) -> str:
    if before.strategy != after.strategy:
        return f"from {before.strategy} to {after.strategy}, {_counted(going)} become {len(coming)}"
    if len(going) == 1:
        return f"shard {going[0]} {'moves' if len(coming) == 1 else 'divides'}"
    return f"{_counted(going)} become {len(coming)}"


def _counted(shards: list[int]) -> str:
    return f"{len(shards)} shard{'s' * (len(shards) != 1)}"


def _nodes(layout: Layout, shards: Iterable[int]) -> list[str]:
    return sorted({node for shard in shards for node in layout.places[shard]})


def _handed_over(name: str, places: Mapping[int, list[str]], going: list[int], facts: Facts) -> float | None:
    """Share of the points of shards to go, by the holder of each that has handed over most."""
    left = points = 0
    for shard in going:
        told = [known.fact for node in places[shard] if (known := facts.get(node)) is not None]
        counts = [fact.points.get(name, {}).get(shard, 0) for fact in told]
        points += max(counts, default=0)
        left += min((fact.owed.get(name, {}).get(shard, max(counts)) for fact in told), default=0)
    return max(0.0, 1 - left / points) if points else None
