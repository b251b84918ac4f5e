"""Layouts to go to: the one that a collection has, with something else in it. Pure.

What belongs to a shard and who holds it never changes, so whatever is to be different gets shards with new numbers;
all others stay as they are, and their points where they lie.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from littoral.errors import ConflictError, InputError, NotFoundError, NotOfferedError
from littoral.mesh.shard_map import Layout, Spread
from littoral.node.federation.placing import strategy_of
from littoral.vectors.partition.allocation import Room, ShardLoad, allocate
from littoral.vectors.partition.points import Points, Vectors
from littoral.vectors.partition.regions import region_with, with_region, within_region
from littoral.vectors.partition.splitting import dissolve_shard, divide_shard, nested, unchanged
from littoral.vectors.partition.strategy import Geographic, Hash, Hybrid, Metric, Strategy, encode_strategy, renumbered

__all__ = [
    "at_home",
    "by_id",
    "check_may_hold",
    "divided",
    "fitted_anew",
    "halved",
    "held_by",
    "moved",
    "placed",
    "shares_by",
    "shares_without",
    "without_shard",
]

Places = Mapping[int, Sequence[str]]


def placed(spread: Spread, places: Places) -> Layout:
    """The same shards on other nodes: those whose nodes change get new numbers. places: of every shard.

    Raises InputError where a shard is left out, or its region is pinned elsewhere.
    """
    if places.keys() != spread.places.keys():
        raise InputError(f"layout: nodes for shards {sorted(places)}, the collection has {spread.shards}")
    changed = [shard for shard in spread.shards if set(places[shard]) != set(spread.places[shard])]
    numbers = {shard: spread.first_free + at for at, shard in enumerate(changed)}
    kept = {shard: nodes for shard, nodes in spread.places.items() if shard not in numbers}
    fresh = {number: list(places[shard]) for shard, number in numbers.items()}
    return _layout(spread, renumbered(strategy_of(spread), numbers), {**kept, **fresh})


def moved(spread: Spread, shard: int, source: str, target: str, nodes: Mapping[str, str]) -> Layout:
    """One shard from a node to another. nodes: of the site, with their regions. Raises NotFoundError, ConflictError."""
    if shard not in spread.places:
        raise NotFoundError(f"shard {shard}: the collection has {', '.join(map(str, spread.shards))}")
    held = spread.places[shard]
    if source not in held:
        raise NotFoundError(f"shard {shard} lies on {', '.join(held)}, not on `{source}`")
    if target not in nodes:
        raise NotFoundError(f"node `{target}` is no member of this site")
    if target in held:
        raise ConflictError(f"node `{target}` holds shard {shard} already")
    check_may_hold(spread, shard, [target], nodes)
    own = [target if node == source else node for node in held]
    return placed(spread, {**spread.places, shard: own})


def check_may_hold(spread: Spread, shard: int, targets: Sequence[str], nodes: Mapping[str, str]) -> None:
    """nodes: of the site, with their regions. Raises NotFoundError, ConflictError where it is pinned elsewhere."""
    strategy = strategy_of(spread)
    pinned = strategy.pinned_shards.get(shard) if isinstance(strategy, Geographic) else None
    for target in targets:
        if target not in nodes:
            raise NotFoundError(f"node `{target}` is no member of this site")
        if pinned is not None and nodes[target] != pinned:
            raise ConflictError(
                f"shard {shard} is pinned to region `{pinned}`, node `{target}` is in `{nodes[target]}`"
            )


def held_by(spread: Spread, nodes: Mapping[str, str], replicas: int, points: Mapping[int, int] | None = None) -> Layout:
    """The same shards, `replicas` nodes each, all of them of this site; who may stay does.

    nodes: with their regions. points: of each shard, as far as known.
    """
    return placed(spread, _allocated(spread, spread.places, nodes, replicas, points or {}))


def _allocated(
    spread: Spread, held: Places, nodes: Mapping[str, str], replicas: int, points: Mapping[int, int]
) -> dict[int, list[str]]:
    strategy = strategy_of(spread)
    pinned = strategy.pinned_shards if isinstance(strategy, Geographic) else {}
    loads = [ShardLoad(shard, 1 + points.get(shard, 0), 1.0, pinned.get(shard)) for shard in held]
    rooms = [Room(node, region) for node, region in sorted(nodes.items())]
    found = allocate(loads, rooms, replicas=min(replicas, len(nodes)), held=held)
    if empty := [shard for shard, holders in found.holders.items() if not holders]:
        raise ConflictError(f"shard {empty[0]} is pinned to region `{pinned.get(empty[0])}`, which has no node")
    return {shard: list(holders) for shard, holders in found.holders.items()}


def by_id(spread: Spread, count: int, nodes: Mapping[str, str], replicas: int) -> Layout:
    """By id over so many shards. From `hash`, only the part of the new or lost shards changes its nodes."""
    first = spread.first_free
    fresh = list(range(first, first + count))
    before = strategy_of(spread)
    names: list[int] = []
    held: dict[int, Sequence[str]] = {}
    if isinstance(before, Hash):
        names = list(before.names or before.shards)[:count]
        held = {number: spread.places[shard] for number, shard in zip(fresh, before.shards, strict=False)}
    names += range(max(names, default=-1) + 1, max(names, default=-1) + 1 + count - len(names))
    strategy = Hash(tuple(fresh), tuple(names))
    rooms = [Room(node, region) for node, region in sorted(nodes.items())]
    loads = [ShardLoad(number, 1) for number in fresh]
    found = allocate(loads, rooms, replicas=min(replicas, len(nodes)), held=held)
    return Layout(
        "hash", {number: list(holders) for number, holders in found.holders.items()}, encode_strategy(strategy)
    )


def fitted_anew(spread: Spread, fresh: Spread) -> Layout:
    """As a new collection would be laid out (`fresh`, whose shards go from 0), with numbers that no shard had."""
    numbers = {shard: spread.first_free + at for at, shard in enumerate(fresh.shards)}
    strategy = renumbered(strategy_of(fresh), numbers)
    places = {numbers[shard]: nodes for shard, nodes in fresh.places.items()}
    return Layout(fresh.strategy, places, encode_strategy(strategy), vector=fresh.vector)


def divided(spread: Spread, shard: int, vectors: Vectors, targets: Sequence[str] | None, *, seed: int) -> Layout:
    """One shard becomes two: the points of others stay where they are. vectors: of points of the shard, a fair sample;
    of one that is pinned only such as may be anywhere (`at_home`), since their means will be in the map.

    targets: nodes of the second half; default: those of the first. Raises NotFoundError, InputError for points that do
    not differ, NotOfferedError for a strategy without cells.
    """
    before, half = _with_cells(spread, shard), spread.first_free
    return _renewed(
        spread, before, halved(spread, shard, vectors, seed=seed), {half: list(targets or spread.places[shard])}
    )


def halved(spread: Spread, shard: int, vectors: Vectors, *, seed: int) -> Metric | Hybrid:
    """What `divided` leads to within the shard's region, with its number for the first half and the first free one for
    the second.
    """
    cells = nested(_with_cells(spread, shard), shard, vectors)
    return divide_shard(cells, shard, spread.first_free, vectors, seed=seed)


def at_home(spread: Spread, shard: int, vectors: Vectors) -> Vectors:
    """Of these, what would lie in the shard if it came from its region. Raises as `divided`."""
    home = _with_cells(spread, shard).place(Points(range(len(vectors)), vectors)).home
    found: Vectors = vectors[home == shard]
    return found


def shares_without(spread: Spread, shard: int, vectors: Vectors) -> dict[int, float]:
    """To which shards the points of this one would go, and what part to each. Raises as `without_shard`."""
    return shares_by(dissolve_shard(_with_cells(spread, shard), shard), vectors)


def shares_by(cells: Metric | Hybrid, vectors: Vectors) -> dict[int, float]:
    """What part of these points is at home in each shard."""
    shards, counts = np.unique(cells.place(Points(range(len(vectors)), vectors)).home, return_counts=True)
    return {int(shard): int(count) / len(vectors) for shard, count in zip(shards, counts, strict=True)}


def without_shard(spread: Spread, shard: int) -> Layout:
    """One shard less: its points go to those that share its innermost cell, which get new numbers.

    Raises NotFoundError, InputError for the last one, NotOfferedError for a strategy without cells.
    """
    before = _with_cells(spread, shard)
    return _renewed(spread, before, dissolve_shard(before, shard), {})


def _renewed(spread: Spread, before: Metric | Hybrid, after: Metric | Hybrid, more: Places) -> Layout:
    """Shards whose cells have other borders now get new numbers, the others stay; so do other regions."""
    whole = strategy_of(spread)
    region = region_with(whole, before.shards[0])
    same = unchanged(before, after)
    first = spread.first_free + len(more)
    changed = [shard for shard in after.shards if shard not in same and shard not in more]
    numbers = {shard: first + at for at, shard in enumerate(changed)}
    places = {
        shard: list(nodes) for shard, nodes in spread.places.items() if shard not in before.shards or shard in same
    }
    places |= {number: list(spread.places[shard]) for shard, number in numbers.items()}
    places |= {shard: list(nodes) for shard, nodes in more.items()}
    return _layout(spread, renumbered(with_region(whole, region, after), numbers), places)


def _with_cells(spread: Spread, shard: int) -> Metric | Hybrid:
    """How the region of this shard is spread."""
    if shard not in spread.places:
        raise NotFoundError(f"shard {shard}: the collection has {', '.join(map(str, spread.shards))}")
    part = within_region(strategy_of(spread), shard)
    if not isinstance(part, Metric | Hybrid):
        raise _no_cells(part)
    return part


def _no_cells(strategy: Strategy) -> NotOfferedError:
    name = type(strategy).__name__.lower()
    return NotOfferedError(
        f"one shard of a collection that is spread by `{name}` cannot be divided or dissolved",
        hint="change the number of shards: `littoral mesh spread COLLECTION --shards N`",
    )


def _layout(spread: Spread, strategy: Strategy, places: Mapping[int, list[str]]) -> Layout:
    kind = "hybrid" if isinstance(strategy, Hybrid) else spread.strategy
    return Layout(kind, dict(places), encode_strategy(strategy))
