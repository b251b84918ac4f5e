"""How a node is doing, as it says itself in its fact: its links, its replicas, and how far others are behind it.

Bounded, so that a fact stays one small message however many nodes and shards there are.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["LAG_COUNT_MAX", "LINK_COUNT_MAX", "REPLICA_COUNT_MAX", "BehindTold", "Condition", "LinkTold", "ReplicaTold"]

LINK_COUNT_MAX = 256
REPLICA_COUNT_MAX = 384
LAG_COUNT_MAX = 128

Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Name = Annotated[str, Meta(max_length=64)]


class LinkTold(msgspec.Struct, frozen=True, array_like=True):
    """Of one node to another, measured by the first. round_trip_ms: median of the latest, None before the first.

    Bytes are those of requests and answers since the node started, bytes_per_s those of the latest seconds.
    """

    peer: Name
    is_up: bool
    round_trip_ms: float | None = None
    bytes_per_s: float = 0.0
    sent_bytes: Count = 0
    received_bytes: Count = 0
    asked_count: Count = 0
    failed_count: Count = 0


class ReplicaTold(msgspec.Struct, frozen=True, array_like=True):
    """A shard that lies on the node. epoch: of its contents, as its host counts. disk_bytes: None until measured."""

    collection: Name
    shard: Count
    points: Count
    epoch: Count
    disk_bytes: Count | None = None


class BehindTold(msgspec.Struct, frozen=True, array_like=True):
    """A peer's replica that lacks entries which this node has."""

    collection: Name
    shard: Count
    peer: Name
    entry_count: Count
    since_s: float


class Condition(msgspec.Struct, frozen=True, array_like=True):
    """uptime_s: since the node started, when it said this."""

    version: Annotated[str, Meta(max_length=64)] = ""
    uptime_s: float = 0.0
    links: Annotated[list[LinkTold], Meta(max_length=LINK_COUNT_MAX)] = []
    replicas: Annotated[list[ReplicaTold], Meta(max_length=REPLICA_COUNT_MAX)] = []
    behind: Annotated[list[BehindTold], Meta(max_length=LAG_COUNT_MAX)] = []

    @property
    def points(self) -> dict[str, dict[int, int]]:
        """Of its replicas, by collection and shard."""
        found: dict[str, dict[int, int]] = {}
        for replica in self.replicas:
            found.setdefault(replica.collection, {})[replica.shard] = replica.points
        return found
