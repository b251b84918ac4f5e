"""Messages for a long time: 500 a second of 20 KB JPEG are offered to a route that keeps the latest of each camera, and
the broker is restarted twice. What came must be answered, dropped and counted, or known already; memory must stay flat.

`python -m bench mqtt_soak` takes two minutes, `python -m bench.mqtt_soak --minutes 30` as long as it is told.
"""

import argparse
import contextlib
import io
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.processes import pss_bytes
from bench.rows import Row, row

MINUTES = 2.0
CAMERAS = 50
PER_SECOND = 500
PAYLOAD_BYTES = 20_000
SAMPLE_S = 1.0
WARM_UP_SHARE = 0.25
GROWTH_BYTES_MAX = 8 << 20
SITE = """
[node]
name = "soak"
listen = "127.0.0.1:{http}"
[agents.decode]
path = "builtin:image"
config = {{ width = 32, height = 32, layout = "nchw", dtype = "float32" }}
instances = {{ min = 1, max = 2 }}
[models.mean]
path = "mean.wasm"
[pipelines.mean]
steps = [{{ agent = "decode" }}, {{ model = "mean" }}]
[mqtt]
broker = "mqtt://127.0.0.1:{broker}"
[[mqtt.routes]]
topic = "cameras/+/frame"
pipeline = "mean"
publish = "answers/{{1}}"
queue = {{ keep = "latest" }}
"""
BROKER = """
set_tcp_nodelay true
persistence true
persistence_location {folder}/
max_queued_messages 100000
user root
log_dest file {folder}/log.txt
allow_anonymous true
listener {port} 127.0.0.1
"""


class Mosquitto:
    """port: kept over restarts."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._file = folder / "mosquitto.conf"
        self._file.write_text(BROKER.format(folder=folder, port=self.port))
        self.start()

    def start(self) -> None:
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen([program, "-c", self._file], stderr=subprocess.DEVNULL)
        while self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)


class Publisher:
    """offered: whenever one was due; accepted: what the broker has acknowledged. Those in between are its own."""

    def __init__(self, port: int, payload: bytes) -> None:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        self.offered = self.accepted = self.sent = self.answers = 0
        self.is_over = threading.Event()
        self._payload = payload
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "publisher", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_publish = self._published
        self._client.on_message = self._heard
        self._client.on_connect = lambda client, *_: client.subscribe("answers/#")
        self._client.on_socket_open = lambda _, __, opened: opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(200)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Nothing more is sent; returns when what was sent is acknowledged."""
        self.is_over.set()
        self._thread.join()
        while self.accepted < self.sent:
            time.sleep(0.05)
        self._client.disconnect()
        self._client.loop_stop()

    def _run(self) -> None:
        began = time.perf_counter()
        while not self.is_over.wait(0.005):
            due = int((time.perf_counter() - began) * PER_SECOND)
            for number in range(self.offered, due):
                self.offered += 1
                if self.sent - self.accepted < 1000:
                    self.sent += 1
                    self._client.publish(f"cameras/{number % CAMERAS}/frame", self._payload, 1)

    def _published(self, *_: object) -> None:
        self.accepted += 1

    def _heard(self, *_: object) -> None:
        self.answers += 1


def run(minutes: float = MINUTES) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        return _measure(Path(name), minutes * 60)


def _measure(folder: Path, seconds: float) -> list[Row]:
    from littoral.node.beside import running_node

    broker, http = Mosquitto(folder), free_port()
    _write_model(folder)
    site = folder / "site.toml"
    site.write_text(SITE.format(http=http, broker=broker.port))
    with running_node(site) as node:
        publisher = Publisher(broker.port, picture())
        began = time.perf_counter()
        sizes = [pss_bytes(node.pid) for _ in _samples(seconds, broker)]
        rate = publisher.offered / (time.perf_counter() - began)
        publisher.close()
        _settle(node.url)
        counts = metrics(node.url)
    broker.stop()
    return _rows(publisher, rate, counts, sizes)


def _samples(seconds: float, broker: Mosquitto) -> Iterator[None]:
    """One a second; at a third and at two thirds the broker is restarted."""
    began, restarts = time.perf_counter(), [1 / 3, 2 / 3]
    while (spent := time.perf_counter() - began) < seconds:
        if restarts and spent > restarts[0] * seconds:
            restarts.pop(0)
            broker.stop()
            broker.start()
        time.sleep(SAMPLE_S)
        yield


def _rows(publisher: Publisher, rate: float, counts: dict[str, float], sizes: list[int]) -> list[Row]:
    dropped = sum(value for name, value in counts.items() if name.startswith("dropped_total"))
    came, answered, again = (counts[f'{name}_total{{route="mean"}}'] for name in ("messages", "answered", "again"))
    steady = sizes[int(len(sizes) * WARM_UP_SHARE) :]
    half = len(steady) // 2
    growth = statistics.median(steady[half:]) - statistics.median(steady[:half])
    return [
        row("offered", rate, "1/s"),
        row("accepted by the broker", publisher.accepted, "messages"),
        row("answered", answered, "messages"),
        row("superseded or dropped otherwise, all counted", dropped, "messages"),
        row("came again and known", again, "messages"),
        row("accepted, and never seen by the node", max(0.0, publisher.accepted - (came - again)), "messages", limit=0),
        row("seen, and neither answered, counted nor known", came - answered - dropped - again, "messages", limit=0),
        row("broker restarts survived", counts['connections_total{route="mean"}'] - 1, "connections"),
        row("memory of all processes of the node, median (PSS)", statistics.median(steady) / 2**20, "MiB"),
        row("growth, second half against first", max(0.0, growth) / 2**20, "MiB", limit=GROWTH_BYTES_MAX / 2**20),
    ]


def _settle(url: str) -> None:
    """Until nothing waits and nothing more comes."""
    before = None
    while True:
        now = metrics(url)
        idle = not now['waiting{route="mean"}'] and not now['busy{route="mean"}']
        if idle and now == before:
            return
        before = now
        time.sleep(1)


def metrics(url: str) -> dict[str, float]:
    """Those of MQTT."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    rows = (line.rpartition(" ") for line in lines if line.startswith("littoral_mqtt_"))
    return {name.removeprefix("littoral_mqtt_"): float(value) for name, _, value in rows}


def picture() -> bytes:
    """A JPEG of about 20 KB."""
    from PIL import Image

    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (60, 80, 3), np.uint8)
    image = Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)
    for quality in range(95, 5, -5):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        if out.tell() <= PAYLOAD_BYTES:
            break
    return out.getvalue()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_model(folder: Path) -> None:
    from onnx import TensorProto, helper

    import littoral

    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["mean"])]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])
    gives = helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "mean", [given], [gives])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    littoral.compile(model.SerializeToString(), name="mean").save(folder / "mean.wasm")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    for found in run(parser.parse_args().minutes):
        print(f"{found['key']}: {found['value']} {found['unit']}{'' if found['ok'] is not False else '  MISSED'}")
