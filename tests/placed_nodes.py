"""Nodes of one process that run steps for each other: real models and pools, a network that can be made to fail."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from littoral.node.node import Node
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.transport import Transport
from littoral.transport.fake import Network
from site_folder import site_in

SITE = """
[node]
name = "{name}"
listen = "127.0.0.1:0"
data = "data"

[mesh]
site = "shop"
peers = {{ {peers} }}
{mesh}
[placement]
{placement}
[models.embedder]
path = "embedder.wasm"
instances = {{ min = 1, max = 2 }}

[agents.decode]
path = "builtin:image"
config = {{ width = 32, height = 32 }}
memory_mb = 64
deadline_ms = 5000

[collections.frames]
vectors = {{ size = 5, distance = "Cosine" }}

[pipelines.similar]
steps = [
  {{ agent = "decode" }},
  {{ model = "embedder", {step} }},
  {{ step = "normalize" }},
  {{ search = "frames", limit = 3 }},
]

[pipelines.embed]
steps = [{{ agent = "decode" }}, {{ model = "embedder" }}, {{ step = "normalize" }}]
{more}
"""


def placed_site(
    name: str,
    names: Sequence[str],
    *,
    step: str = 'place = "auto"',
    placement: str = "",
    mesh: str = "",
    more: str = "",
) -> str:
    """The site file of one of them."""
    peers = ", ".join(f'{other} = "127.0.0.1:1"' for other in names if other != name)
    return SITE.format(name=name, peers=peers, step=step, placement=placement, mesh=mesh, more=more)


@contextlib.asynccontextmanager
async def placed_nodes(
    folder: Path,
    sites: Mapping[str, str],
    *,
    network: Network | None = None,
    transports: Mapping[str, Transport] | None = None,
) -> AsyncIterator[dict[str, Node]]:
    """sites: texts of site files by name. All know what the others could run. transports: in place of the network's."""
    network = network or Network()
    async with contextlib.AsyncExitStack() as opened:
        nodes = {}
        for name, text in sites.items():
            (folder / name).mkdir()
            site = site_in(folder / name, text)
            link = await opened.enter_async_context(opened.enter_context(embedded(site.data)))
            transport = (transports or {}).get(name) or network.join(name)
            nodes[name] = await opened.enter_async_context(open_node(site, link, transport=transport))
        for node in nodes.values():
            await informed(node)
        yield nodes


async def informed(node: Node) -> None:
    """It has just been told the loads of the others."""
    if node.placement is not None:
        await node.placement.asker.informed()
