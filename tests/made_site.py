"""A site of three nodes whose spread collections are made and deleted by requests; nodes come and go."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from littoral.node.mesh_tables import SpreadTable
from littoral.node.site_tables import CollectionTable
from littoral.vectors.records import CollectionConfig, VectorParams
from nodes_in_process import Wires
from spread_nodes import SpreadNode, spread_node

SIZE = 4
COUNT = 30
NAMES = ("a", "b", "c")
CONFIG = CollectionConfig(VectorParams(SIZE, "Euclid"))
ROWS = np.random.default_rng(7).standard_normal((COUNT, SIZE)).astype("<f4")
DEADLINE_S = 60.0

Nodes = dict[str, SpreadNode]


async def make(node: SpreadNode, name: str = "notes", config: CollectionConfig = CONFIG, **spread: Any) -> None:
    table = SpreadTable(**({"shards": 2, "replicas": 2} | spread))
    await node.federation.making.create(
        name, config, table, ready=lambda left_s: node[name].count(deadline_s=left_s), deadline_s=DEADLINE_S
    )


async def delete(node: SpreadNode, name: str = "notes") -> None:
    await node.federation.making.delete(name, deadline_s=DEADLINE_S)


class Site:
    """Nodes that come and go, with the same wires and folders. tables: of site files, by node."""

    def __init__(self, folder: Path, tables: Mapping[str, Mapping[str, CollectionTable]] | None = None) -> None:
        self.wires = Wires()
        self.nodes: Nodes = {}
        self._folder = folder
        self._tables = tables or {}
        self._running: dict[str, contextlib.AsyncExitStack] = {}

    async def start(self, *names: str) -> None:
        for name in names:
            self.wires.dead.discard(name)
            stack = self._running[name] = contextlib.AsyncExitStack()
            node = spread_node(self._folder, name, NAMES, self._tables.get(name, {}), self.wires)
            self.nodes[name] = await stack.enter_async_context(node)

    async def stop(self, *names: str) -> None:
        for name in names:
            self.wires.kill(name)
            del self.nodes[name]
            await self._running.pop(name).aclose()
