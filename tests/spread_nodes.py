"""Several nodes of one process with real shard hosts, whose collections are spread over them."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from littoral.clock import SYSTEM
from littoral.mesh.identity.admission import Admission, GuardedTransport
from littoral.mesh.identity.identity import Identity
from littoral.node.federation.federation import Federation
from littoral.node.federation.signed_site import SignedSite
from littoral.node.mesh_tables import MeshTable, SpreadTable
from littoral.node.site_tables import CollectionTable, VectorTable
from littoral.node.supervisor import embedded
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.records import Distance
from nodes_in_process import Wires
from waiting import until_async

if TYPE_CHECKING:
    from littoral.transport import Transport


class SpreadNode:
    """One of them: its federation, and its collections as its HTTP interface sees them."""

    def __init__(self, federation: Federation, collections: Collections) -> None:
        self.federation = federation
        self.collections = collections

    def __getitem__(self, name: str) -> Collection:
        return self.collections.get(name)


def spread_table(size: int, distance: Distance = "Euclid", **spread: object) -> CollectionTable:
    return CollectionTable(vectors=VectorTable(size=size, distance=distance), spread=SpreadTable(**spread))  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def spread_nodes(
    folder: Path,
    names: Sequence[str],
    tables: Mapping[str, CollectionTable],
    *,
    wires: Wires | None = None,
    deadline_ms: int = 1000,
    own_tables: Mapping[str, Mapping[str, CollectionTable]] | None = None,
    samples: Mapping[str, Path] | None = None,
    regions: Mapping[str, str] | None = None,
    mesh_options: Mapping[str, Any] | None = None,
    identities: Mapping[str, Identity] | None = None,
) -> AsyncIterator[dict[str, SpreadNode]]:
    """All know where the shards lie, and hold them. own_tables: of nodes whose site file is another.

    regions: of the nodes. mesh_options: more of the table `mesh`. identities: of the nodes, if they have any.
    """
    wires = wires or Wires()
    nodes: dict[str, SpreadNode] = {}
    async with contextlib.AsyncExitStack() as opened:
        for name in names:
            data = folder / name
            link = await opened.enter_async_context(opened.enter_context(embedded(data)))
            collections = await Collections.open(data, link)
            opened.push_async_callback(collections.close)
            peers = {other: "127.0.0.1:1" for other in names if other != name}
            of = regions or {}
            others = {other: of[other] for other in peers if other in of}
            more = {"region": of.get(name, ""), "regions": others} | dict(mesh_options or {})
            mesh = MeshTable(site="shop", peers=peers, deadline_ms=deadline_ms, **more)
            own = (own_tables or {}).get(name, tables)
            transport: Transport = wires.end(name)
            identity = (identities or {}).get(name)
            if identity is not None:
                transport = GuardedTransport(transport, Admission(identity))
            federation = Federation(
                mesh,
                own,
                collections,
                transport,
                data,
                clock=SYSTEM,
                say=print,
                samples=samples,
                signed=None if identity is None else SignedSite(identity),
            )
            opened.push_async_callback(federation.close)
            await federation.open()
            nodes[name] = SpreadNode(federation, collections)
        await settled(nodes)
        yield nodes


async def settled(nodes: Mapping[str, SpreadNode]) -> None:
    """All know where shards lie, and hold theirs."""
    for node in nodes.values():
        await until_async(lambda node=node: not node.federation.lacking())
