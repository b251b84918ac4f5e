"""A real node and a real orchestrator: enrolled by a claim, a rollout ends on the node."""

import asyncio
import json
import signal
from typing import Any

import pytest

from fleet_gateway import SITE, asked, board, times
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
            up.site.with_name("grafana").mkdir()
            try:
                await asyncio.to_thread(up.start)
                await until_async(lambda: bool(kept.found.fleet.nodes))
                found = await kept.artifact("m", times(2))
                shown = [(await kept.artifact("shop", board("Shop"), "dashboards"))["target"] for _ in range(2)]
                order: dict[str, Any] = {
                    "nodes": [*kept.found.fleet.nodes],
                    "set": {"models": {"m": found["target"]}, "dashboards": shown},
                    "gates": GATES,
                }
                refused = await kept.ask("operator", "POST", "/api/fleet/rollouts", order)
                assert (refused.status, "in another version too" in refused.error) == (400, True)
                order["set"]["dashboards"] = shown[1:]
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
                assert told["running"]["targets"] == {"models/m": found["target"], "dashboards/shop": shown[1]}
                (node,) = await kept.done("viewer", "GET", "/api/fleet/nodes")
                assert (node["desired"], node["drift"]) == (told["running"]["targets"], [])
            finally:
                await asyncio.to_thread(up.end, signal.SIGKILL)
