"""Sites as a node may tell of them, for what shows them: whole, hurt, and large."""

from collections.abc import Sequence

from littoral.node.mesh_problems import problems
from littoral.node.mesh_told import (
    CollectionTold,
    DesiredTold,
    HolderTold,
    LinkTold,
    MemberTold,
    MeshTold,
    MoveTold,
    RouteClassTold,
    RoutingTold,
    ShardTold,
    State,
)

NOW_S = 1_800_000_000.0
REGIONS = ("north", "south", "")


def whole_site(count: int = 3) -> MeshTold:
    """Everybody is here, and has everything."""
    return _site({f"gw-{i + 1}": "here" for i in range(count)}, cut=(), behind={}, moves=[])


def hurt_site() -> MeshTold:
    """Five nodes: one killed, one frozen, a cut link, a replica behind, a shard on its way to another node."""
    states: dict[str, State] = {"gw-1": "here", "gw-2": "here", "gw-3": "missing", "gw-4": "here", "gw-5": "frozen"}
    move = MoveTold(
        collection="notes",
        what="shard 4 moves",
        shards=[5],
        sources=["gw-3"],
        targets=["gw-4"],
        stage="copying",
        share=0.4,
    )
    return _site(states, cut=[("gw-1", "gw-4")], behind={("gw-2", 1): (17, 42.0)}, moves=[move])


def large_site(count: int = 50) -> MeshTold:
    """Some of them missing, some links cut."""
    states: dict[str, State] = {f"gw-{i + 1}": "missing" if i % 17 == 5 else "here" for i in range(count)}
    return _site(states, cut=[("gw-1", "gw-9"), ("gw-2", "gw-40")], behind={}, moves=[])


def _site(
    states: dict[str, State],
    *,
    cut: Sequence[tuple[str, str]],
    behind: dict[tuple[str, int], tuple[int, float]],
    moves: list[MoveTold],
) -> MeshTold:
    names = sorted(states, key=lambda name: int(name.partition("-")[2]))
    shards = [_shard(shard, names, states, behind) for shard in range(len(names))]
    told = MeshTold(
        site="shop",
        node="gw-1",
        map_number=3,
        members=[_member(i, name, states[name], len(names)) for i, name in enumerate(names)],
        links=_links(names, states, cut),
        collections={
            "notes": CollectionTold(
                strategy="hash",
                words=f"by id, over {len(shards)} shards",
                model="minilm 1",
                epoch=2,
                points=sum(100 + shard.shard for shard in shards),
                shards=shards,
            )
        },
        moves=moves,
        desired=DesiredTold(map_number=3, writer="gw-1", signed_by=None, roster_number=7, roster_writer="gw-2"),
        routing=RoutingTold(
            reads=200,
            writes=40,
            asked=250,
            incomplete=3,
            nodes_per_read=1.25,
            classes=[
                RouteClassTold(name="notes/hash/10", target=0.95, level=0.8125, audited=120, alarms=0, recall=0.9731)
            ],
        ),
        lacking=[],
        problems=[],
    )
    return problems(told, {name: {"notes": "minilm 1"} for name in names})


def _member(index: int, name: str, state: State, count: int) -> MemberTold:
    return MemberTold(
        name=name,
        region=REGIONS[index % len(REGIONS)],
        state=state,
        is_member=True,
        is_here=state in ("here", "frozen"),
        address=f"10.0.0.{index + 1}:8642",
        version="0.1.0",
        boot=1 + index % 3,
        since_s=NOW_S - 3700 * (index + 1),
        fact_age_s=1.0 if state == "here" else 95.0,
        map_number=3,
        points=200 + index,
        disk_bytes=3_400_000 + 1000 * index,
        shards={"notes": [index, (index - 1) % count]},
        lag_s=None,
    )


def _shard(
    shard: int, names: Sequence[str], states: dict[str, State], behind: dict[tuple[str, int], tuple[int, float]]
) -> ShardTold:
    nodes = [names[shard], names[(shard + 1) % len(names)]]
    holders = [
        HolderTold(
            node=node,
            state=states[node],
            points=100 + shard,
            disk_bytes=1_700_000,
            epoch=9,
            lag_entries=behind.get((node, shard), (0, 0.0))[0],
            lag_s=behind.get((node, shard), (0, 0.0))[1],
        )
        for node in nodes
    ]
    return ShardTold(shard=shard, wanted=2, actual=sum(holder.state == "here" for holder in holders), holders=holders)


def _links(names: Sequence[str], states: dict[str, State], cut: Sequence[tuple[str, str]]) -> list[LinkTold]:
    apart = {*cut, *((b, a) for a, b in cut)}
    return [
        LinkTold(
            node=a,
            peer=b,
            is_up=(a, b) not in apart and states[b] == "here",
            round_trip_ms=round(0.4 + 0.35 * abs(i - j) + (18 if REGIONS[i % 3] != REGIONS[j % 3] else 0), 3),
            bytes_per_s=1200.0 * (i + j),
            sent_bytes=100_000 * (i + 1),
            received_bytes=90_000 * (j + 1),
            asked_count=100,
            failed_count=4 if (a, b) in apart else 0,
        )
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if a != b and states[a] == "here"
    ]
