"""Messages with ids through a broker and a node while both are being killed, and the books that are kept of them."""

import contextlib
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker import Broker, running_broker
from littoral.clock import SYSTEM
from littoral.node.beside import RunningNode
from littoral.node.client import NodeClient
from mqtt_site import vector, write_mqtt_site
from ports import free_port
from processes import children_of

PARALLEL = 16
KEEP = f"""
[[mqtt.routes]]
topic = "keep/+/#"
pipeline = "keep"
publish = "kept/{{id}}"
errors = "errors"
parallel = {PARALLEL}
queue = {{ max = 50 }}
"""
PERIOD_S = 0.005
UNANSWERED_COUNT_MAX = 300
STUCK_S = 120.0
PATIENCE_S = 4.0


class Load:
    """A publisher that counts. answered: how often, by id."""

    def __init__(self, port: int) -> None:
        self.answered: dict[int, int] = {}
        self.refused: list[str] = []
        self._sent: list[tuple[int, paho.MQTTMessageInfo]] = []
        self._next = 1
        self._is_over = threading.Event()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, "judge", protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=True
        )
        self.client.reconnect_delay_set(1, 1)
        self.client.max_queued_messages_set(0)
        self.client.on_message = self._heard
        self.client.on_connect = lambda client, *_: client.subscribe([("kept/#", 1), ("errors", 1)])
        lasting = Properties(PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 3600
        self.client.connect("127.0.0.1", port, clean_start=False, properties=lasting)
        self.client.loop_start()
        self._thread = threading.Thread(target=self._publish_all)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No new messages."""
        self._is_over.set()
        self._thread.join()

    def close(self) -> None:
        self._is_over.set()
        self.client.disconnect()
        self.client.loop_stop()

    @property
    def accepted(self) -> set[int]:
        """What the broker has acknowledged; paho does not say so of what it was given without a connection."""
        return {number for number, info in self._sent if not info.rc and info.is_published()}

    @property
    def repeated_count(self) -> int:
        """Of messages that were sent again, each of which wants an answer of its own."""
        return len(self._sent) - (self._next - 1)

    @property
    def unanswered(self) -> set[int]:
        return set(range(1, self._next)) - self.answered.keys()

    def repeat(self, number: int) -> None:
        """The same message under the same id, as a publisher does that got no answer."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = ("id", str(number))
        payload = vector(number, number % 7, 1)
        info = self.client.publish(f"keep/line/{number % 3}", payload, 1, properties=properties)
        self._sent.append((number, info))

    def _publish_all(self) -> None:
        while not self._is_over.wait(PERIOD_S):
            if self._next - len(self.answered) < UNANSWERED_COUNT_MAX:
                self.repeat(self._next)
                self._next += 1

    def _heard(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        said = json.loads(message.payload)
        if said["status"] != "ok":
            self.refused.append(str(said))
            return
        number = int(said["id"])
        self.answered[number] = self.answered.get(number, 0) + 1


class Site:
    """The node, which is started again as systemd would."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._listen = f"127.0.0.1:{free_port()}"
        self.node = self._started()

    def _started(self) -> RunningNode:
        node = RunningNode(self._file, self._listen, SYSTEM)
        node.wait_ready()
        return node

    def kill_supervisor(self) -> None:
        self.node.kill()
        self.node = self._started()

    def kill_child(self, part: str) -> None:
        """part: of its command line."""
        for pid, line in children_of(self.node.pid).items():
            if part in line:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def kill_at_random(site: Site, broker: Broker, load: Load, *, count: int, seed: int, pause_s: float) -> dict[str, int]:
    """How often each was killed: each once, then at random. What a killed broker forgot is sent again."""
    rng, counts = random.Random(seed), dict.fromkeys(("node", "host", "supervisor", "broker", "broker -9"), 0)
    each = rng.sample(list(counts), len(counts))
    for number in range(count):
        threading.Event().wait(rng.uniform(0.1, 1.0) * pause_s)
        what = each[number] if number < len(each) else rng.choice(each)
        counts[what] += 1
        if what == "node":
            site.kill_child("littoral.node.process")
        elif what == "host":
            site.kill_child("/collections/points/")
        elif what == "supervisor":
            site.kill_supervisor()
        elif what == "broker":
            broker.stop()
            broker.start()
        else:
            broker.kill()
            broker.start()
            for lost in sorted(load.unanswered):
                load.repeat(lost)
    return counts


def settle(load: Load) -> None:
    """Waits until every message is answered, as long as answers come at all.

    What a killed broker forgot, with the session of a node that was away, is sent again, as a publisher does.
    """
    moved_at, left = time.monotonic(), len(load.unanswered)
    asked_at = moved_at
    while left:
        if time.monotonic() - max(asked_at, moved_at) > PATIENCE_S:
            asked_at = time.monotonic()
            for number in sorted(load.unanswered):
                load.repeat(number)
        assert time.monotonic() - moved_at < STUCK_S, f"no answer to {left}: {sorted(load.unanswered)[:9]}"
        threading.Event().wait(0.1)
        if len(load.unanswered) != left:
            moved_at, left = time.monotonic(), len(load.unanswered)


def stored(client: NodeClient) -> dict[int, list[float]]:
    """Vector by id, of all points."""
    found: dict[int, list[float]] = {}
    offset: int | None = 0
    while offset is not None:
        page = client.collection(
            "POST", "points", "/points/scroll", {"limit": 1000, "offset": offset, "with_vector": True}
        )
        found |= {point["id"]: point["vector"] for point in page["points"]}
        offset = page["next_page_offset"]
    return found


def run_with_kills(folder: Path, *, count: int, seed: int, pause_s: float) -> dict[str, int]:
    """Kills, and holds what is in the store against what was sent."""
    with running_broker(folder / "broker") as broker:
        site = Site(write_mqtt_site(folder, broker.port, KEEP))
        load = Load(broker.port)
        try:
            load.start()
            counts = kill_at_random(site, broker, load, count=count, seed=seed, pause_s=pause_s)
            load.stop()
            settle(load)
            with contextlib.closing(site.node.client()) as client:
                points = stored(client)
        finally:
            load.close()
            site.node.stop()
    assert load.refused == []
    assert points.keys() == load.answered.keys()
    assert load.accepted <= points.keys()
    assert all(numbers == [2 * i, 2 * (i % 7), 2] for i, numbers in points.items())
    twice = sum(times - 1 for times in load.answered.values())
    print(f"{len(points)} messages, {counts}, {twice} answers came again, {load.repeated_count} of them asked for")
    assert twice <= load.repeated_count + PARALLEL * count  # those under way, when something died
    return counts
