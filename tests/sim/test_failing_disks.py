"""Replicas whose disk fails to be read and written for a while: nothing ends by it, and all are alike after it."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from littoral.errors import LittoralError
from littoral.testing import SimulatedClock, run_simulated
from littoral.vectors.records import PointBatch
from replica_models import vector
from replica_site import ReplicaSite

WITHIN_S = 60.0


class Disk:
    is_failing = False


class _Journal(sqlite3.Connection):
    def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
        if Disk.is_failing and not sql.startswith("ROLLBACK"):
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *more)


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **told: connect(path, factory=_Journal, **told))
    yield
    Disk.is_failing = False


async def write(site: ReplicaSite, point: int) -> bool:
    """Whether it was acknowledged, by whichever node."""
    replica = site.nodes["abc"[point % 3]].replica
    assert replica is not None
    try:
        await replica.upsert_points(PointBatch([point], vector(point)))
    except LittoralError:
        return False
    return True


@pytest.mark.parametrize("failing_s", [0.5, 15.0])
def test_replicas_go_on_after_their_disks_have_failed(failing_s: float, tmp_path: Path) -> None:
    """15 s: also those that compare everything, and keep house."""
    clock = SimulatedClock()

    async def main() -> None:
        async with ReplicaSite(1, tmp_path, clock) as site:
            await asyncio.sleep(1)
            assert all([await write(site, point) for point in range(6)])
            Disk.is_failing = True
            refused = [asyncio.create_task(write(site, point)) for point in range(6, 12)]
            await asyncio.sleep(failing_s)
            Disk.is_failing = False
            assert not any(await asyncio.gather(*refused))
            assert all([await write(site, point) for point in range(12, 18)])
            assert await site.until_alike(WITHIN_S) < WITHIN_S
            acknowledged = {*range(6), *range(12, 18)}
            assert all(acknowledged <= set(node.shard.points) for node in site.nodes.values())

    run_simulated(main, clock)
