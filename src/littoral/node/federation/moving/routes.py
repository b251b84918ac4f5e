"""Which points of a shard go to which others by another layout. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from littoral.mesh.shard_map import Spread
from littoral.node.federation.copies import as_copy, is_copy, without_mark
from littoral.node.federation.placing import placing_of
from littoral.vectors.partition.strategy import Geographic, decode_strategy
from littoral.vectors.records import CollectionConfig
from littoral.vectors.replication.entries import Change, State, batch_of, key_of

__all__ = ["Routes", "region_of", "routes", "still_wanted"]

Routes = dict[int, list[State]]
"""By shard."""


def routes(
    states: Sequence[State], goal: Spread, config: CollectionConfig, among: Iterable[int], region: str
) -> Routes:
    """Where each point is to be, and where it must not be any more, by the layout of `goal`.

    among: shards that are told. region: where these points come from. What is a copy is told by its home, unless that
    is in a shard that stays as it is, and tells nothing. What must not be there is a deletion a moment before the
    point's own time, so that the two never contradict each other. One that lay where it does not belong may belong to a
    shard that is in both layouts: it is brought there too. Raises InputError.
    """
    placing, told = placing_of(goal, config, region), frozenset(among)
    found: Routes = {shard: [] for shard in told}
    gone = [state for state in states if state.change.vectors is None]
    there = [state for state in states if state.change.vectors is not None]
    if placing.is_by_id:
        homed = [*(state for state in there if not is_copy(state.change.payload)), *gone]
        for state, shard in zip(homed, placing.of_ids([state.change.id for state in homed]), strict=True):
            if shard in told:
                found[shard].append(state)
        return {shard: some for shard, some in found.items() if some}
    places = placing.of_points(batch_of([state.change for state in there])) if there else []
    for state, shards in zip(there, places, strict=True):
        if is_copy(state.change.payload) and shards[0] in told:
            continue
        for shard in told if is_copy(state.change.payload) else {*told, shards[0]}:
            found.setdefault(shard, []).append(_at(state, shard, shards))
    for shard in told:
        found[shard] += gone
    return {shard: some for shard, some in found.items() if some}


def _at(state: State, shard: int, shards: Sequence[int]) -> State:
    """A point as this shard is to have it. shards: where it is to be, its home first."""
    change = state.change
    if shard not in shards:
        return State(max(1, state.time - 1), state.origin, state.number, Change(change.id))
    payload = without_mark(change.payload)
    told = Change(change.id, change.vectors, payload if shard == shards[0] else as_copy(payload))
    return State(state.time, state.origin, state.number, told)


def still_wanted(
    found: Routes, known: Mapping[int, Mapping[bytes, int]], deleted: Collection[bytes] = frozenset()
) -> Routes:
    """Without what is known there already, or later anywhere; points that lie elsewhere are not taken from where they
    never were.

    known: times of points by shard and key, as `messages.Offered` tells them. deleted: keys of points that are gone;
    that goes on also where nothing is known of them, since a holder that is away may have them still.
    """
    latest: dict[bytes, int] = {}
    for times in known.values():
        for key, time in times.items():
            latest[key] = max(latest.get(key, 0), abs(time))
    wanted: Routes = {}
    for shard, states in found.items():
        for state in states:
            key = key_of(state.change.id)
            here = known.get(shard, {}).get(key, 0)
            if key in deleted:
                is_news = abs(here) < state.time
            elif state.change.vectors is not None:
                is_news = abs(here) < state.time >= latest.get(key, 0)
            else:
                is_news = 0 < here < state.time
            if is_news:
                wanted.setdefault(shard, []).append(state)
    return wanted


def region_of(spread: Spread, shard: int) -> str:
    """Where the points of a shard come from, as far as that follows from the shard."""
    if spread.strategy == "geographic" and spread.parameters:
        strategy = decode_strategy(spread.parameters)
        if isinstance(strategy, Geographic):
            return next((region for region, part in strategy.regions.items() if shard in part.shards), "")
    return ""
