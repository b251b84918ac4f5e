"""Replicas under everything that goes wrong, with many seeds: see tests/sim/test_replication.py."""

from pathlib import Path

import pytest

from littoral.testing import SimulatedClock, Weather, run_simulated
from replica_lives import HEALED_S_MAX, Acknowledged, live
from replica_site import ReplicaSite

SEEDS = 200


@pytest.mark.parametrize("seed", range(100, 100 + SEEDS))
def test_no_acknowledged_write_is_lost_and_all_end_alike(seed: int, tmp_path: Path) -> None:
    clock, seen = SimulatedClock(), Acknowledged()
    weather = Weather(seed, delay_s=0.005, jitter_s=0.005, loss=0.02 * (seed % 3))
    disk = "abcde"[seed % 5] if seed % 4 == 0 else None

    async def main() -> float:
        log_bytes = 1000 if seed % 5 == 0 else 1 << 20
        site = ReplicaSite(seed, tmp_path, clock, count=3 + seed % 3, conditions=weather, log_bytes=log_bytes)
        disk_of = disk if disk in site.nodes else None
        return await live(site, seen, copies=2 if disk_of else 1, power=True, disk=disk_of)

    assert run_simulated(main, clock) <= HEALED_S_MAX
    assert seen.count > 0
