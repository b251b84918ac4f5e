"""What to do about shards that are hot, have grown, or lie on nodes that left; the most urgent first. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from littoral.mesh.shard_map import Layout, Spread
from littoral.node.federation.loads import Load
from littoral.node.federation.moving.planning import held_by, placed
from littoral.node.federation.placing import strategy_of
from littoral.vectors.partition.allocation import Room, ShardLoad, level
from littoral.vectors.partition.gain import Latency, Limits, ShardUse, advise, cost, is_worth_it
from littoral.vectors.partition.regions import parts_of
from littoral.vectors.partition.strategy import Geographic, Hybrid, Metric

__all__ = ["LIMITS", "Advised", "Use", "advised", "by_cells", "confirmed"]

LIMITS = Limits(points_max=500_000, points_min=1000, gain_min=50.0)
POINT_MS = 2e-5
CALL_MS = 0.2
"""Of a search, where none has been measured."""

CELL_POINTS = 256
"""Of each shard to be, before cells are fitted to what there is."""


class Use(NamedTuple):
    """Of a shard. points: in it; load: of searches, at all its nodes."""

    points: int
    load: Load


class Advised(NamedTuple):
    """Either a layout to go to, or what needs its points for one: a shard to divide or to dissolve, or cells to fit.
    gain: as `why` says.
    """

    why: str
    gain: float
    layout: Layout | None = None
    divide: int | None = None
    dissolve: int | None = None
    fit: bool = False


def advised(
    spread: Spread, uses: Mapping[int, Use], nodes: Mapping[str, str], *, point_bytes: int, limits: Limits = LIMITS
) -> Advised | None:
    """None where nothing is worth it. nodes: of the site, with their regions. Raises ConflictError as `planning`."""
    replicas = max(len(held) for held in spread.places.values())
    points = {shard: use.points for shard, use in uses.items()}
    if left := sorted({node for held in spread.places.values() for node in held} - nodes.keys()):
        why = f"{', '.join(f'`{node}`' for node in left)} left the site"
        return Advised(why, 0.0, held_by(spread, nodes, replicas, points))
    return _shard_to_change(spread, uses, limits) or _moves(spread, uses, nodes, point_bytes)


def _shard_to_change(spread: Spread, uses: Mapping[int, Use], limits: Limits) -> Advised | None:
    """Of each region by itself: what is dissolved stays in it."""
    parts = [part for part in parts_of(strategy_of(spread)).values() if isinstance(part, Metric | Hybrid)]
    found = [one for part in parts if (one := _of_region(part.shards, uses, limits)) is not None]
    return max(found, key=lambda one: one.gain, default=None)


def _of_region(shards: Sequence[int], uses: Mapping[int, Use], limits: Limits) -> Advised | None:
    known = [ShardUse(shard, uses[shard].points, uses[shard].load.searches) for shard in shards if shard in uses]
    for advice in advise(known, _latency(uses), limits):
        share = _told(advice.gain)
        if advice.kind == "divide":
            return Advised(
                f"shard {advice.shard} has {uses[advice.shard].points} points, {share}",
                advice.gain,
                divide=advice.shard,
            )
        if len(shards) > 2:
            return Advised(
                f"shard {advice.shard} has only {uses[advice.shard].points} points, {share}",
                advice.gain,
                dissolve=advice.shard,
            )
    return None


def _told(gain: float) -> str:
    return f"{gain:.0f} ms of search a second less by it" if gain >= 0 else "over the limit"


def by_cells(spread: Spread, uses: Mapping[int, Use]) -> Advised | None:
    """For a collection that is to have cells and began without: once there are points enough to fit them to."""
    count = sum(use.points for use in uses.values())
    if spread.strategy != "hash" or spread.epoch > 1 or count < CELL_POINTS * len(spread.places):
        return None
    return Advised(f"{count} points are there, cells can be fitted to them", 0.0, fit=True)


def confirmed(uses: Mapping[int, Use], shard: int, shares: Mapping[int, float], limits: Limits = LIMITS) -> str | None:
    """What was advised for this shard, by where its points would go: what it gains, in words; None = not worth it.

    shares: of its points, by shard; the shard itself among them where it is to be divided.
    """
    use, latency = uses[shard], _latency(uses)
    searches = limits.kept_share * use.load.searches
    before, after = [ShardUse(shard, use.points, use.load.searches)], []
    for one, share in shares.items():
        points = round(share * use.points)
        if shard in shares:
            after.append(ShardUse(one, points, searches))
            continue
        there = uses.get(one, Use(0, Load(0.0, 0.0)))
        before.append(ShardUse(one, there.points, there.load.searches))
        after.append(ShardUse(one, there.points + points, there.load.searches + share * use.load.searches))
    if not is_worth_it(before, after, latency, limits):
        return None
    return _told(cost(before, latency, limits) - cost(after, latency, limits))


def _latency(uses: Mapping[int, Use]) -> Latency:
    """A straight line, by what searches took here."""
    busy = sum(use.load.busy_ms for use in uses.values())
    compared = sum(use.load.searches * use.points for use in uses.values())
    calls = sum(use.load.searches for use in uses.values())
    point_ms = max(0.0, busy - CALL_MS * calls) / compared if compared else POINT_MS
    return Latency(((0, CALL_MS), (1_000_000, CALL_MS + 1_000_000 * point_ms)))


def _moves(spread: Spread, uses: Mapping[int, Use], nodes: Mapping[str, str], point_bytes: int) -> Advised | None:
    strategy = strategy_of(spread)
    pinned = strategy.pinned_shards if isinstance(strategy, Geographic) else {}
    none = Use(0, Load(0.0, 0.0))
    loads = [
        ShardLoad(shard, point_bytes * (found := uses.get(shard, none)).points, found.load.busy_ms, pinned.get(shard))
        for shard in spread.shards
    ]
    rooms = [Room(node, region) for node, region in sorted(nodes.items())]
    transfers = level(loads, rooms, spread.places)
    if not transfers:
        return None
    places = {shard: list(held) for shard, held in spread.places.items()}
    for one in transfers:
        places[one.shard] = [one.target if node == one.source else node for node in places[one.shard]]
    told = ", ".join(f"shard {one.shard} from `{one.source}` to `{one.target}`" for one in transfers)
    gain = sum(one.gain for one in transfers)
    return Advised(f"{told}: nodes are more even by {gain:.2f}", gain, placed(spread, places))
