"""What this node tells of itself beside the numbers of its shards: links, contents and sizes of replicas, lags."""

import asyncio
import contextlib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import LittoralError
from littoral.mesh.condition import (
    LAG_COUNT_MAX,
    LINK_COUNT_MAX,
    REPLICA_COUNT_MAX,
    BehindTold,
    Condition,
    LinkTold,
    ReplicaTold,
)
from littoral.node.federation.local_shards import part_name
from littoral.node.federation.replicas import Replicas
from littoral.transport.measured import MeasuredTransport
from littoral.vectors.collections import Collections
from littoral.vectors.layout import COLLECTIONS

__all__ = ["OwnCondition"]

INFO_S = 1.0
SIZES_S = 20.0
BLOCK_BYTES = 512


class OwnCondition:
    """For one event loop. Sizes on disk are measured every 20 s. data: of the node."""

    def __init__(
        self, collections: Collections, data: Path, links: MeasuredTransport, replicas: Replicas, clock: Clock
    ) -> None:
        self._collections = collections
        self._folder = data / COLLECTIONS
        self._links = links
        self._replicas = replicas
        self._clock = clock
        self._began_s = clock.monotonic()
        self._sizes: dict[str, int] = {}
        self._sizes_at_s: float | None = None

    async def read(self, shards: Iterable[tuple[str, int]]) -> Condition:
        """shards: collection and number of those that lie here."""
        held = list(shards)[:REPLICA_COUNT_MAX]
        await self._measure([part_name(*one) for one in held])
        found = await asyncio.gather(*(self._replica(*one) for one in held))
        return Condition(
            version=_version(),
            uptime_s=round(self._clock.monotonic() - self._began_s, 3),
            links=self._link_rows(),
            replicas=[one for one in found if one is not None],
            behind=self._behind(dict.fromkeys(held)),
        )

    async def _measure(self, parts: list[str]) -> None:
        now_s = self._clock.monotonic()
        if self._sizes_at_s is not None and now_s < self._sizes_at_s + SIZES_S and set(parts) <= self._sizes.keys():
            return
        self._sizes_at_s = now_s
        folders = {part: self._folder / part for part in parts}
        self._sizes = await asyncio.to_thread(lambda: {part: _disk_bytes(path) for part, path in folders.items()})

    async def _replica(self, collection: str, shard: int) -> ReplicaTold | None:
        name = part_name(collection, shard)
        if (part := self._collections.part(name)) is None:
            return None
        with contextlib.suppress(LittoralError):
            info = await part.info(deadline_s=INFO_S)
            return ReplicaTold(collection, shard, info.points_count, info.epoch, self._sizes.get(name))
        return None

    def _link_rows(self) -> list[LinkTold]:
        rows = [
            LinkTold(
                peer,
                state.is_up,
                None if state.round_trip_s is None else round(state.round_trip_s * 1000, 3),
                round(state.bytes_per_s, 1),
                state.sent_bytes,
                state.received_bytes,
                state.asked_count,
                state.failed_count,
            )
            for peer, state in sorted(self._links.states().items())
        ]
        return rows[:LINK_COUNT_MAX]

    def _behind(self, held: Iterable[tuple[str, int]]) -> list[BehindTold]:
        shards = {part_name(*one): one for one in held}
        rows = [
            BehindTold(*shards[lag.shard], lag.peer, lag.entry_count, round(lag.since_s, 3))
            for lag in self._replicas.lags()
            if lag.entry_count and lag.shard in shards
        ]
        return sorted(rows, key=lambda row: -row.since_s)[:LAG_COUNT_MAX]


@cache
def _version() -> str:
    return metadata.version("littoral")


def _disk_bytes(folder: Path) -> int:
    """Blocks, as a store keeps files with holes. What goes away meanwhile does not count."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * BLOCK_BYTES
    return total
