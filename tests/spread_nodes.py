"""Several nodes of one process with real shard hosts, whose collections are spread over them."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from littoral.clock import SYSTEM
from littoral.mesh.identity.admission import Admission, GuardedTransport
from littoral.mesh.identity.identity import Identity
from littoral.node.federation.federation import Federation
from littoral.node.federation.moving.wishes import Plan
from littoral.node.federation.signed_site import SignedSite
from littoral.node.mesh_tables import MeshTable, SpreadTable
from littoral.node.site_tables import CollectionTable, VectorTable
from littoral.node.supervisor import embedded
from littoral.vault import KeyRing
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.records import Distance
from nodes_in_process import Wires
from waiting import until_async

if TYPE_CHECKING:
    from littoral.transport import Transport

PATIENT_MS = 20_000
"""Every node answers within that, however busy the machine is."""


class Ends(Protocol):
    """A network: each node's end of it."""

    def end(self, name: str) -> "Transport": ...


class SpreadNode:
    """One of them: its federation, and its collections as its HTTP interface sees them."""

    def __init__(self, federation: Federation, collections: Collections) -> None:
        self.federation = federation
        self.collections = collections

    def __getitem__(self, name: str) -> Collection:
        return self.collections.get(name)


def spread_table(size: int, distance: Distance = "Euclid", **spread: object) -> CollectionTable:
    return CollectionTable(vectors=VectorTable(size=size, distance=distance), spread=SpreadTable(**spread))  # type: ignore[arg-type]


def named_table(vectors: Mapping[str, VectorTable], sparse: Sequence[str] = (), **spread: object) -> CollectionTable:
    return CollectionTable(named=dict(vectors), sparse=list(sparse), spread=SpreadTable(**spread))  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def spread_nodes(
    folder: Path,
    names: Sequence[str],
    tables: Mapping[str, CollectionTable],
    *,
    wires: Ends | None = None,
    deadline_ms: int = PATIENT_MS,
    own_tables: Mapping[str, Mapping[str, CollectionTable]] | None = None,
    samples: Mapping[str, Path] | None = None,
    regions: Mapping[str, str] | None = None,
    mesh_options: Mapping[str, Any] | None = None,
    identities: Mapping[str, Identity] | None = None,
    keys: KeyRing | None = None,
    site_keys: Mapping[str, KeyRing] | None = None,
) -> AsyncIterator[dict[str, SpreadNode]]:
    """All know where the shards lie, and hold them. own_tables: of nodes whose site file is another.

    regions: of the nodes. mesh_options: more of the table `mesh`. identities: of the nodes, if they have any. keys:
    that seal their journals. site_keys: by node, that seal fields.
    """
    wires = wires or Wires()
    nodes: dict[str, SpreadNode] = {}
    async with contextlib.AsyncExitStack() as opened:
        for name in names:
            of = regions or {}
            others = {other: of[other] for other in names if other != name and other in of}
            more = {"region": of.get(name, ""), "regions": others} | dict(mesh_options or {})
            node = spread_node(
                folder,
                name,
                names,
                (own_tables or {}).get(name, tables),
                wires,
                deadline_ms=deadline_ms,
                samples=samples,
                mesh_options=more,
                identity=(identities or {}).get(name),
                keys=keys,
                site_keys=(site_keys or {}).get(name),
            )
            nodes[name] = await opened.enter_async_context(node)
        await settled(nodes)
        yield nodes


@contextlib.asynccontextmanager
async def spread_node(
    folder: Path,
    name: str,
    names: Sequence[str],
    tables: Mapping[str, CollectionTable],
    wires: Ends,
    *,
    deadline_ms: int = PATIENT_MS,
    samples: Mapping[str, Path] | None = None,
    mesh_options: Mapping[str, Any] | None = None,
    identity: Identity | None = None,
    keys: KeyRing | None = None,
    site_keys: KeyRing | None = None,
) -> AsyncIterator[SpreadNode]:
    """One of them, which may come and go; what it keeps lies in a folder of its name."""
    data = folder / name
    async with contextlib.AsyncExitStack() as opened:
        link = await opened.enter_async_context(opened.enter_context(embedded(data)))
        collections = await Collections.open(data, link)
        opened.push_async_callback(collections.close)
        peers = {other: "127.0.0.1:1" for other in names if other != name}
        mesh = MeshTable(site="shop", peers=peers, deadline_ms=deadline_ms, **(mesh_options or {}))
        transport: Transport = wires.end(name)
        if identity is not None:
            transport = GuardedTransport(transport, Admission(identity))
        federation = Federation(
            mesh,
            tables,
            collections,
            transport,
            data,
            clock=SYSTEM,
            say=print,
            samples=samples,
            signed=None if identity is None else SignedSite(identity),
            keys=keys,
            site_keys=site_keys,
        )
        opened.push_async_callback(federation.close)
        await federation.open()
        yield SpreadNode(federation, collections)


async def settled(nodes: Mapping[str, SpreadNode]) -> None:
    """All know where shards lie, and hold theirs."""
    for node in nodes.values():
        await until_async(lambda node=node: not node.federation.lacking())


def are_alike(nodes: Mapping[str, SpreadNode]) -> bool:
    """Whether every replica has what the others have written, and its shard too."""
    replicas = [node.federation.replicas for node in nodes.values()]
    lacking = [one.of(name).state().unapplied_count for one in replicas for name in one.names()]
    return not any(lacking) and not any(lag.entry_count for one in replicas for lag in one.lags())


def has_arrived(nodes: Mapping[str, SpreadNode], plan: Plan) -> bool:
    """Whether collection `points` lies as planned on all nodes, and nowhere else."""
    return all(
        (spread := node.federation.map.spreads["points"]).change is None
        and plan.coming.keys() <= spread.places.keys()
        and not node.federation.moving.left_shards()
        for node in nodes.values()
    )
