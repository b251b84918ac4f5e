"""A real node in the test's own event loop: real agent, compiled model, shard host, server; nothing is stood in for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from onnx import helper

import littoral
from littoral.clock import SYSTEM
from littoral.node.http import application
from littoral.node.node import Node
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.web import Limits, serving
from onnx_models import Network

SIDE = 32
SIZE = 24
CLASSES = 12
LABELS = [f"kind {i}" for i in range(CLASSES)]

SITE = """
[node]
name = "store-12"
listen = "127.0.0.1:0"

[models.embedder]
path = "embedder.wasm"

[models.plain]
path = "plain.wasm"

[agents.decode]
path = "builtin:image"
config = { width = 32, height = 32, layout = "nchw", dtype = "float32" }

[collections.frames]
vectors = { size = 24, distance = "Cosine" }

[pipelines.similar]
steps = [
  { agent = "decode" },
  { model = "embedder", take = "embedding" },
  { step = "normalize" },
  { search = "frames", limit = 5, with_payload = true },
]

[pipelines.embed]
steps = [{ agent = "decode" }, { model = "embedder", take = "embedding" }, { step = "normalize" }]

[pipelines.classify]
steps = [{ agent = "decode" }, { model = "embedder", take = "logits" }, { step = "softmax" }, { step = "top_k" }]

[pipelines.double]
steps = [{ model = "plain" }]
"""


class Served(NamedTuple):
    node: Node
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"


def write_site(folder: Path, text: str = SITE) -> Path:
    """The site file with its two models, compiled."""
    network = Network((1, 3, SIDE, SIDE))
    network.conv(8, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    network.clip()
    network.conv(SIZE, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    network.node("GlobalAveragePool", network.at)
    network.node("Flatten", network.at, axis=1)
    network.nodes.append(helper.make_node("Identity", [network.at], ["embedding"], name="embedding"))
    network.nodes.append(helper.make_node("Identity", [network.dense(CLASSES)], ["logits"], name="logits"))
    network.at = "logits"
    model = littoral.compile(network.bytes("embedding"), name="embedder", version="1.0.0", labels=LABELS)
    model.save(folder / "embedder.wasm")
    plain = Network((1, 3))
    plain.node("Add", "x", "x")
    littoral.compile(plain.bytes(), name="plain", version="1.0.0").save(folder / "plain.wasm")
    site = folder / "site.toml"
    site.write_text(text)
    return site


@contextlib.asynccontextmanager
async def served_node(
    folder: Path, *, site: Path | None = None, limits: Limits | None = None, port: int = 0
) -> AsyncIterator[Served]:
    """A node that is ready; `folder` must have a short path, for the sake of sockets."""
    described = read_site(site or write_site(folder))
    with embedded(described.data) as link:
        async with (
            link,
            open_node(described, link, clock=SYSTEM) as node,
            serving(application(node), host="127.0.0.1", port=port, limits=limits) as server,
        ):
            node.listen = server.address
            node.is_ready = True
            yield Served(node, server.address)
            node.is_ready = False


@contextlib.contextmanager
def node_in_thread(
    folder: Path, *, site: Path | None = None, limits: Limits | None = None, port: int = 0
) -> Iterator[Served]:
    """As `served_node`, in an event loop of its own, for tests that block."""
    found: Future[Served] = Future()

    async def serve() -> None:
        stopped = asyncio.Event()
        try:
            async with served_node(folder, site=site, limits=limits, port=port) as served:
                stop.append(partial(asyncio.get_running_loop().call_soon_threadsafe, stopped.set))
                found.set_result(served)
                await stopped.wait()
        except BaseException as error:
            if found.done():
                raise
            found.set_exception(error)

    stop: list[Callable[[], object]] = []
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, serve())
        try:
            yield found.result(60)
        finally:
            for end in stop:
                end()
            running.result(60)
