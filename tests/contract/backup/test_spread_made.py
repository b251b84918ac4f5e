"""Collections that a request has made, in a backup: they come back with it, and what was deleted since does not."""

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.clock import SYSTEM
from littoral.errors import NotFoundError
from littoral.node.backup.api import Running
from littoral.node.backup.folder import Backups
from littoral.node.backup.restoring import restore
from littoral.node.backup.sending import sent
from littoral.node.mesh_tables import SpreadTable
from littoral.node.site import read_site
from littoral.vectors.records import CollectionConfig, VectorParams
from nodes_in_process import Wires
from spread_nodes import SpreadNode, spread_node
from waiting import until_async, until_true

NAMES = ("a", "b")
CONFIG = CollectionConfig(VectorParams(4, "Euclid"))
DEADLINE_S = 60.0
SITE = """
[node]
name = "a"
listen = "127.0.0.1:0"
data = "a"
[mesh]
site = "shop"
listen = "127.0.0.1:1"
peers = { b = "127.0.0.1:2" }
"""


async def back_up(folder: Path, node: SpreadNode) -> None:
    (folder / "site.toml").write_text(SITE)
    packed = Running(node.collections, node.federation.replicas)
    stream = b"".join([chunk async for chunk in sent(read_site(folder / "site.toml"), packed, SYSTEM)])
    at = 0

    def read(count: int) -> bytes:
        nonlocal at
        at += count
        return stream[at - count : at]

    Backups(folder / "kept", None, SYSTEM).take(read)


async def make(node: SpreadNode, name: str) -> None:
    table = SpreadTable(shards=2, replicas=2)
    await node.federation.making.create(
        name, CONFIG, table, ready=lambda left_s: node[name].count(deadline_s=left_s), deadline_s=DEADLINE_S
    )


async def write(node: SpreadNode, name: str, payloads: Mapping[int, str]) -> None:
    vectors = np.asarray([[at, 1, 2, 3] for at in payloads], np.float32)
    await node[name].upsert(list(payloads), vectors, [{"v": value} for value in payloads.values()])


async def told(node: SpreadNode, name: str) -> dict[Any, Any]:
    records, _ = await node[name].scroll(limit=100)
    return {record.id: (record.payload or {})["v"] for record in records}


async def tells(node: SpreadNode, name: str, wanted: Mapping[int, str]) -> bool:
    return name in node.collections and not node.federation.lacking() and await told(node, name) == wanted


def left_on(node: SpreadNode, name: str) -> list[str]:
    """Shards and journals that lie there."""
    return [one for one in (*node.collections.parts(), *node.federation.replicas.kept()) if one.startswith(f"{name}.")]


async def test_a_site_of_which_nothing_is_left_has_what_was_made(tmp_path: Path) -> None:
    before, after, points = tmp_path / "before", tmp_path / "after", dict.fromkeys(range(30), "first")
    before.mkdir()
    wires = Wires()
    async with spread_node(before, "a", NAMES, {}, wires) as a, spread_node(before, "b", NAMES, {}, wires) as b:
        await make(b, "notes")
        await write(b, "notes", points)
        await until_true(partial(tells, a, "notes", points))
        await back_up(before, a)
    restore(Backups(before / "kept", None, SYSTEM), after)
    wires = Wires()
    async with spread_node(after, "a", NAMES, {}, wires) as a, spread_node(after, "b", NAMES, {}, wires) as b:
        for node in (a, b):
            await until_true(partial(tells, node, "notes", points))
        await write(a, "notes", {100: "after"})
        await make(b, "memos")
        assert await told(b, "notes") == points | {100: "after"}
        assert sorted(a.collections.names()) == ["memos", "notes"]


@pytest.mark.parametrize("is_made_again", [False, True], ids=["deleted", "made again"])
async def test_what_was_deleted_since_does_not_come_back(tmp_path: Path, is_made_again: bool) -> None:
    """Node `a`, which writes the map, is restored; `b` goes on meanwhile."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    wires = Wires()
    async with contextlib.AsyncExitStack() as opened:
        b = await opened.enter_async_context(spread_node(before, "b", NAMES, {}, wires))
        async with spread_node(before, "a", NAMES, {}, wires) as a:
            await make(a, "notes")
            await write(a, "notes", dict.fromkeys(range(30), "old"))
            await back_up(before, a)
            await a.federation.making.delete("notes", deadline_s=DEADLINE_S)
            if is_made_again:
                await make(a, "notes")
                await write(a, "notes", {7: "new"})
            await until_async(lambda: b.federation.map.number == a.federation.map.number)
        wires.kill("a")
        restore(Backups(before / "kept", None, SYSTEM), after)
        wires.revive("a")
        a = await opened.enter_async_context(spread_node(after, "a", NAMES, {}, wires))
        await until_async(lambda: a.federation.map.number == b.federation.map.number)
        if is_made_again:
            for node in (a, b):
                await until_true(partial(tells, node, "notes", {7: "new"}))
        else:
            await until_async(lambda: not left_on(a, "notes"))
            for node in (a, b):
                with pytest.raises(NotFoundError):
                    node["notes"]
        await make(b, "memos")
        await write(a, "memos", {1: "here"})
        assert await told(b, "memos") == {1: "here"}
