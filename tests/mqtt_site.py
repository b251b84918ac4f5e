"""A node with MQTT routes, and a client of the broker as anybody would write it."""

import contextlib
import json
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import littoral
from onnx_models import Network

SITE = """
[node]
name = "store-12"
listen = "127.0.0.1:0"

[models.plain]
path = "plain.wasm"

[collections.points]
vectors = {{ size = 3, distance = "Euclid" }}

[pipelines.double]
steps = [{{ model = "plain" }}]

[pipelines.keep]
steps = [
  {{ model = "plain" }},
  {{ upsert = "points", payload = {{ camera = "{{1}}", topic = "{{topic}}", kind = "test" }} }},
]

[mqtt]
broker = "mqtt://127.0.0.1:{port}"
"""
WAIT_S = 60


def _as_it_is(_: Any) -> None:
    pass


def write_mqtt_site(folder: Path, port: int, lines: str) -> Path:
    """lines: of the table `mqtt` and its routes."""
    network = Network((1, 3))
    network.node("Add", "x", "x")
    littoral.compile(network.bytes(), name="plain", version="1.0.0").save(folder / "plain.wasm")
    site = folder / "site.toml"
    site.write_text(SITE.format(port=port) + lines)
    return site


def vector(*numbers: float) -> bytes:
    """A message that both pipelines take."""
    return json.dumps({"inputs": {"x": [list(numbers)]}}).encode()


class Client:
    """Publishes and listens."""

    def __init__(
        self, port: int, version: int = 5, *, client_id: str = "", set_up: Callable[[Any], object] = _as_it_is
    ) -> None:
        protocol = MQTTProtocolVersion.MQTTv5 if version == 5 else MQTTProtocolVersion.MQTTv311
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=protocol)
        self.got: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._subscribed: queue.Queue[int] = queue.Queue()
        self.paho.on_message = lambda _, __, message: self.got.put(message)
        self.paho.on_subscribe = lambda _, __, number, ___, ____: self._subscribed.put(number)
        set_up(self.paho)
        self.paho.connect("localhost", port)
        self.paho.loop_start()

    def listen(self, topic: str, qos: int = 1) -> None:
        """Returns when the broker knows."""
        self.paho.subscribe(topic, qos)
        self._subscribed.get(timeout=WAIT_S)

    def send(self, topic: str, payload: bytes, qos: int = 1, **properties: Any) -> None:
        """QoS 1: returns when the broker has it. properties: as paho calls them, `id` as a user property."""
        found = Properties(PacketTypes.PUBLISH) if properties else None
        for name, value in properties.items():
            if name == "id":
                found.UserProperty = ("id", value)
            else:
                setattr(found, name, value)
        self.paho.publish(topic, payload, qos, properties=found).wait_for_publish(WAIT_S)

    def next(self) -> tuple[str, Any, paho.MQTTMessage]:
        """Topic, JSON, and the message itself."""
        message = self.got.get(timeout=WAIT_S)
        return message.topic, json.loads(message.payload), message

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


@contextlib.contextmanager
def client_of(port: int, version: int = 5, **options: Any) -> Iterator[Client]:
    client = Client(port, version, **options)
    try:
        yield client
    finally:
        client.close()
