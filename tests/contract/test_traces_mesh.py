"""One request through two nodes is one trace: real nodes with shard hosts, each telling the collector its own part."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from littoral.node.http import application
from littoral.node.node import Node
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.telemetry import Kind
from littoral.transport.fake import Network
from littoral.web import Request
from otlp_receiver import receiver
from supervised import short_folder
from waiting import until_async

TRACE, SPAN = "5bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SITE = """
[node]
name = "{name}"
listen = "127.0.0.1:0"
[mesh]
site = "shop"
peers = {{ {peer} = "127.0.0.1:1" }}
deadline_ms = 30000
[collections.points]
vectors = {{ size = 4, distance = "Euclid" }}
spread = {{ shards = 4, replicas = 1 }}
[telemetry.traces]
endpoint = "{url}"
ratio = 0
"""


class Body:
    bytes_max = 1 << 20

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data


@contextlib.asynccontextmanager
async def two_nodes(folder: Path, url: str) -> AsyncIterator[list[Node]]:
    network, nodes = Network(), []
    async with contextlib.AsyncExitStack() as opened:
        for name, peer in (("gw-1", "gw-2"), ("gw-2", "gw-1")):
            file = folder / f"{name}.toml"
            file.write_text(SITE.format(name=name, peer=peer, url=url).replace("[mesh]", f'data = "{name}"\n[mesh]'))
            site = read_site(file)
            link = await opened.enter_async_context(opened.enter_context(embedded(site.data)))
            transport = network.join(name)
            nodes.append(await opened.enter_async_context(open_node(site, link, transport=transport)))
        for node in nodes:
            federation = node.federation
            assert federation is not None
            await until_async(lambda federation=federation: not federation.lacking())
        yield nodes


@pytest.fixture
def folder() -> AsyncIterator[Path]:
    with short_folder() as found:
        yield found


async def test_a_search_over_two_nodes_is_one_trace(folder: Path) -> None:
    with receiver() as collector:
        async with two_nodes(folder, collector.url) as nodes:
            points = nodes[0].collections.get("points")
            await points.upsert(list(range(32)), [[float(i), 0, 0, 1] for i in range(32)])
            handler = application(nodes[0])
            body = Body(b'{"query": [3.0, 0, 0, 1], "limit": 3, "params": {"exact": true}}')
            headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
            answer = await handler(Request("POST", "/collections/points/points/query", "", headers, body))
            assert answer.status == 200
        names = ["POST /collections/{collection}/points/query", "ask federated-read", "answer federated-read"]
        spans = await asyncio.to_thread(collector.trace, TRACE, *names)
    root, asked, answered = (next(span for span in spans if span.name == name) for name in names)
    assert (root.node, root.parent) == ("gw-1", SPAN)
    assert (asked.node, asked.kind, asked.attributes["littoral.peer"]) == ("gw-1", Kind.CLIENT, "gw-2")
    assert (answered.node, answered.kind, answered.attributes["littoral.peer"]) == ("gw-2", Kind.SERVER, "gw-1")
    assert answered.parent == asked.id
    assert {span.node for span in spans if span.name == "shard search"} == {"gw-1", "gw-2"}
    there = [span for span in spans if span.name == "shard search" and span.node == "gw-2"]
    assert all(span.parent == answered.id for span in there)
    ids = {span.id for span in spans}
    assert all(span.parent in ids | {SPAN} for span in spans)
    assert {span.resource["service.namespace"] for span in spans} == {"shop"}
