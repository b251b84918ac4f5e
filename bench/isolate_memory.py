"""An isolate's memory under pictures of mixed sizes and kinds, damaged ones among them, two requests at once.

`python -m bench isolate_memory` takes a minute, `python -m bench.isolate_memory --minutes 30` as long as it is told.
What a platform bounds is the isolate's own: V8's heap, buffers, memories of the guests. The process has more: compiled
code, what its compilers leave to the allocator, the modules' files.
"""

import argparse
import http.client
import io
import json
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageFile

from bench.image_agent import picture
from bench.inspector import asked
from bench.isolated import PACKAGES, Isolate, compiled, in_workerd, installed, workerd_of
from bench.main_job import Quiet
from bench.networks import DEMO
from bench.rows import Row, row
from littoral.bundle.plan import Options
from littoral.bundle.recipe import read_recipe
from littoral.bundle.texts import filled
from littoral.bundle.workers import plan_workers
from littoral.bundle.writing import write
from littoral.demo.run import Options as DemoOptions
from littoral.demo.run import demo
from littoral.node.beside import running_node
from littoral.node.site import read_site

__all__ = ["Sample", "damaged", "empty_mb", "mixed", "run", "sampled"]

ISOLATES = Path(".cache/isolates").resolve()
MINUTES, SAMPLES = 1.0, 180
CLIENTS = 2
RATE_S = 12.0  # requests of all clients in a second
SIDES = (64, 1024)
MEMORY_MB_MAX, GROWN_MAX = 64, 1.03
REFUSED = {413, 415, 422}
CACHES = ("no-store", "no-cache", "max-age=60")


def mixed(count: int) -> list[bytes]:
    """JPEG and PNG of all kinds that a pipeline takes, the largest of each among them."""
    ImageFile.MAXBLOCK = 1 << 24  # progressive files of noise are longer than Pillow expects
    rng, base = random.Random(0), picture(SIDES[1], SIDES[1])
    noise = Image.effect_noise(base.size, 200).convert("RGB")
    kinds: list[tuple[str, Mapping[str, object]]] = [
        ("RGB", {"format": "JPEG", "quality": 85}),
        ("RGB", {"format": "JPEG", "quality": 90, "progressive": True}),
        ("RGB", {"format": "JPEG", "quality": 95, "progressive": True, "subsampling": 0}),
        ("L", {"format": "JPEG", "quality": 80}),
        *((mode, {"format": "PNG", "compress_level": 1}) for mode in ("RGB", "L", "RGBA", "P")),
    ]
    largest = [_saved(image, mode, told) for image in (base, noise) for mode, told in kinds]
    cut = (base.crop((0, 0, rng.randint(*SIDES), rng.randint(*SIDES))) for _ in range(count - len(largest)))
    return largest + [_saved(image, *kinds[i % len(kinds)]) for i, image in enumerate(cut)]


def _saved(image: Image.Image, mode: str, told: Mapping[str, object]) -> bytes:
    file = io.BytesIO()
    image.convert(mode).save(file, **told)  # type: ignore[arg-type]
    return file.getvalue()


def damaged(pictures: Sequence[bytes]) -> list[bytes]:
    """Of each picture one that is cut off or overwritten, and some that are none."""
    cut = [data[: len(data) // 2] for data in pictures]
    over = [data[:300] + bytes(64) + data[364:] for data in pictures]
    return [*cut, *over, b"GIF89a" + bytes(99), bytes(5 << 20)]


class Sample(NamedTuple):
    """In MB. own: heap, buffers and guests. process: what of the process is in no file."""

    heap: float
    buffers: float
    guests: float
    process: float

    @property
    def own(self) -> float:
        return self.heap + self.buffers + self.guests

    def told(self) -> str:
        parts = f"heap {self.heap:.1f}, buffers {self.buffers:.1f}, guests {self.guests:.1f}"
        return f"{self.own:.1f} MB ({parts}), process {self.process:.1f} MB"


def sampled(worker: Isolate) -> Sample:
    told = asked(worker.inspector, "Runtime.getHeapUsage")
    heap = told["totalSize"] + told["embedderHeapUsedSize"]
    guests = next(line for line in _metrics(worker).splitlines() if line.startswith("memory_bytes "))
    heap_mb, buffers_mb, guests_mb = (
        part / 1e6 for part in (heap, told["backingStorageSize"], float(guests.split()[1]))
    )
    return Sample(heap_mb, buffers_mb, guests_mb, anonymous_mb(worker.pid))


def _metrics(worker: Isolate) -> str:
    connection = http.client.HTTPConnection(worker.address)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def anonymous_mb(pid: int) -> float:
    """Of a process, without the pages of its own files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024 / 1e6


def empty_mb(workerd: Path) -> float:
    """Of workerd, whose worker does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        nothing = {"bindings": '(name = "NOTHING", text = "")', "modules": '(name = "none", text = "")'}
        Path(folder, "workerd.capnp").write_bytes(filled("workerd.capnp", **nothing))
        Path(folder, "worker.mjs").write_text("export default { fetch: () => new Response() };")
        with in_workerd(workerd, Path(folder)) as worker:
            for _ in range(150):
                connection = http.client.HTTPConnection(worker.address)
                connection.request("POST", "/", b"")
                connection.getresponse().read()
                connection.close()
            return anonymous_mb(worker.pid)


class Load:
    """Clients that ask at a rate, each over one connection that stays. statuses: of all answers."""

    def __init__(self, address: str, seconds: float) -> None:
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self._address, self._ends_s = address, time.perf_counter() + seconds
        good = mixed(60)
        self._good, self._bad = good, damaged(good[::5])
        self._threads = [threading.Thread(target=self._ask, args=[seed]) for seed in range(CLIENTS)]

    @property
    def is_over(self) -> bool:
        return time.perf_counter() > self._ends_s

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends_s = 0
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        rng, connection = random.Random(seed), http.client.HTTPConnection(self._address)
        while not self.is_over:
            began_s = time.perf_counter()
            is_bad = rng.random() < 0.2
            data = rng.choice(self._bad if is_bad else self._good)
            headers = {"content-type": "application/octet-stream", "cache-control": rng.choice(CACHES)}
            connection.request("POST", rng.choice(("/embed", "/similarity")), data, headers)
            answer = connection.getresponse()
            said = answer.read()
            self.statuses[answer.status] += 1
            if answer.status not in (REFUSED | {200} if is_bad else {200}):
                self.failures.append(f"{answer.status}: {said[:200]!r}")
            time.sleep(max(0.0, CLIENTS / RATE_S - (time.perf_counter() - began_s)))


def run(minutes: float = MINUTES) -> list[Row]:
    if shutil.which("npm") is None:
        print("isolate_memory: not run, it needs npm", file=sys.stderr)
        return []
    workerd = workerd_of(installed(PACKAGES, ISOLATES))
    site = DEMO / "site.toml"
    if not site.exists():
        with demo(DemoOptions(DEMO, "127.0.0.1:0"), Quiet()):
            print("isolate_memory: the demo's node is there", file=sys.stderr)
    with running_node(site, listen="127.0.0.1:0") as node, tempfile.TemporaryDirectory() as name:
        recipe, folder = read_recipe(read_site(site), "similar"), Path(name, "bundle")
        write(dict(plan_workers(recipe, Options()).files), folder)
        bindings = {"ENDPOINTS": json.dumps([{"url": node.url}])}
        config = compiled(workerd, folder)
        with in_workerd(workerd, folder, bindings, config, is_inspected=True) as worker:
            samples, statuses = loaded(worker, 60 * minutes)
    return rows(samples, statuses, minutes, empty_mb(workerd))


def loaded(worker: Isolate, seconds: float) -> tuple[list[Sample], Counter[int]]:
    """Samples in equal distances, and the answers by status. Raises RuntimeError for an answer of another kind."""
    samples = []
    with Load(worker.address, seconds) as load:
        while not load.is_over:
            time.sleep(seconds / SAMPLES)
            samples.append(sampled(worker))
            print(f"isolate_memory: {samples[-1].told()}, {dict(load.statuses)}", file=sys.stderr)
    if load.failures:
        raise RuntimeError(f"{len(load.failures)} wrong answers, such as {load.failures[0]}")
    return samples, load.statuses


def rows(samples: Sequence[Sample], statuses: Mapping[int, int], minutes: float, empty: float) -> list[Row]:
    third = len(samples) // 3
    own, process = [sample.own for sample in samples], [sample.process - empty for sample in samples]

    def grown(values: Sequence[float]) -> float:
        return statistics.mean(values[2 * third :]) / statistics.mean(values[third : 2 * third])

    refused = sum(count for status, count in statuses.items() if status != 200)
    last = Sample(*(statistics.mean(values) for values in zip(*samples[2 * third :], strict=True)))
    return [
        row(f"isolate, {minutes:g} min of mixed pictures: largest", max(own), "MB", limit=MEMORY_MB_MAX),
        row("last third beside the middle one", grown(own), "×", limit=GROWN_MAX),
        row("last third: guests", last.guests, "MB"),
        row("last third: heap", last.heap, "MB"),
        row("last third: buffers", last.buffers, "MB"),
        row("process, over one with an empty worker: largest", max(process), "MB"),
        row("process, last third beside the middle one", grown(process), "×", limit=GROWN_MAX),
        row("an empty worker's process", empty, "MB"),
        row("requests", sum(statuses.values()), "requests"),
        row("of them refused", refused, "requests"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.isolate_memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    for found in run(parser.parse_args().minutes):
        print(found)
