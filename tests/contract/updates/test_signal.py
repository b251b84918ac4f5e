"""A message to the topic of a site's broker makes a node ask its orchestrator."""

import asyncio
import contextlib
import random
from pathlib import Path

from paho.mqtt import publish

from broker import running_broker
from littoral.clock import SYSTEM
from littoral.node.site import parse_site
from littoral.node.updates.signal import mqtt_signal
from waiting import until_async

SITE = """
[mqtt]
broker = "mqtt://127.0.0.1:PORT"

[updates]
trust = "fleet.json"
mqtt = "fleet/north"
"""


async def test_a_message_rings(tmp_path: Path) -> None:
    with running_broker(tmp_path / "broker") as broker:
        site = parse_site(SITE.replace("PORT", str(broker.port)).encode(), tmp_path / "site.toml")
        publish.single("fleet/north", b"look", hostname="127.0.0.1", port=broker.port, retain=True)
        rung: list[int] = []
        task = asyncio.create_task(mqtt_signal(site, "fleet/north", lambda: rung.append(1), SYSTEM, random.Random(1)))

        await until_async(lambda: bool(rung))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
