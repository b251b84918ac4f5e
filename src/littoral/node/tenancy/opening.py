"""From a table of `tenants` in a site file to a tenant that runs: its collections and caches, its pipelines bound to
these, and a node that knows nothing else.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

import msgspec

from littoral.clock import SYSTEM, Clock
from littoral.node.at_rest import encrypted_fields
from littoral.node.binding import Find, Guests, open_pipelines
from littoral.node.caches import Caches
from littoral.node.needed_versions import pin_needed
from littoral.node.node import Node, ServedAgent, ServedPipeline
from littoral.node.observed import Observed
from littoral.node.oip.inference import Inference
from littoral.node.request_rate import Rate
from littoral.node.site import Site, inner_steps
from littoral.node.site_collections import ensure_collections
from littoral.node.site_tables import CacheTable, TenantTable
from littoral.node.tenancy.models import TenantModels
from littoral.node.tenancy.tenant import Tenant, bounds_of
from littoral.node.tenant_hosts import SharedHosts
from littoral.node.tenant_tables import site_of
from littoral.node.vector_makers import Fed, models_of
from littoral.node.vector_models import VectorModels
from littoral.runtime.gate import Gate
from littoral.vault import KeyRing
from littoral.vectors.collections import Collections
from littoral.vectors.model_version import ModelVersion

__all__ = [
    "BoundTenant",
    "Room",
    "agents_of",
    "bound_tenant",
    "cache_table",
    "check_tenant",
    "open_room",
    "tenant_of",
]

Say = Callable[[str], None]


class Room(NamedTuple):
    """What a tenant has for itself before models are there."""

    table: TenantTable
    collections: Collections
    caches: Caches


class BoundTenant(NamedTuple):
    """site, guests: as its pipelines are bound by them."""

    room: Room
    site: Site
    guests: Guests
    pipelines: Mapping[str, ServedPipeline]
    gate: Gate

    @property
    def name(self) -> str:
        return self.room.table.name


@contextlib.asynccontextmanager
async def open_room(
    site: Site, table: TenantTable, hosts: SharedHosts, clock: Clock, keys: KeyRing | None
) -> AsyncIterator[Room]:
    """Raises nothing for damaged collections: they are told as such. Its hosts are the supervisor's, and go on."""
    own, quota = site_of(site, table, inner_steps), table.quota
    fields, owner = encrypted_fields(own, keys, table.name), f"tenant `{table.name}`"
    cached = cache_table(site.cache, quota.cache_mb)
    async with contextlib.AsyncExitStack() as stack:
        collections = await Collections.open(
            own.data, hosts.of(table.name), clock, fields, bounds=bounds_of(quota), owner=owner
        )
        stack.push_async_callback(collections.close)
        caches = await asyncio.to_thread(Caches, cached, own.data, clock, keys)
        stack.push_async_callback(caches.close)
        yield Room(table, collections, caches)


def cache_table(table: CacheTable, cache_mb: int) -> CacheTable:
    """The node's caches in another size: each has the same share of it."""
    whole = table.embeddings_mb + table.results_mb + table.near_mb
    if not whole:
        return table
    results_mb, near_mb = cache_mb * table.results_mb // whole, cache_mb * table.near_mb // whole
    embeddings_mb = cache_mb - results_mb - near_mb if table.embeddings_mb else 0
    return msgspec.structs.replace(
        table,
        embeddings_mb=embeddings_mb,
        results_mb=results_mb,
        near_mb=near_mb,
        disk_mb=min(table.disk_mb, -(-table.disk_mb * cache_mb // whole)),
    )


@contextlib.asynccontextmanager
async def bound_tenant(
    room: Room,
    guests: Guests,
    pipelines: Mapping[str, object],
    clock: Clock,
    say: Say,
    before: BoundTenant | None = None,
) -> AsyncIterator[BoundTenant]:
    """pipelines: of the site file, without those that models bring along. before: what it takes the place of, with the
    same counts. Raises SettingError as `open_node`.
    """
    bound = await _bound(room, guests, pipelines, clock, say, before)
    try:
        yield bound
    finally:
        bound.guests.vector_models.close()


async def _bound(
    room: Room,
    guests: Guests,
    pipelines: Mapping[str, object],
    clock: Clock,
    say: Say,
    before: BoundTenant | None,
) -> BoundTenant:
    table, collections = room.table, room.collections

    def tell(line: str) -> None:
        say(f"tenant `{table.name}`: {line}")

    def holds(fed: Fed) -> tuple[ModelVersion, ...]:
        return models_of(collections, fed)

    site = _site(guests.site, table, pipelines)
    gate = Gate(table.name, table.quota.inferences_max, clock=clock) if before is None else before.gate
    trail = None if guests.trail is None or before is not None else guests.trail.of(collections.get)
    own = guests._replace(
        site=site,
        caches=room.caches,
        vector_models=VectorModels(site, guests.agents, holds),
        claim=collections.claim,
        placement=None,
        gate=gate,
        trail=trail if before is None else before.guests.trail,
    )
    try:
        site = await ensure_collections(collections, site, tell)
        pin_needed(site, own, tell)
        return BoundTenant(room, site, own, open_pipelines(site, own, collections.get, clock), gate)
    except BaseException:
        own.vector_models.close()
        if guests.trail is not None and trail is not None:
            guests.trail.forget(trail)
        raise


def _site(site: Site, table: TenantTable, pipelines: Mapping[str, object]) -> Site:
    """With the pipelines that its models bring along."""
    brought = {name: site.pipelines[name] for name in table.models if name in site.pipelines and name not in pipelines}
    own = site_of(site, table, inner_steps)
    return own._replace(pipelines={**own.pipelines, **brought})


def check_tenant(table: TenantTable, guests: Guests, pipelines: Mapping[str, object], find: Find) -> None:
    """Whether its pipelines fit its collections, as the file has them. Raises SettingError."""
    site = _site(guests.site, table, pipelines)
    own = guests._replace(site=site, vector_models=VectorModels(site, guests.agents, lambda _: ()))
    open_pipelines(site, own, find, SYSTEM)


def agents_of(bound: BoundTenant, node: Node) -> dict[str, ServedAgent]:
    """Of the operator's node those that its pipelines use."""
    used = {step.uses for served in bound.pipelines.values() for step in served.steps if step.kind == "agent"}
    return {name: agent for name, agent in node.agents.items() if name in used}


def tenant_of(bound: BoundTenant, node: Node) -> Tenant:
    """node: the operator's."""
    table, collections, caches = bound.room
    rate = Rate(table.name, table.quota.requests_per_s, node.clock)
    seen = Node(
        name=node.name,
        listen=node.listen,
        origins=node.origins,
        hosts=node.hosts,
        data=bound.site.data,
        collections=collections,
        models=TenantModels(node.models, table.models),
        agents=agents_of(bound, node),
        batchers=node.batchers,
        pipelines=bound.pipelines,
        caches=caches,
        clock=node.clock,
        started_at=node.started_at,
        traces=node.traces,
        requests_told=node.requests_told,
        keys=node.keys,
        gate=bound.gate,
        is_ready=node.is_ready,
        rate=rate,
    )
    assert collections.quota is not None, "collections of a tenant are opened with bounds"
    observed = Observed(seen)
    inference = Inference(seen, observed)
    store, trail = collections.quota, bound.guests.trail
    tenant = Tenant(table.name, table.quota, seen, observed, inference, bound.gate, rate, store, trail, table.gateway)
    seen.itself = tenant
    return tenant
