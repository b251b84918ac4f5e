"""Who may say that nothing is missing: a replica whose peers have promised so, or could not have written alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.mesh.shard_map import Layout
from littoral.node.search_how import noting
from littoral.vectors.queries import SearchParams
from moving import begin, until_arrived
from nodes_in_process import Wires
from seeded_site import SIZE, seeded_site
from spread_nodes import SpreadNode, spread_nodes, spread_table
from waiting import until_async, until_true

EXACT = SearchParams(exact=True)
POINT = np.zeros((1, 4), np.float32)


async def is_certain(node: SpreadNode, size: int = 4) -> Any:
    with noting() as how:
        await node["points"].search(np.zeros(size, np.float32), params=EXACT)
    assert how.told is not None
    assert how.told["expected_recall"] == (1.0 if how.told["certified"] else None)
    return how.told["certified"]


async def until_certain(node: SpreadNode, size: int = 4) -> None:
    async def certain() -> bool:
        return bool(await is_certain(node, size))

    await until_true(certain)


@pytest.mark.parametrize("holders", [1, 2])
async def test_a_replica_that_is_alone_is_certain_where_nobody_writes_without_it(tmp_path: Path, holders: int) -> None:
    wires = Wires()
    tables = {"points": spread_table(4, shards=1, replicas=2, holders=holders)}
    async with spread_nodes(tmp_path, ["a", "b"], tables, wires=wires) as nodes:
        node = nodes["a"]
        await node["points"].upsert([1], POINT)
        left_s = node.federation.completeness.left_s
        await until_certain(node)
        wires.kill("b")
        if holders == 1:
            await until_async(lambda: left_s("points", 0) == 0)
        assert await is_certain(node) == (holders == 2)
        assert (left_s("points", 0) > 0) == (holders == 2)


async def test_a_holder_that_lost_its_disk_is_not_certain_before_it_is_whole(tmp_path: Path) -> None:
    """Though nobody could have written without it."""
    async with seeded_site(tmp_path, holders=2) as site:
        await site.start("a", "b")
        await site.write("a", range(5))
        await site.stop("b")
        site.lose_shard("b")
        site.wires.cut("a", "b")
        await site.start("b")
        assert not await is_certain(site.nodes["b"], SIZE)
        site.wires.heal()
        await until_async(lambda: site.federation("b").completeness.left_s("points", 0) > 0)
        assert len(await site.points("b")) == 5
        await until_certain(site.nodes["b"], SIZE)


async def test_a_holder_whom_nobody_tells_that_its_map_is_the_newest_is_not_certain(tmp_path: Path) -> None:
    wires = Wires()
    tables = {"points": spread_table(4, shards=1, replicas=2, holders=2)}
    async with spread_nodes(tmp_path, ["a", "b", "c"], tables, wires=wires) as nodes:
        await nodes["a"]["points"].upsert([1], POINT)
        holders = nodes["a"].federation.map.spreads["points"].places[0]
        alone = next(name for name in holders if name != "a")
        await until_certain(nodes[alone])
        for other in nodes.keys() - {alone}:
            wires.cut(alone, other)
        await until_async(lambda: nodes[alone].federation.completeness.left_s("points", 0) == 0)
        assert not await is_certain(nodes[alone])
        wires.heal()
        await until_certain(nodes[alone])


async def test_an_old_holder_that_is_cut_off_in_a_change_is_not_certain(tmp_path: Path) -> None:
    """The others may have gone on without it, though it holds the only replica."""
    wires = Wires()
    tables = {"points": spread_table(4, shards=1, replicas=1)}
    async with spread_nodes(tmp_path, ["a", "b", "c"], tables, wires=wires) as nodes:
        await nodes["a"]["points"].upsert([1], POINT)
        writer, (old,) = nodes["a"].federation, nodes["a"].federation.map.spreads["points"].places[0]
        if old == "a":
            await go_to_and_arrive(nodes, "b")
            (old,) = ["b"]
        plain = writer.moving.next_map
        writer.moving.next_map = lambda members: {} if step_of(nodes["a"]) == "copying" else plain(members)  # type: ignore[method-assign]
        begin(nodes, "points", layout_at(nodes, "c" if old == "b" else "b"))
        await until_async(lambda: step_of(nodes[old]) == "copying")
        await until_certain(nodes[old])
        for other in nodes.keys() - {old}:
            wires.cut(old, other)
        await until_async(lambda: nodes[old].federation.completeness.left_s("points", 0) == 0)
        assert not await is_certain(nodes[old])
        wires.heal()
        await until_certain(nodes[old])


def step_of(node: SpreadNode) -> str | None:
    change = node.federation.map.spreads["points"].change
    return None if change is None else change.step


def layout_at(nodes: Mapping[str, SpreadNode], name: str) -> Layout:
    """All points in another shard, on that node."""
    spread = nodes["a"].federation.map.spreads["points"]
    return Layout("hash", {spread.first_free: [name]})


async def go_to_and_arrive(nodes: Mapping[str, SpreadNode], name: str) -> None:
    layout = layout_at(nodes, name)
    begin(nodes, "points", layout)
    await until_arrived(nodes, "points", layout)
