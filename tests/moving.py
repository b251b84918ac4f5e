"""Spread collections on their way to another layout: what tests begin, and wait for."""

from collections.abc import Mapping

from littoral.mesh.shard_map import Layout
from spread_nodes import SpreadNode
from waiting import until_async

__all__ = ["are_at", "begin", "shards_on_disk", "until_arrived", "writer_of"]


def writer_of(nodes: Mapping[str, SpreadNode]) -> SpreadNode:
    return nodes[min(nodes)]


def begin(nodes: Mapping[str, SpreadNode], name: str, layout: Layout) -> None:
    """As the writer of the map."""
    writer_of(nodes).federation.go_to(name, layout)


def are_at(nodes: Mapping[str, SpreadNode], name: str, places: Mapping[int, list[str]]) -> bool:
    """All go by it, and nothing of what was before is left."""
    return all(
        (spread := node.federation.map.spreads[name]).change is None
        and spread.places == places
        and not node.federation.moving.left_shards()
        for node in nodes.values()
    )


async def until_arrived(nodes: Mapping[str, SpreadNode], name: str, layout: Layout) -> None:
    await until_async(lambda: are_at(nodes, name, layout.places))


def shards_on_disk(nodes: Mapping[str, SpreadNode]) -> dict[str, list[str]]:
    return {name: node.collections.parts() for name, node in nodes.items()}
