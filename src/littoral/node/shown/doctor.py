"""`/api/doctor`: what `littoral doctor` finds, found by the node of itself."""

import asyncio
from collections.abc import Mapping
from typing import Any

from littoral.errors import LittoralError, NotFoundError
from littoral.node.backup.together import named
from littoral.node.collection_status import collection_states
from littoral.node.doctor.access import examine_access
from littoral.node.doctor.files import examine_caches, examine_digests, examine_shards
from littoral.node.doctor.machine import examine_machine
from littoral.node.doctor.mesh import examine_mesh
from littoral.node.doctor.network import examine_ports, examine_services
from littoral.node.doctor.updates import examine_updates
from littoral.node.mesh_view import view
from littoral.node.node import Node
from littoral.node.site import Site
from littoral.telemetry.findings import Finding, Status
from littoral.vectors.records import ShardInfo

__all__ = ["Doctor"]

COLLECTION_S = 2.0

Told = Mapping[str, Mapping[str, Any]]


class Doctor:
    """One look at a time: who asks while one is under way gets what it finds. For one event loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._looking: asyncio.Task[dict[str, Any]] | None = None

    async def look(self) -> dict[str, Any]:
        """Raises NotFoundError for a node that was made without a site file."""
        if self._node.site is None:
            raise NotFoundError("this node has no site file to look at")
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(self._node.site))
        return await asyncio.shield(self._looking)

    async def _look(self, site: Site) -> dict[str, Any]:
        began = self._node.clock.monotonic()
        told = await self._collections()
        findings = await asyncio.to_thread(_examine, site, self._node, told)
        if self._node.federation is not None:
            findings += examine_mesh(view(self._node.federation, now_s=self._node.clock.wall()))
        return {
            "ok": all(finding.status is not Status.FAIL for finding in findings),
            "at": self._node.clock.wall(),
            "took_s": self._node.clock.monotonic() - began,
            "findings": [finding._asdict() for finding in findings],
        }

    async def _collections(self) -> Told:
        nodes = {"": self._node, **{name: tenant.node for name, tenant in self._node.tenants.items()}}
        told: dict[str, Mapping[str, Any]] = {}
        for owner, node in nodes.items():
            states = await collection_states(node.collections, COLLECTION_S)
            told |= {named(owner, collection.name): _state(info) for collection, info in states}
            told |= {named(owner, name): {"status": e.message} for name, e in node.collections.damaged.items()}
        return told


def _state(info: ShardInfo | Exception) -> Mapping[str, Any]:
    if isinstance(info, ShardInfo):
        counts = {"points_count": info.points_count, "indexed_vectors_count": info.indexed_vectors_count}
        return {"status": "ok"} | counts
    return {"status": str(info)}


def _examine(site: Site, node: Node, told: Told) -> list[Finding]:
    """In a thread of its own: files are read, and others are tried to be reached, for seconds."""
    return [
        *examine_machine(site, node.clock),
        *examine_ports(site, site.listen),
        *examine_services(site),
        *examine_digests(site),
        *examine_shards(site, told),
        *examine_caches(),
        *_access(site),
        *examine_updates(site, node.clock),
    ]


def _access(site: Site) -> list[Finding]:
    """The file as it is now: somebody may have broken it since the start."""
    try:
        return list(examine_access(site.file))
    except LittoralError as error:
        return [Finding("site", str(site.file), Status.FAIL, error.message, error.hint)]
