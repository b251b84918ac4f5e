"""Caps over all nodes together, over real HTTP: of the fleet's file, of a group, of a rollout."""

import asyncio
import http.client
import time
from pathlib import Path
from typing import Any

from littoral.orchestrator.pacing import BURST_S, FLEET, TURNS_PER_S
from orchestrated import FILE, Kept, orchestrated
from placeholder_models import model_of
from waiting import until_async

DATA = model_of(bytes(300_000))
FLEET_CAP = 1 << 20
CAPPED = f"{FILE}\n[limits]\ndownload_bytes_per_s_max = {FLEET_CAP}\n"
SET = {"models": {"e": "models/embedder/1.wasm"}}


async def grouped(kept: Kept, *names: str, **group: Any) -> str:
    """Where the artifact is that these nodes may fetch."""
    artifact = await kept.artifact(data=DATA)
    await kept.done("operator", "PUT", "/api/fleet/groups/north", {"match": {"region": "north"}} | group)
    await kept.enrolled(*names, labels={"region": "north"})
    return f"/fleet/v1/image/targets/{artifact['sha256']}.wasm"


async def fetched_in(kept: Kept, path: str, *names: str) -> float:
    """Seconds until all of these had it, all at once."""
    begun_s = time.perf_counter()
    for reply in await asyncio.gather(*(kept.ask(name, "GET", path) for name in names)):
        assert (reply.status, reply.body) == (200, DATA)
    return time.perf_counter() - begun_s


def least_s(nodes: int, rate: int) -> float:
    """But for the burst and the last turn, which is told at its beginning."""
    return nodes * len(DATA) / rate - BURST_S - 1 / TURNS_PER_S


async def test_the_fleets_cap_holds_for_all_nodes_together(tmp_path: Path) -> None:
    async with orchestrated(tmp_path, CAPPED) as kept:
        names = ("gw-1", "gw-2", "gw-3")
        path = await grouped(kept, *names)
        assert await fetched_in(kept, path, *names) >= least_s(3, FLEET_CAP)
        await until_async(lambda: kept.found.pacer.traffic(FLEET).downloads == 0)
        told = (await kept.done("viewer", "GET", "/api/fleet"))["traffic"]
        assert (told["sent_bytes"], told["downloads"], told["bytes_per_s_max"]) == (3 * len(DATA), 0, FLEET_CAP)
        assert told["waited_s"] > 0
        text = (await kept.ask("viewer", "GET", "/metrics")).body.decode()
        assert f"littoral_fleet_download_bytes_total {3 * len(DATA)}" in text
        assert f"littoral_fleet_download_bytes_per_second_max {FLEET_CAP}" in text


async def test_a_groups_cap_and_a_rollouts_hold_beside_each_other(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        path = await grouped(kept, "gw-1", "gw-2", total_bytes_per_s_max=FLEET_CAP)
        order = {"group": "north", "set": SET, "total_bytes_per_s_max": FLEET_CAP // 2}
        begun = await kept.done("operator", "POST", "/api/fleet/rollouts", order)
        for name in ("gw-1", "gw-2"):
            await kept.done(name, "GET", "/fleet/v1/signal?after=0&wait_s=60")
        assert await fetched_in(kept, path, "gw-1", "gw-2") >= least_s(2, FLEET_CAP // 2)
        told = await kept.done("viewer", "GET", f"/api/fleet/rollouts/{begun['id']}")
        assert (told["traffic"]["sent_bytes"], told["traffic"]["bytes_per_s_max"]) == (2 * len(DATA), FLEET_CAP // 2)
        assert kept.found.pacer.traffic("group/north").sent_bytes == 2 * len(DATA)
        assert (await kept.done("viewer", "GET", "/api/fleet"))["traffic"]["bytes_per_s_max"] is None


async def test_metadata_comes_while_artifacts_take_all_of_a_cap(tmp_path: Path) -> None:
    async with orchestrated(tmp_path, FILE) as kept:
        names = ("gw-1", "gw-2", "gw-3")
        path = await grouped(kept, *names, total_bytes_per_s_max=1024)
        async with asyncio.TaskGroup() as tasks:
            downloads = [tasks.create_task(asyncio.to_thread(begun, kept, name, path)) for name in names]
            await until_async(lambda: kept.found.pacer.traffic("group/north").downloads == 3)
            for name in names:
                reply = await kept.ask(name, "GET", "/fleet/v1/image/metadata/timestamp.json")
                assert (reply.status, reply.json["signed"]["_type"]) == (200, "timestamp")
            assert kept.found.pacer.traffic("group/north").downloads == 3
            assert kept.found.pacer.traffic("group/north").metadata_bytes == 3 * len(reply.body)
        for download in downloads:
            download.result().close()
        await until_async(lambda: kept.found.pacer.traffic("group/north").downloads == 0)
        text = (await kept.ask("viewer", "GET", "/metrics")).body.decode()
        assert f"littoral_fleet_metadata_bytes_total {3 * len(reply.body)}" in text
        assert "littoral_fleet_metadata_refused_total 0" in text


def begun(kept: Kept, name: str, path: str) -> http.client.HTTPConnection:
    """A download, from which nothing more is read."""
    connection = http.client.HTTPConnection(kept.address.removeprefix("http://"), timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {kept.tokens[name]}"})
    assert connection.getresponse().status == 200
    return connection


async def test_caps_that_are_none(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        for wrong in (0, 1023, -1, 2**63, "fast", 2048.5):
            put = await kept.ask("operator", "PUT", "/api/fleet/groups/a", {"total_bytes_per_s_max": wrong})
            assert (put.status, "total_bytes_per_s_max" in put.error) == (400, True), wrong
