"""Mixed load at a modest rate on a real node: memory and times must stay flat, and nothing may fail.

Pictures, searches, writes, deletes, embeddings, what pages read, scrapes, and pictures over MQTT; the number of points
stays. `python -m bench soak` takes four minutes, `python -m bench.soak MINUTES` as long as it is told: a line of JSON
by window (a minute, or a sixteenth of the time), and the rows as the last one; exit code 1 if one misses its limit.

A slope is that of the least squares over the windows, behind a warm-up of a quarter of the time, at most 15 minutes;
with what it is uncertain by (95 %, as if windows were independent). That of times is at equal load of the machine,
which stands beside time in the regression. Limits are on what of it is certain, in a soak of half an hour or more:
caches and the store's own fill until then.
"""

import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.load import Load, begin_load
from bench.mqtt_soak import Mosquitto
from bench.mqtt_soak import metrics as mqtt_metrics
from bench.observability import CPU
from bench.observability import told as metric
from bench.processes import resident_bytes
from bench.rows import Row, row
from bench.soak_site import KINDS, POINTS, pictures, points_body, requests_of, write_site
from littoral.clock import SYSTEM
from littoral.node.beside import RunningNode, running_node

__all__ = ["Slope", "run", "slope_of"]

MINUTES = 4.0
WINDOW_S_MAX, WINDOWS_MIN = 60.0, 16
WARM_UP_SHARE, WARM_UP_S_MAX = 0.25, 900.0
SAMPLE_S = 2.0
PER_S_MQTT = 1.0
MEMORY_PERCENT_MAX = 2.0
TIMES_PERCENT_MAX = 10.0
JUDGED_S_MIN = 1800.0
BATCH = 500
GREEN_S = 120.0


class Window(NamedTuple):
    """began_s: since the soak began. load: of the machine, over a minute. memory: bytes by kind of process, medians.
    p99_ms, answers: by kind of request.
    """

    began_s: float
    load: float
    memory: dict[str, float]
    p99_ms: dict[str, float]
    answers: dict[str, int]
    failed: dict[str, int]


class Slope(NamedTuple):
    """Percent of the mean an hour, and half the width of its interval."""

    percent: float
    uncertain: float

    @property
    def certain_growth(self) -> float:
        return max(0.0, self.percent - self.uncertain)


def slope_of(hours: Sequence[float], values: Sequence[float], beside: Sequence[float] = ()) -> Slope:
    """Least squares, at least four values; Student's t by the first term of Cornish and Fisher. beside: what else the
    values may depend on.
    """
    y = np.asarray(values, float)
    columns = [np.ones(len(y)), np.asarray(hours, float), *([np.asarray(beside, float)] if len(beside) else [])]
    x = np.stack(columns, axis=1)
    free = len(y) - x.shape[1]
    inverse = np.linalg.pinv(x.T @ x)
    fitted = inverse @ x.T @ y
    rest = y - x @ fitted
    normal = statistics.NormalDist().inv_cdf(0.975)
    student = normal + (normal**3 + normal) / (4 * free)
    error = student * float(np.sqrt(rest @ rest / free * inverse[1, 1]))
    return Slope(100 * float(fitted[1]) / float(y.mean()), 100 * error / float(y.mean()))


def run(minutes: float = MINUTES) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        broker = Mosquitto(folder)
        site = write_site(folder, broker.port)
        try:
            with running_node(site) as node, contextlib.closing(_Camera(broker.port)) as camera:
                return _measured(node, camera, 60 * minutes)
        finally:
            broker.stop()


def _measured(node: RunningNode, camera: "_Camera", seconds: float) -> list[Row]:
    _fill(node)
    window_s = min(WINDOW_S_MAX, seconds / WINDOWS_MIN)
    began = SYSTEM.monotonic()
    cpu = metric(node, CPU)
    windows: list[Window] = []
    while (spent := SYSTEM.monotonic() - began) < seconds - window_s / 2:
        windows.append(_window(node, camera, spent, len(windows), window_s))
        print(json.dumps(windows[-1]._asdict()), flush=True)
    spent = SYSTEM.monotonic() - began
    camera.stop()
    counts = _settled(node, camera)
    busy = (metric(node, CPU) - cpu) / spent
    warm_up_s = min(WARM_UP_S_MAX, WARM_UP_SHARE * spent)
    return [
        *_load_rows(windows, spent, busy),
        *_mqtt_rows(camera, counts),
        *_slope_rows([one for one in windows if one.began_s >= warm_up_s], is_judged=spent >= JUDGED_S_MIN),
    ]


def _fill(node: RunningNode) -> None:
    rng = np.random.default_rng(0)
    with contextlib.closing(node.client()) as client:
        for at in range(0, POINTS, BATCH):
            client.call("PUT", "/collections/points/points", points_body(rng, range(at, at + BATCH)))
        client.call("PUT", "/collections/points/index", b'{"field_name": "n", "field_schema": "integer"}')


def _window(node: RunningNode, camera: "_Camera", began_s: float, number: int, seconds: float) -> Window:
    """All kinds at once, for so long; memory is looked at meanwhile."""
    due = {kind: int(asked.per_s * seconds) + 1 for kind, asked in KINDS.items()}
    with contextlib.ExitStack() as opened:
        loads = {
            kind: opened.enter_context(
                begin_load(
                    node.address,
                    requests_of(kind, number * due[kind], seconds),
                    clients=asked.clients,
                    rate=asked.per_s,
                    seconds=seconds,
                )
            )
            for kind, asked in KINDS.items()
        }
        samples = []
        until = SYSTEM.monotonic() + seconds
        while (left_s := until - SYSTEM.monotonic()) > 0:
            samples.append(resident_bytes(node.pid))
            camera.send_due()
            time.sleep(min(SAMPLE_S, left_s))
        found = {kind: load.result() for kind, load in loads.items()}
    names = sorted({name for sample in samples for name in sample})
    return Window(
        began_s,
        os.getloadavg()[0],
        {name: statistics.median(sample.get(name, 0) for sample in samples) for name in names},
        {kind: load.at_ms(0.99) for kind, load in found.items() if load.times_ms.get(200)},
        {kind: load.answers for kind, load in found.items()},
        {kind: _failed(kind, load) for kind, load in found.items()},
    )


def _failed(kind: str, load: Load) -> int:
    if load.failed:
        print(json.dumps({"kind": kind, "statuses": load.statuses, "lost": load.lost}), flush=True)
    return load.failed


class _Camera:
    """Pictures over MQTT, once a second each, and how many answers came."""

    def __init__(self, port: int) -> None:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        self.sent = self.answers = 0
        self._pictures = pictures()
        self._began = SYSTEM.monotonic()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "camera", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._heard
        self._client.on_connect = lambda client, *_: client.subscribe("answers/#", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send_due(self) -> None:
        due = int((SYSTEM.monotonic() - self._began) * PER_S_MQTT)
        for number in range(self.sent, due):
            self._client.publish(f"cameras/{number % 4}/frame", next(self._pictures), 1)
        self.sent = max(self.sent, due)

    def stop(self) -> None:
        """Nothing more is sent."""
        self.send_due()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _heard(self, *_: object) -> None:
        self.answers += 1


def _settled(node: RunningNode, camera: _Camera) -> dict[str, float]:
    """Metrics, once all messages are answered, or for GREEN_S."""
    give_up = SYSTEM.monotonic() + GREEN_S
    while camera.answers < camera.sent and SYSTEM.monotonic() < give_up:
        time.sleep(0.1)
    return mqtt_metrics(node.url)


def _load_rows(windows: Sequence[Window], seconds: float, busy: float) -> list[Row]:
    answers = {kind: sum(one.answers[kind] for one in windows) for kind in KINDS}
    failed = sum(count for one in windows for count in one.failed.values())
    return [
        row("mixed load", seconds / 60, "min"),
        *(row(f"{kind}: answers", count, "") for kind, count in answers.items()),
        row("requests that failed", failed, "", limit=0),
        row("node's processor", 100 * busy, "% of a core"),
    ]


def _mqtt_rows(camera: _Camera, counts: dict[str, float]) -> list[Row]:
    dropped = sum(value for name, value in counts.items() if name.startswith("dropped_total"))
    return [
        row("pictures over MQTT", camera.sent, ""),
        row("of them without an answer", camera.sent - camera.answers, "", limit=0),
        row("of them dropped, and counted", dropped, "", limit=0),
    ]


def _slope_rows(windows: Sequence[Window], *, is_judged: bool) -> list[Row]:
    hours, loads = [one.began_s / 3600 for one in windows], [one.load for one in windows]
    rows = [row("load of the machine, median of windows", statistics.median(loads), "")]
    for name in sorted(set.intersection(*(set(one.memory) for one in windows))):
        slope = slope_of(hours, values := [one.memory[name] / 2**20 for one in windows])
        rows += _flat(f"memory of {name}", slope, values, "MiB", MEMORY_PERCENT_MAX if is_judged else None)
    for kind in KINDS:
        told = [one for one in windows if kind in one.p99_ms]
        if len(told) >= WINDOWS_MIN // 2:
            times_ms = [one.p99_ms[kind] for one in told]
            slope = slope_of([one.began_s / 3600 for one in told], times_ms, [one.load for one in told])
            rows += _flat(f"{kind}: p99", slope, times_ms, "ms", TIMES_PERCENT_MAX if is_judged else None)
    return rows


def _flat(what: str, slope: Slope, values: Sequence[float], unit: str, percent_max: float | None) -> list[Row]:
    return [
        row(f"{what}, median of windows", statistics.median(values), unit),
        row(f"{what}, slope", slope.percent, "% an hour"),
        row(f"{what}, slope is uncertain by", slope.uncertain, "% an hour"),
        row(f"{what}, growth that is certain", slope.certain_growth, "% an hour", limit=percent_max),
    ]


if __name__ == "__main__":
    rows = run(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES)
    print(json.dumps(rows, ensure_ascii=False))
    sys.exit(1 if any(one["ok"] is False for one in rows) else 0)
