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
from littoral.node.mqtt.service import mqtt_routes
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.oip import Inference, grpc_interface
from littoral.node.opened_access import open_access, open_certificates
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.web import Limits, serving
from onnx_models import Network

SIDE = 32
THUMB = 8
SIZE = 3 * THUMB * THUMB
CLASSES = 2000
LABELS = [f"kind {i}" for i in range(CLASSES)]

SITE = """
[node]
name = "store-12"
listen = "127.0.0.1:0"

[models.embedder]
path = "embedder.wasm"

[agents.decode]
path = "builtin:image"
config = { width = 32, height = 32, layout = "nchw", dtype = "float32" }

[collections.frames]
vectors = { size = 192, distance = "Cosine" }

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
"""
DOUBLE = """
[models.plain]
path = "plain.wasm"
batch = { max = 4 }

[pipelines.double]
steps = [{ model = "plain" }]
"""


class Served(NamedTuple):
    """grpc: address of the gRPC interface, '' without one."""

    node: Node
    address: str
    grpc: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.address}"


def write_site(folder: Path, text: str = SITE + DOUBLE) -> Path:
    """The site file with its models, compiled. The embedding is a thumbnail of 8 × 8 without its mean."""
    network = Network((1, 3, SIDE, SIDE))
    network.node("AveragePool", network.at, kernel_shape=[SIDE // THUMB] * 2, strides=[SIDE // THUMB] * 2)
    pixels = network.node("Flatten", network.at)
    mean = network.node("ReduceMean", pixels, axes=[1], keepdims=1)
    network.nodes.append(helper.make_node("Sub", [pixels, mean], ["embedding"], name="embedding"))
    network.at, network.channels = "embedding", SIZE
    network.nodes.append(helper.make_node("Identity", [network.dense(CLASSES)], ["logits"], name="logits"))
    network.at = "logits"
    model = littoral.compile(network.bytes("embedding"), name="embedder", version="1.0.0", labels=LABELS)
    model.save(folder / "embedder.wasm")
    plain = Network((-1, 3))
    plain.node("Add", "x", "x")
    sizes = [{"x": (batch, 3)} for batch in (1, 4)]
    littoral.compile(plain.bytes(), name="plain", version="1.0.0", variants=sizes).save(folder / "plain.wasm")
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
        async with link, open_node(described, link, clock=SYSTEM) as node:
            observed = Observed(node)
            inference = Inference(node, observed)
            access, certificates = open_access(described, SYSTEM, node.tenants), open_certificates(described, SYSTEM)
            handler = application(node, observed, inference, access, is_secure=certificates is not None)
            async with (
                serving(handler, host="127.0.0.1", port=port, limits=limits, certificates=certificates) as server,
                grpc_interface(described, inference, print, access) as grpc,
                mqtt_routes(described, node, observed),
            ):
                observed.served_by(server, grpc)
                node.tell_ready(is_ready=True, listen=server.address)
                yield Served(node, server.address, "" if grpc is None else grpc.address)
                node.tell_ready(is_ready=False)


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
            yield found.result(120)
        finally:
            for end in stop:
                end()
            running.result(120)
