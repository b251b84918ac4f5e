"""A real node and a real orchestrator: enrolled by a claim, a rollout ends on the node."""

import asyncio
import json
import signal

import pytest

from fleet_gateway import SITE, asked, times
from orchestrated import orchestrated
from raw_http import send, send_json
from supervised import short_folder
from upped import Up
from waiting import until_async, until_true

pytestmark = pytest.mark.e2e

GATES = {"canary_s": 0.5, "watch_s": 1.0, "p99_ratio_max": 1000.0}


async def test_a_rollout_ends_on_a_node() -> None:
    with short_folder() as folder:
        (folder / "fleet").mkdir()
        async with orchestrated(folder / "fleet") as kept:
            up = Up(folder / "node", SITE)
            (made,) = await kept.done("operator", "POST", "/api/fleet/claims", {"count": 1, "uses": 1})
            trust = await kept.done("operator", "GET", "/api/fleet/trust")
            trust["orchestrator"] = f"http://{kept.address}"
            up.site.with_name("fleet.json").write_text(json.dumps(trust))
            up.site.with_name("claim").write_text(made["code"])
            try:
                await asyncio.to_thread(up.start)
                await until_async(lambda: bool(kept.found.fleet.nodes))
                found = await kept.artifact("m", times(2))
                order = {"nodes": [*kept.found.fleet.nodes], "set": {"models": {"m": found["target"]}}, "gates": GATES}
                rollout = await kept.done("operator", "POST", "/api/fleet/rollouts", order)

                async def state() -> str:
                    said = await kept.done("viewer", "GET", f"/api/fleet/rollouts/{rollout['id']}")
                    return str(said["state"])

                async def has_ended() -> bool:
                    return await state() != "running"

                await until_true(has_ended)
                assert await state() == "done"
                said = send_json(up.address, "POST", "/v2/models/m/infer", asked(3))
                assert json.loads(said.body)["outputs"][0]["data"][0] == 6
                told = json.loads(send(up.address, "GET", "/api/updates").body)
                assert told["running"]["targets"] == {"models/m": found["target"]}
            finally:
                await asyncio.to_thread(up.end, signal.SIGKILL)
