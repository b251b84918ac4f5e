"""Shards of spread collections in a backup: a node that was restored becomes like the others, and brings nothing back.

Nodes of one process with real shard hosts and journals; the way to the disk and back is that of `littoral backup`.
"""

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.clock import SYSTEM
from littoral.node.backup.api import Running
from littoral.node.backup.folder import Backups, Made
from littoral.node.backup.restoring import restore
from littoral.node.backup.sending import sent
from littoral.node.site import read_site
from littoral.vectors.records import PointId
from littoral.vectors.replication.hybrid_clock import TIME_MAX
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.pipeline import Pipeline
from nodes_in_process import Wires
from spread_nodes import SpreadNode, settled, spread_node, spread_table
from waiting import until_true

NAMES = ("a", "b")
SHARDS = 2
TABLES = {"frames": spread_table(4, shards=SHARDS, replicas=2, holders=1)}
SITE = """
[node]
name = "a"
listen = "127.0.0.1:0"
data = "a"
[mesh]
site = "shop"
listen = "127.0.0.1:1"
peers = { b = "127.0.0.1:2" }
[collections.frames]
vectors = { size = 4, distance = "Euclid" }
spread = { shards = 2, replicas = 2 }
"""


async def backed_up(folder: Path, node: SpreadNode, kept: Path) -> Made:
    (folder / "site.toml").write_text(SITE)
    packed = Running(node.collections, node.federation.replicas)
    stream = b"".join([chunk async for chunk in sent(read_site(folder / "site.toml"), packed, SYSTEM)])
    backups = Backups(kept, None, SYSTEM)
    at = 0

    def read(count: int) -> bytes:
        nonlocal at
        at += count
        return stream[at - count : at]

    return backups.take(read)


async def own(node: SpreadNode) -> dict[PointId, Any]:
    """What lies on this very node, in all its shards."""
    found: dict[PointId, Any] = {}
    for shard in range(SHARDS):
        part = node.collections.part(f"frames.{shard}")
        if part is not None:
            records, _ = await part.scroll(limit=1000)
            found |= {record.id: record.payload for record in records}
    return found


async def write(node: SpreadNode, payloads: Mapping[int, Any]) -> None:
    vectors = np.asarray([[at, 1, 2, 3] for at in payloads], np.float32)
    await node["frames"].upsert(list(payloads), vectors, [{"v": value} for value in payloads.values()])


async def forget_all_deletions(node: SpreadNode) -> None:
    async def is_forgotten(pipeline: Pipeline) -> bool:
        await pipeline.read(lambda journal: journal.forget_deletions(TIME_MAX))
        _, gone = await pipeline.read(Journal.count)
        return gone == 0

    for shard in range(SHARDS):
        await until_true(partial(is_forgotten, node.federation.replicas.of(f"frames.{shard}").pipeline))


@pytest.mark.parametrize("is_long_ago", [False, True], ids=["soon", "after deletions were forgotten"])
async def test_a_restored_node_becomes_like_the_others(tmp_path: Path, is_long_ago: bool) -> None:
    wires, before, after = Wires(), tmp_path / "before", tmp_path / "after"
    before.mkdir()
    async with spread_node(before, "b", NAMES, TABLES, wires) as b:
        async with spread_node(before, "a", NAMES, TABLES, wires) as a:
            await settled({"a": a, "b": b})
            await write(a, dict.fromkeys(range(60), "first"))
            made = await backed_up(before, a, tmp_path / "kept")
            assert {"frames.0", "frames.1"} <= set(made.manifest.collections)
            await a["frames"].delete(range(20))
            await write(a, dict.fromkeys(range(20, 30), "second"))
            await write(b, dict.fromkeys(range(100, 110), "new"))
            whole: dict[PointId, Any] = {at: {"v": "first"} for at in range(30, 60)}
            whole |= {at: {"v": "second"} for at in range(20, 30)} | {at: {"v": "new"} for at in range(100, 110)}
            await until_true(partial(same, a, whole))
            await until_true(partial(same, b, whole))
            if is_long_ago:
                await forget_all_deletions(b)
        wires.kill("a")
        restore(Backups(tmp_path / "kept", None, SYSTEM), after)
        wires.revive("a")
        async with spread_node(after, "a", NAMES, TABLES, wires) as a:
            await until_true(partial(same, a, whole))
            await write(a, {200: "after"})
            await until_true(partial(same, b, whole | {200: {"v": "after"}}))
            assert await own(a) == await own(b)


async def same(node: SpreadNode, wanted: Mapping[PointId, Any]) -> bool:
    return await own(node) == wanted


async def test_a_site_of_which_nothing_is_left_comes_back_from_the_backup_of_one_node(tmp_path: Path) -> None:
    wires, before, after = Wires(), tmp_path / "before", tmp_path / "after"
    before.mkdir()
    async with contextlib.AsyncExitStack() as opened:
        nodes = {
            name: await opened.enter_async_context(spread_node(before, name, NAMES, TABLES, wires)) for name in NAMES
        }
        await settled(nodes)
        await write(nodes["a"], dict.fromkeys(range(40), "first"))
        await nodes["a"]["frames"].delete([3])
        await backed_up(before, nodes["a"], tmp_path / "kept")
    restore(Backups(tmp_path / "kept", None, SYSTEM), after)
    wires = Wires()
    async with (
        spread_node(after, "a", NAMES, TABLES, wires) as a,
        spread_node(after, "b", NAMES, TABLES, wires) as b,
    ):
        await settled({"a": a, "b": b})
        whole: dict[PointId, Any] = {at: {"v": "first"} for at in range(40) if at != 3}
        assert await own(a) == whole
        await until_true(partial(same, b, whole))
        records, _ = await b["frames"].scroll(limit=100)
        assert {record.id: record.payload for record in records} == whole
