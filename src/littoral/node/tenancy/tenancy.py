"""Tenants of a node that serves: they come and go between two requests, and nobody else's requests are touched."""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from littoral.clock import Clock
from littoral.errors import LittoralError
from littoral.node.binding import Guests
from littoral.node.gateway.opening import limit_gateway
from littoral.node.node import Node, ServedPipeline
from littoral.node.renewing import renew_values
from littoral.node.site import Site
from littoral.node.site_collections import leave_only
from littoral.node.site_tables import TenantTable
from littoral.node.tenancy.held import Beside, Held
from littoral.node.tenancy.models import TenantModels
from littoral.node.tenancy.opening import (
    BoundTenant,
    Room,
    agents_of,
    bound_tenant,
    cache_table,
    open_room,
    tenant_of,
)
from littoral.node.tenancy.tenant import Tenant
from littoral.node.tenant_hosts import SharedHosts
from littoral.vault import KeyRing
from littoral.vectors.collections import Collections

__all__ = ["EveryPipeline", "OpenGateway", "Tenancy", "open_tenancy"]

Say = Callable[[str], None]
OpenGateway = Callable[[Tenant], AbstractAsyncContextManager[None]]

GRACE_S = 5.0
"""For requests that are under way when their tenant leaves."""
LOOK_S = 0.02


class EveryPipeline(Mapping[str, ServedPipeline]):
    """The node's by name, and `TENANT/NAME` of the tenants that are there now."""

    def __init__(self, own: Mapping[str, ServedPipeline], bound: Mapping[str, BoundTenant]) -> None:
        self._own = own
        self._bound = bound

    def __getitem__(self, key: str) -> ServedPipeline:
        tenant, _, name = key.rpartition("/")
        return (self._bound[tenant].pipelines if tenant else self._own)[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        for tenant, one in self._bound.items():
            yield from (f"{tenant}/{name}" for name in one.pipelines)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Tenancy:
    """`begun`, `bind` and `serve` come in this order, each around the next.

    served: by name, as `Node.tenants` is; whoever looks there sees who is there now. For one event loop.
    """

    def __init__(self, hosts: SharedHosts, clock: Clock, keys: KeyRing | None, say: Say) -> None:
        self.served: dict[str, Tenant] = {}
        self._rooms: Held[Room] = Held()
        self._bound: Held[BoundTenant] = Held()
        self._beside: Held[None] = Held()
        self._hosts = hosts
        self._clock = clock
        self._keys = keys
        self._say = say
        self._guests: Guests | None = None
        self._pipelines: Mapping[str, object] = {}
        self._node: Node | None = None
        self._gateway: OpenGateway | None = None

    @property
    def bound(self) -> Mapping[str, BoundTenant]:
        """Those whose pipelines are bound, now."""
        return self._bound.found

    @contextlib.asynccontextmanager
    async def begun(self, site: Site) -> AsyncIterator["Tenancy"]:
        """Collections and caches, before models are there. Raises nothing for damaged collections."""
        async with self._rooms:
            for table in site.tenants:
                await self._room(site, table)
            yield self

    @contextlib.asynccontextmanager
    async def bind(self, guests: Guests, pipelines: Mapping[str, object]) -> AsyncIterator[None]:
        """pipelines: of the site file, without those that models bring along. Raises SettingError as `open_node`."""
        self._guests, self._pipelines = guests, pipelines
        async with self._bound:
            for room in list(self._rooms.found.values()):
                await self._bind(room, guests)
            yield

    @contextlib.asynccontextmanager
    async def serve(self, node: Node, gateway: OpenGateway | None) -> AsyncIterator[None]:
        """node: the operator's. gateway: that of a tenant; None: the site has none."""
        self._node, self._gateway = node, gateway
        async with self._beside:
            for bound in self.bound.values():
                await self._serve(bound, node)
            yield

    def follow(self, guests: Guests, pipelines: Mapping[str, object]) -> Callable[[], None]:
        """Those who come, or have other lists, are bound by these from now on. What is given takes it back."""
        before = self._guests, self._pipelines
        self._guests, self._pipelines = guests, pipelines

        def back() -> None:
            self._guests, self._pipelines = before

        return back

    def follow_live(self, guests: Guests) -> None:
        """What was bound by models and agents that were to serve is bound by those that do, from now on."""
        self._guests = guests
        for name, bound in self._bound.found.items():
            vector_models = bound.guests.vector_models.with_agents(guests.agents)
            own = bound.guests._replace(models=guests.models, agents=guests.agents, vector_models=vector_models)
            self._bound.found[name] = bound._replace(guests=own)

    async def add(self, site: Site, name: str) -> None:
        """One that the site file, of what is there, has now. Raises as `bind`; nothing of it is there then."""
        node, guests = self._node, self._guests
        assert node is not None, "tenants come once the node serves"
        assert guests is not None, "a node that serves has models"
        table = next(one for one in site.tenants if one.name == name)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self._leave, name)
            room = await self._room(guests.site._replace(models=site.models, tenants=site.tenants), table)
            bound = await self._bind(room, guests._replace(site=guests.site._replace(models=site.models)))
            await self._serve(bound, node)
            undo.pop_all()
        self._say(f"tenant `{name}`: it is served")

    async def alter(self, site: Site, name: str, undo: contextlib.AsyncExitStack) -> Callable[[], Awaitable[None]]:
        """The models, pipelines and collections of one that is there, as the site file has them now. They count once
        what is given is called, which cannot fail; undo: what goes back else. Raises as `bind`.
        """
        guests, before, tenant = self._guests, self._bound.found[name], self.served[name]
        assert guests is not None, "a node that serves has models"
        table = next(one for one in site.tenants if one.name == name)
        collections = before.room.collections
        undo.push_async_callback(_go_back, collections, collections.count_max, collections.names())
        own = guests.site._replace(models=site.models, tenants=site.tenants)
        collections.count_max = max(collections.count_max, table.quota.collections_max)
        room, bound_by = before.room._replace(table=table), guests._replace(site=own)
        opening = bound_tenant(room, bound_by, self._pipelines, self._clock, self._say, before)
        beside = await self._bound.beside(opening)
        undo.push_async_callback(beside.stack.aclose)
        return functools.partial(self._taken, tenant, before, beside)

    async def _taken(self, tenant: Tenant, before: BoundTenant, beside: Beside[BoundTenant]) -> None:
        """Requests that are under way end on what they began with, those to come have the other at once."""
        node, fresh = self._node, beside.found
        assert node is not None, "of a node that serves"
        for name, served in fresh.pipelines.items():
            if name in before.pipelines:
                before.pipelines[name].take(served)
        pipelines = {name: before.pipelines.get(name, served) for name, served in fresh.pipelines.items()}
        bound = fresh._replace(pipelines=pipelines)
        former = self._bound.exchange(tenant.name, beside, bound)
        self._rooms.found[tenant.name] = bound.room
        seen = tenant.node
        assert isinstance(seen.models, TenantModels), "of a tenant"
        seen.models.have(bound.room.table.models)
        seen.pipelines, seen.agents = bound.pipelines, agents_of(bound, node)
        if before.guests.vector_models.has_pinned:
            await self._drained(tenant)
        await former.aclose()
        self._say(f"tenant `{tenant.name}`: its models, pipelines and collections are those of the site file")

    async def open_gateway(self, table: TenantTable) -> None:
        """Comes or goes, as its table says. Raises SettingError; then it has none."""
        tenant = self.served[table.name]
        if (tenant.has_gateway is None) == (table.gateway is None):
            return
        if table.gateway is None:
            tenant.node.gateway = None
            await self._drained(tenant)
        await self._beside.close(table.name)
        tenant = self.served[table.name] = dataclasses.replace(tenant, has_gateway=table.gateway)
        tenant.node.itself = tenant
        await self._beside.open(table.name, self._with(tenant))

    async def _drained(self, tenant: Tenant) -> None:
        """What it asked before has a few seconds to end."""
        until_s = self._clock.monotonic() + GRACE_S
        while tenant.busy_count and self._clock.monotonic() < until_s:  # noqa: ASYNC110  two counts
            await asyncio.sleep(LOOK_S)

    async def remove(self, name: str) -> None:
        """From now on its tokens are good for nothing. What it asked before has a few seconds to end; its data stays,
        and is named."""
        tenant = self.served.pop(name)
        await self._drained(tenant)
        cut = f"; {count} of its requests were cut off" if (count := tenant.busy_count) else ""
        try:
            await self._leave(name)
        except (LittoralError, OSError) as error:
            self._say(f"tenant `{name}`: {error}")
        self._say(f"tenant `{name}`: it is served no more{cut}; what it stored stays in `{tenant.node.data}`")

    async def change(self, site: Site, table: TenantTable) -> None:
        """Its quota and what it has of the gateway, as the site file has them now."""
        tenant = self.served[table.name]
        await tenant.limit(table.quota, cache_table(site.cache, table.quota.cache_mb))
        tenant.has_gateway = table.gateway
        if tenant.node.gateway is not None and table.gateway is not None:
            limit_gateway(tenant.node.gateway, table.gateway)

    async def _room(self, site: Site, table: TenantTable) -> Room:
        return await self._rooms.open(table.name, open_room(site, table, self._hosts, self._clock, self._keys))

    async def _bind(self, room: Room, guests: Guests) -> BoundTenant:
        opening = bound_tenant(room, guests, self._pipelines, self._clock, self._say)
        return await self._bound.open(room.table.name, opening)

    async def _serve(self, bound: BoundTenant, node: Node) -> None:
        tenant = tenant_of(bound, node)
        await self._beside.open(bound.name, self._with(tenant))
        self.served[bound.name] = tenant

    @contextlib.asynccontextmanager
    async def _with(self, tenant: Tenant) -> AsyncGenerator[None, None]:
        """What a tenant has beside its pipelines: a gateway, and values that go over to the newest key."""
        renewing = asyncio.create_task(renew_values(tenant.node.collections, self._say))
        try:
            if self._gateway is None or tenant.has_gateway is None:
                yield
                return
            async with self._gateway(tenant):
                yield
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing

    async def _leave(self, name: str) -> None:
        bound, guests = self._bound.found.get(name), self._guests
        async with contextlib.AsyncExitStack() as stack:
            if bound is not None and bound.guests.trail is not None and guests is not None and guests.trail is not None:
                stack.callback(guests.trail.forget, bound.guests.trail)
            stack.push_async_callback(self._hosts.forget, name)
            stack.push_async_callback(self._rooms.close, name)
            stack.push_async_callback(self._bound.close, name)
            stack.push_async_callback(self._beside.close, name)


async def _go_back(collections: Collections, count_max: int, names: Sequence[str]) -> None:
    await leave_only(collections, names)
    collections.count_max = count_max


def open_tenancy(
    site: Site, hosts: SharedHosts, clock: Clock, keys: KeyRing | None, say: Say
) -> AbstractAsyncContextManager[Tenancy]:
    """Of the tenants of a site file, whose shard hosts are wanted from now on."""
    return Tenancy(hosts, clock, keys, say).begun(site)
