"""Which nodes hold which shards."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.errors import InputError
from littoral.vectors.partition.allocation import (
    FULL,
    Allocation,
    Room,
    ShardLoad,
    Transfer,
    allocate,
    level,
    transfers,
)
from littoral.vectors.partition.neighbours import in_blocks, ties_between
from littoral.vectors.partition.strategy import fit_grouped, fit_metric
from partitioned import clustered

REGIONS = ("harbour", "mill")

shards_drawn = st.lists(
    st.tuples(st.integers(1, 10**6), st.floats(0, 100), st.sampled_from((None, None, *REGIONS))),
    min_size=1,
    max_size=24,
).map(lambda rows: [ShardLoad(at, size, load, region) for at, (size, load, region) in enumerate(rows)])
rooms_drawn = st.lists(st.sampled_from(REGIONS), min_size=1, max_size=9).map(
    lambda regions: [Room(f"node-{at}", region) for at, region in enumerate(regions)]
)


def able(load: ShardLoad, rooms: list[Room]) -> list[str]:
    return [room.node for room in rooms if load.region in (None, room.region)]


@settings(max_examples=60, deadline=None)
@given(shards=shards_drawn, rooms=rooms_drawn, replicas=st.integers(1, 3), is_near=st.booleans())
def test_replicas_lie_on_different_nodes_of_the_right_region(
    shards: list[ShardLoad], rooms: list[Room], replicas: int, is_near: bool
) -> None:
    ties = np.random.default_rng(0).random((len(shards), len(shards))) if is_near else None
    found = allocate(shards, rooms, replicas=replicas, ties=None if ties is None else ties + ties.T)
    assert set(found.holders) == {load.shard for load in shards}
    for load in shards:
        nodes, may = found.holders[load.shard], able(load, rooms)
        assert len(set(nodes)) == len(nodes) == min(replicas, len(may))
        assert set(nodes) <= set(may)
        assert found.short.get(load.shard, 0) == replicas - len(nodes)


@settings(max_examples=40, deadline=None)
@given(shards=shards_drawn, rooms=rooms_drawn, replicas=st.integers(1, 3))
def test_what_may_stay_stays(shards: list[ShardLoad], rooms: list[Room], replicas: int) -> None:
    before = allocate(shards, rooms, replicas=replicas)
    assert allocate(shards, rooms, replicas=replicas, held=before.holders) == before
    gone = rooms[0].node
    after = allocate(shards, rooms[1:], replicas=replicas, held=before.holders) if rooms[1:] else before
    for load in shards if rooms[1:] else []:
        stayed = [node for node in before.holders[load.shard] if node != gone]
        assert list(after.holders[load.shard])[: len(stayed)] == stayed
    moved = transfers(before.holders, after.holders, shards)
    assert {one.shard for one in moved} <= {shard for shard, nodes in before.holders.items() if gone in nodes}


def test_equal_shards_are_spread_evenly() -> None:
    shards = [ShardLoad(at, 1000) for at in range(64)]
    found = allocate(shards, [Room(f"node-{at}") for at in range(8)], replicas=2)
    counts = Counter(node for nodes in found.holders.values() for node in nodes)
    assert max(counts.values()) <= FULL * 16
    assert min(counts.values()) >= 10


def test_a_full_node_takes_no_more() -> None:
    shards = [ShardLoad(at, 1000) for at in range(10)]
    found = allocate(shards, [Room("small", bytes_max=2500), Room("large")], replicas=1)
    assert Counter(node for nodes in found.holders.values() for node in nodes) == {"small": 2, "large": 8}
    tight = allocate(shards, [Room("small", bytes_max=2500)], replicas=1)
    assert (sum(map(len, tight.holders.values())), len(tight.short)) == (2, 8)


def test_a_pinned_shard_without_a_node_is_told_and_not_put_elsewhere() -> None:
    found = allocate([ShardLoad(0, 10, region="island")], [Room("a", "harbour")], replicas=2)
    assert found == Allocation({0: ()}, {0: 2})
    moved = allocate([ShardLoad(0, 10, region="mill")], [Room("a", "harbour")], replicas=1, held={0: ["a"]})
    assert moved.holders == {0: ()}


def test_a_heavier_node_gets_more() -> None:
    shards = [ShardLoad(at, 1000) for at in range(40)]
    found = allocate(shards, [Room("a"), Room("b", weight=3.0)], replicas=1)
    counts = Counter(node for nodes in found.holders.values() for node in nodes)
    assert counts["b"] > 2 * counts["a"]


def test_a_hot_shard_leaves_the_hottest_node() -> None:
    shards = [ShardLoad(at, 1000, 1.0) for at in range(8)]
    rooms = [Room(f"node-{at}") for at in range(4)]
    holders = {at: (f"node-{at // 2}",) for at in range(8)}
    assert level(shards, rooms, holders) == []
    heated = [*shards[:1], ShardLoad(1, 1000, 9.0), *shards[2:]]
    (first, *_) = level(heated, rooms, holders)
    assert (first.source, first.drop) == ("node-0", True)
    assert first.gain >= 0.05
    after = {**holders, first.shard: (first.target,)}
    assert hottest(heated, after) < hottest(heated, holders)


def hottest(shards: list[ShardLoad], holders: dict[int, tuple[str, ...]]) -> float:
    loads: Counter[str] = Counter()
    for one in shards:
        loads.update({holders[one.shard][0]: one.load})
    return max(loads.values())


@settings(max_examples=40, deadline=None)
@given(shards=shards_drawn, rooms=rooms_drawn, replicas=st.integers(1, 2), seed=st.integers(0, 1000))
def test_levelling_keeps_replicas_apart_and_regions(
    shards: list[ShardLoad], rooms: list[Room], replicas: int, seed: int
) -> None:
    holders = {shard: list(nodes) for shard, nodes in allocate(shards, rooms, replicas=replicas).holders.items()}
    heat = np.random.default_rng(seed).random(len(shards)) * 50
    heated = [ShardLoad(one.shard, one.bytes, float(at), one.region) for one, at in zip(shards, heat, strict=True)]
    for one in level(heated, rooms, holders):
        assert one.source in holders[one.shard]
        assert one.target not in holders[one.shard]
        assert one.target in able(heated[one.shard], rooms)
        assert one.gain >= 0.05
        holders[one.shard][holders[one.shard].index(one.source or "")] = one.target


def test_a_new_node_gets_its_part_by_levelling() -> None:
    shards = [ShardLoad(at, 1000, 1.0) for at in range(32)]
    rooms = [Room(f"node-{at}") for at in range(4)]
    before = allocate(shards, rooms, replicas=1)
    found = level(shards, [*rooms, Room("new")], before.holders, transfers_max=32)
    assert {one.target for one in found} == {"new"}
    assert 3 <= len(found) <= 7


def test_transfers_come_from_who_gives_up_and_the_barest_first() -> None:
    shards = [ShardLoad(0, 10), ShardLoad(1, 20), ShardLoad(2, 30)]
    before = {0: ("a", "b"), 1: ("a", "b"), 2: ()}
    after = {0: ("b", "c"), 1: ("a", "b", "c"), 2: ("a",)}
    assert transfers(before, after, shards) == [
        Transfer(2, None, "a", 30, drop=False),
        Transfer(0, "a", "c", 10, drop=True),
        Transfer(1, "a", "c", 20, drop=False),
    ]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(4, 24), blocks=st.integers(1, 4))
def test_blocks_hold_everyone_once_and_are_about_as_large(seed: int, count: int, blocks: int) -> None:
    random = np.random.default_rng(seed)
    ties = random.random((count, count))
    sizes = random.integers(50, 100, count).tolist()
    found = in_blocks((ties + ties.T) * (1 - np.eye(count)), sizes, blocks)
    assert sorted(member for block in found for member in block) == list(range(count))
    assert max(sum(sizes[member] for member in block) for block in found) <= 1.1 * (sum(sizes) / blocks + 100)


def test_neighbours_share_a_node() -> None:
    """16 cells on 4 nodes: a nearest and next nearest cell lie together oftener than by lot."""
    vectors = clustered(3000, 24, 3, clusters=24)
    strategy = fit_metric(vectors, distance="Cosine", shards=range(100, 116), seed=1)
    ties = ties_between(strategy, vectors, "Cosine")
    shards = [ShardLoad(shard, 1000) for shard in strategy.shards]
    rooms = [Room(f"node-{at}") for at in range(4)]

    def together(holders: dict[int, tuple[str, ...]]) -> float:
        shared = [[set(holders[a]) & set(holders[b]) != set() for b in strategy.shards] for a in strategy.shards]
        return float((ties * np.array(shared)).sum() / ties.sum())

    near = allocate(shards, rooms, replicas=1, ties=ties)
    assert set(Counter(nodes[0] for nodes in near.holders.values()).values()) == {4}
    assert together(near.holders) > 2 * together(allocate(shards, rooms, replicas=1).holders)
    twice = allocate(shards, rooms, replicas=2, ties=ties)
    assert len(set(twice.holders.values())) == 2
    assert twice.short == {}


def test_a_group_of_shards_shares_a_node() -> None:
    vectors = clustered(1500, 16, 5, clusters=20)
    groups = [(0, 3, 6), (1, 4, 7), (2, 5, 8)]
    strategy = fit_grouped(vectors, distance="Cosine", shards_by_group=groups, seed=1)
    shards = [ShardLoad(shard, 1000) for shard in strategy.shards]
    ties = ties_between(strategy, vectors, "Cosine")
    found = allocate(shards, [Room(f"node-{at}") for at in range(3)], replicas=1, ties=ties)
    assert sorted(len({found.holders[shard] for shard in group}) for group in groups) == [1, 1, 1]


def test_what_is_wrong_is_told() -> None:
    shard, room = ShardLoad(0, 1), Room("a")
    for work, message in (
        (lambda: allocate([shard], [room], replicas=0), "0 replicas"),
        (lambda: allocate([shard, shard], [room], replicas=1), "a shard is named twice"),
        (lambda: allocate([shard], [room, room], replicas=1), "2 nodes, must be"),
        (lambda: allocate([shard], [Room("a", weight=0.0)], replicas=1), "weight"),
    ):
        with pytest.raises(InputError, match=message):
            work()
