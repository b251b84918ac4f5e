"""A pipeline beside the node that it was taken from, requests to it, and those that it must refuse."""

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench import isolated
from bench.isolated import Isolate, workerd_of

from isolates import isolates
from littoral import settings
from littoral.bundle.plan import Options
from littoral.bundle.recipe import read_recipe
from littoral.bundle.workers import plan_workers
from littoral.bundle.writing import write
from littoral.node.site import read_site
from node_fixture import Served, node_in_thread
from page_pictures import page_pictures
from pictures import chunk, natural, png, saved
from raw_http import Reply, request, send, send_json
from supervised import short_folder

__all__ = [
    "ANEW", "OCTETS", "PICTURES", "TYPE", "Both", "bundled", "endpoints", "header_of_png", "hostile", "how",
    "in_workerd", "metric", "of_node", "post", "vector",
]  # fmt: skip

TYPE = {"Content-Type": "image/jpeg"}
ANEW = {"Cache-Control": "no-store"}
OCTETS = {"Accept": "application/octet-stream"}
PICTURES = [shown.data for shown in page_pictures()]


PATIENT = {"HEDGE_MS": "30000", "DEADLINE_MS": "60000", "BODY_DEADLINE_MS": "120000"}
"""For tests of something else: on a slow machine nothing is asked twice, and nothing given up."""


def in_workerd(
    workerd: Path, folder: Path, bindings: Mapping[str, str] | None = None, *arguments: str, **options: bool
) -> AbstractContextManager[Isolate]:
    """As `bench.isolated.in_workerd`, and patient unless the bindings say otherwise."""
    return isolated.in_workerd(workerd, folder, PATIENT | dict(bindings or {}), *arguments, **options)


class Both(NamedTuple):
    """workerd: the program. bundle: what it serves."""

    node: Served
    worker: Isolate
    workerd: Path
    bundle: Path


@contextmanager
def bundled() -> Iterator[Both]:
    """A node, its pipeline `similar` in workerd, and the pictures of `PICTURES` in both."""
    workerd = workerd_of(isolates())
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder) as served,
    ):
        bundle = folder / "bundle"
        recipe = read_recipe(read_site(folder / "site.toml"), "similar")
        write(dict(plan_workers(recipe, Options()).files), bundle)
        found = [{"id": i, "vector": of_node(served, data).tolist()} for i, data in enumerate(PICTURES)]
        assert send_json(served.address, "PUT", "/collections/frames/points", {"points": found}).status == 200
        with in_workerd(workerd, bundle, {"ENDPOINTS": endpoints(served.url)}) as worker:
            yield Both(served, worker, workerd, bundle)


def endpoints(*urls: str) -> str:
    return json.dumps([{"url": url} for url in urls])


def of_node(served: Served, data: bytes) -> Any:
    reply = send(served.address, "POST", "/pipelines/embed", data, {"Accept": "application/x-safetensors"})
    return np.frombuffer(reply.body[8 + struct.unpack("<Q", reply.body[:8])[0] :], np.float32)


def post(worker: Isolate, path: str, data: bytes, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(worker.address, "POST", path, data, TYPE | named)


def vector(worker: Isolate, data: bytes) -> Any:
    reply = send(worker.address, "POST", "/embed", data, TYPE | ANEW | OCTETS)
    assert reply.status == 200, reply.body
    return np.frombuffer(reply.body, np.float32)


def how(reply: Reply) -> Any:
    return json.loads(reply.headers["littoral-how"])


def metric(worker: Isolate, line: str) -> float:
    text = send(worker.address, "GET", "/metrics").body.decode()
    return next((float(found.rpartition(" ")[2]) for found in text.splitlines() if found.startswith(line)), 0)


def header_of_png(width: int, height: int) -> bytes:
    """No pixel behind it."""
    head = struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def hostile() -> Iterator[tuple[bytes, set[int]]]:
    """Requests, and the statuses that they may have."""
    jpeg, picture = PICTURES[0], png(natural(40, 40))
    for length in (1, 2, 3, 4, 12, 20, 160, 300, 620, 1000, 2000, len(jpeg) // 2, len(jpeg) - 2):
        yield request("POST", "/embed", jpeg[:length], TYPE), {415, 422}
    for length in (1, 7, 8, 16, 24, 32, 33, 40, 60, 100, len(picture) // 2, len(picture) - 12):
        yield request("POST", "/embed", picture[:length], TYPE), {415, 422}
    for sides in ((10_000, 10_000), (2**31 - 1, 2**31 - 1), (1025, 1), (1, 1025), (65_535, 65_535), (2**32 - 1, 1)):
        yield request("POST", "/embed", header_of_png(*sides), TYPE), {413}
    yield request("POST", "/embed", header_of_png(0, 10), TYPE), {422}
    yield request("POST", "/embed", header_of_png(1024, 1024), TYPE), {422}
    start = jpeg.index(b"\xff\xc0")
    for height, width in ((0, 8), (65_535, 65_535), (8, 0), (2000, 2)):
        sized = jpeg[: start + 5] + struct.pack(">HH", height, width) + jpeg[start + 9 :]
        yield request("POST", "/embed", sized, TYPE), {413, 422}
    for at in range(20, 620, 60):
        yield request("POST", "/embed", jpeg[:at] + bytes(16) + jpeg[at + 16 :], TYPE), {200, 413, 415, 422}
    for data in (
        b"",
        bytes(5000),
        b"GIF89a" + bytes(99),
        b"RIFF0000WEBP",
        b"<svg/>",
        b"\xff\xd8\xff" * 9,
        saved(natural(9, 9).convert("CMYK"), "JPEG"),
    ):
        yield request("POST", "/similarity", data, TYPE), {400, 415, 422}
    for kind in ("", "text/plain", "multipart/form-data; boundary=x", "application/json", "image/webp"):
        yield request("POST", "/embed", jpeg, {"Content-Type": kind}), {415}
    yield request("POST", "/embed", jpeg, TYPE | {"Content-Encoding": "gzip"}), {415}
    yield request("POST", "/embed", bytes(5 << 20), TYPE), {413}
    yield request("POST", "/embed", b"5\r\nhello\r\n0\r\n\r\n", TYPE | {"Transfer-Encoding": "chunked"}), {415}
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        yield request(method, "/similarity", b"", TYPE), {405}
    for path in ("/", "/nothing", "/similarity/", "/__proto__", "/constructor", "/collections/frames/points/query"):
        yield request("POST", path, jpeg, TYPE), {404}
