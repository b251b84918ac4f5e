"""The site as one node sees it, put together from the roster, the shard map, liveness and what every node said."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from msgspec import structs

from littoral.errors import InputError
from littoral.mesh.condition import BehindTold, Condition, ReplicaTold
from littoral.mesh.facts import Known
from littoral.mesh.membership import MemberState
from littoral.mesh.shard_map import Sealing, Spread
from littoral.node.federation.federation import Federation
from littoral.node.mesh_moves import move
from littoral.node.mesh_problems import problems
from littoral.node.mesh_told import (
    CollectionTold,
    DesiredTold,
    HolderTold,
    LinkTold,
    MemberTold,
    MeshTold,
    RolloverTold,
    RouteClassTold,
    RoutingTold,
    SealingTold,
    ShardTold,
    State,
)
from littoral.vectors.partition.strategy import Geographic, Hash, Hybrid, Metric, Strategy, decode_strategy

__all__ = ["SILENT_S", "state_of", "view", "words_of"]

SILENT_S = 6.0
"""Three rounds of facts: who is here and says nothing for so long is frozen, or does not hear this node."""

Behind = Mapping[tuple[str, int, str], tuple[int, float]]
Replicas = Mapping[tuple[str, int, str], ReplicaTold]


def view(federation: Federation, *, now_s: float) -> MeshTold:
    """now_s: Unix seconds."""
    facts = federation.facts.all()
    states = federation.members()
    by_name = {state.name: state_of(state, federation.name, federation.orchestrator) for state in states}
    speaking = {name: known for name, known in facts.items() if by_name.get(name) == "here"}
    behind = _behind(known.fact.condition.behind for known in speaking.values())
    replicas = _replicas(facts)
    told = MeshTold(
        site=federation.site,
        node=federation.name,
        map_number=federation.map.number,
        members=[_member(state, by_name[state.name], facts.get(state.name), now_s) for state in states],
        links=_links(speaking),
        collections={
            name: structs.replace(
                _collection(name, spread, federation.replicas_wanted(name), by_name, replicas, behind),
                sealing=_sealing(name, spread.sealing, facts),
            )
            for name, spread in sorted(federation.map.spreads.items())
        },
        moves=[
            move(name, spread, facts)
            for name, spread in sorted(federation.map.spreads.items())
            if spread.change is not None
        ],
        desired=_desired(federation),
        routing=_routing(federation),
        lacking=federation.lacking(),
        problems=[],
    )
    return problems(
        told,
        {name: known.fact.models for name, known in facts.items()},
        {name: known.fact.refused for name, known in speaking.items() if known.fact.refused},
        federation.sealing.waiting(facts, federation.roster()),
        federation.sealing.staying(facts, federation.roster()),
    )


def state_of(member: MemberState, here: str, orchestrator: str | None = None) -> State:
    """here: the node that tells, never frozen to itself. orchestrator: no member, and not one that has left."""
    if not member.is_member and member.name != orchestrator:
        return "left"
    if not member.is_here:
        return "missing"
    is_silent = member.fact_age_s is not None and member.fact_age_s > SILENT_S
    return "frozen" if is_silent and member.name != here else "here"


def _desired(federation: Federation) -> DesiredTold:
    number, writer = federation.roster_word() or (None, None)
    return DesiredTold(
        map_number=federation.map.number,
        writer=federation.writer,
        signed_by=None,
        roster_number=number,
        roster_writer=writer,
        rollover=_rollover(federation),
    )


def _rollover(federation: Federation) -> RolloverTold | None:
    signed = federation.signed
    if signed is None or (state := signed.rollover()) is None:
        return None
    authority, *older = signed.authorities
    return RolloverTold(
        authority=authority,
        older=older,
        begun_at_s=state.rollover.begun_at_s,
        within_s=state.rollover.within_s,
        waiting=state.waiting if signed.writer == federation.name else None,
    )


def _member(state: MemberState, word: State, known: Known | None, now_s: float) -> MemberTold:
    condition = Condition() if known is None else known.fact.condition
    age_s = state.fact_age_s
    return MemberTold(
        name=state.name,
        region=state.region,
        state=word,
        is_member=state.is_member,
        is_here=state.is_here,
        address=state.address,
        version=condition.version or None,
        boot=None if known is None else known.fact.boot,
        since_s=None if age_s is None else round(now_s - condition.uptime_s - age_s, 1),
        fact_age_s=None if age_s is None else round(age_s, 3),
        map_number=state.map_number,
        points=state.points,
        disk_bytes=_sum(replica.disk_bytes for replica in condition.replicas) if known is not None else None,
        shards={name: list(held) for name, held in state.shards.items()},
        lag_s=state.lag_s,
    )


def _links(facts: Mapping[str, Known]) -> list[LinkTold]:
    return [
        LinkTold(
            node=name,
            peer=row.peer,
            is_up=row.is_up,
            round_trip_ms=row.round_trip_ms,
            bytes_per_s=row.bytes_per_s,
            sent_bytes=row.sent_bytes,
            received_bytes=row.received_bytes,
            asked_count=row.asked_count,
            failed_count=row.failed_count,
        )
        for name, known in sorted(facts.items())
        for row in known.fact.condition.links
    ]


def _behind(rows: Iterable[list[BehindTold]]) -> Behind:
    """By collection, shard and node: the most entries that it lacks of another, and for how long."""
    found: dict[tuple[str, int, str], tuple[int, float]] = {}
    for row in (row for some in rows for row in some):
        key = (row.collection, row.shard, row.peer)
        entries, since_s = found.get(key, (0, 0.0))
        found[key] = (max(entries, row.entry_count), max(since_s, row.since_s))
    return found


def _replicas(facts: Mapping[str, Known]) -> Replicas:
    """By collection, shard and node."""
    return {
        (replica.collection, replica.shard, node): replica
        for node, known in facts.items()
        for replica in known.fact.condition.replicas
    }


def _collection(
    name: str, spread: Spread, wanted: int, states: Mapping[str, State], replicas: Replicas, behind: Behind
) -> CollectionTold:
    shards = []
    for shard, nodes in sorted(spread.places.items()):
        lags = {node: behind.get((name, shard, node), (0, 0.0)) for node in nodes}
        holders = [
            _holder(node, states.get(node, "missing"), replicas.get((name, shard, node)), lags[node]) for node in nodes
        ]
        actual = sum(holder.state == "here" and holder.epoch is not None for holder in holders)
        shards.append(ShardTold(shard=shard, wanted=max(wanted, len(nodes)), actual=actual, holders=holders))
    return CollectionTold(
        strategy=spread.strategy,
        words=words_of(spread.strategy, spread.parameters, len(spread.places), spread.vector),
        model=spread.model,
        epoch=spread.epoch,
        points=_points(shards),
        shards=shards,
    )


def _sealing(name: str, sealing: Sealing | None, facts: Mapping[str, Known]) -> SealingTold | None:
    """One node does the work: the one that writes the map, or wrote it until now."""
    if sealing is None:
        return None
    told = (known.fact.resealed.get(name, (0, 0)) for known in facts.values())
    looked_at, written = max(told, default=(0, 0))
    return SealingTold(**structs.asdict(sealing), looked_at=looked_at, written=written)


def _holder(node: str, state: State, replica: ReplicaTold | None, lag: tuple[int, float]) -> HolderTold:
    return HolderTold(
        node=node,
        state=state,
        points=None if replica is None else replica.points,
        disk_bytes=None if replica is None else replica.disk_bytes,
        epoch=None if replica is None else replica.epoch,
        lag_entries=lag[0],
        lag_s=lag[1],
    )


def _points(shards: Iterable[ShardTold]) -> int | None:
    total = 0
    for shard in shards:
        told = [holder.points for holder in shard.holders if holder.points is not None]
        if not told:
            return None
        total += max(told)
    return total


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _routing(federation: Federation) -> RoutingTold:
    counts = federation.asking.counts
    return RoutingTold(
        reads=counts.reads,
        writes=counts.writes,
        asked=counts.remote_asks,
        incomplete=counts.incomplete,
        nodes_per_read=round(counts.remote_asks / counts.reads, 3) if counts.reads else None,
        classes=[
            RouteClassTold(name=name, **{key: found.get(key) for key in RouteClassTold.__struct_fields__[1:]})  # type: ignore[arg-type]
            for name, found in sorted(federation.routing.statistics().items())
        ],
    )


@lru_cache(maxsize=128)
def words_of(strategy: str, parameters: bytes, shard_count: int, vector: str = "") -> str:
    """What a strategy goes by, in words. vector: name of that which cells are of."""
    if not parameters:
        return f"by id, over {_counted(shard_count, 'shard')}"
    try:
        return _described(decode_strategy(parameters), f"vector `{vector}`" if vector else "vector")
    except InputError:
        return f"{strategy}, with parameters that this version does not know"


def _described(strategy: Strategy, vector: str) -> str:
    match strategy:
        case Hash():
            return f"by id, over {_counted(len(strategy.shards), 'shard')}"
        case Metric():
            return f"by {vector}, {_counted(len(strategy.shards), 'cell')}"
        case Hybrid():
            return (
                f"by {vector}, {_counted(len(strategy.parts), 'cell')}, over {len(strategy.shards)} shards within them"
            )
        case Geographic():
            kept = set(strategy.pinned)
            regions = [f"{name} (pinned)" if name in kept else name for name in sorted(strategy.regions)]
            return f"by region: {', '.join(regions)}, over {_counted(len(strategy.shards), 'shard')}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
