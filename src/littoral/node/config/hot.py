"""What of a site file a node takes while it serves: all of what differs, or nothing."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec

from littoral.errors import LittoralError
from littoral.node.config.changes import Change, changes, is_hot
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.site import Site
from littoral.node.site_collections import ensure_collections, leave_only
from littoral.node.site_tables import TenantTable
from littoral.node.undelivered import without_undelivered
from littoral.telemetry import LogOptions
from littoral.web import Limits, Server

__all__ = ["Hot", "log_options"]

Take = Callable[[], Awaitable[None]]


class Hot:
    """read: the site file as it is to be now."""

    def __init__(
        self, node: Node, observed: Observed, server: Server, read: Callable[[], Site], say: Callable[[str], None]
    ) -> None:
        self.node = node
        self._observed = observed
        self._server = server
        self._read = read
        self._say = say

    async def take(self) -> str:
        """Why the node goes on as it was, or '' where it runs what the file says now."""
        before, repository = self.node.site, self.node.repository
        assert before is not None
        assert repository is not None
        try:
            site = await asyncio.to_thread(self._read)
            found = changes(before, site)
            if not is_hot(found):
                return "this needs a restart of the node"
            async with contextlib.AsyncExitStack() as undo:
                await self._take_models(before, site, found, undo)
                await self._take_agents(before, site, undo)
                await self._take_collections(before, site, undo)
                async with repository.turn:  # no version of a model takes over meanwhile
                    take_own = self._prepared_pipelines(before, site, undo)
                    takes = await self._prepared_tenants(before, site, undo)
                    undo.pop_all()
                    take_own()
                    for take in takes:
                        await take()
        except (LittoralError, OSError) as error:
            return str(error)
        self._server.limit(Limits(**msgspec.structs.asdict(site.limits)))
        self._observed.tell_requests(site.telemetry.logs.requests)
        if self.node.log is not None:
            self.node.log.change(log_options(site))
        if self.node.traces is not None:
            self.node.traces.spans.ratio = site.telemetry.traces.ratio
        await self._settle_tenants(before, site)
        for name in before.agents.keys() - site.agents.keys():
            await repository.agents.remove(name)
        self.node.site = site
        return ""

    async def _take_models(
        self, before: Site, site: Site, found: list[Change], undo: contextlib.AsyncExitStack
    ) -> None:
        """undo: what was changed goes back where a later one is refused."""
        names = {change.key.split(".")[1] for change in found if change.key.startswith("models.")}
        for name in sorted(names, key=lambda one: (one not in site.models, one)):
            await self._take_model(site, name)
            undo.push_async_callback(self._take_model, before, name)

    async def _take_agents(self, before: Site, site: Site, undo: contextlib.AsyncExitStack) -> None:
        """New ones, and those with other settings; those that the file names no more leave last."""
        repository = self.node.repository
        assert repository is not None
        for name in sorted(site.agents.keys() - before.agents.keys()):
            await repository.agents.add(site, name)
            undo.push_async_callback(repository.agents.remove, name)
        if changed := [name for name, table in site.agents.items() if before.agents.get(name, table) != table]:
            undo.push_async_callback(repository.serve, await repository.change_agents(site, changed))

    async def _take_collections(self, before: Site, site: Site, undo: contextlib.AsyncExitStack) -> None:
        """New ones; of those that the file names no more the points stay."""
        collections = self.node.collections
        if fresh := {name: table for name, table in site.collections.items() if name not in before.collections}:
            undo.push_async_callback(leave_only, collections, collections.names())
            await ensure_collections(collections, without_undelivered(site)._replace(collections=fresh), self._say)

    def _prepared_pipelines(self, before: Site, site: Site, undo: contextlib.AsyncExitStack) -> Callable[[], None]:
        """What tenants are bound by from now on, and what lets the node's own count."""
        own, tenancy = self.node.own_pipelines, self.node.tenancy
        assert own is not None, "of the operator's node"
        assert tenancy is not None, "of the operator's node"
        guests, take = own.prepare(before, site)
        undo.callback(tenancy.follow(guests, without_undelivered(site).pipelines))
        return take

    async def _prepared_tenants(self, before: Site, site: Site, undo: contextlib.AsyncExitStack) -> list[Take]:
        """New ones are there; what others have in the place of their lists counts with what is given."""
        tenancy, known = self.node.tenancy, {table.name: table for table in before.tenants}
        assert tenancy is not None, "of the operator's node"
        takes: list[Take] = []
        for table in site.tenants:
            if (former := known.get(table.name)) is None:
                await tenancy.add(site, table.name)
                undo.push_async_callback(tenancy.remove, table.name)
                continue
            if _lists(former) != _lists(table):
                takes.append(await tenancy.alter(site, table.name, undo))
            if (former.gateway is None) != (table.gateway is None):
                undo.push_async_callback(tenancy.open_gateway, former)
                await tenancy.open_gateway(table)
        return takes

    async def _settle_tenants(self, before: Site, site: Site) -> None:
        """What cannot be refused any more: some leave, others have another quota."""
        tenancy, now = self.node.tenancy, {table.name for table in site.tenants}
        assert tenancy is not None, "of the operator's node"
        for table in before.tenants:
            if table.name not in now:
                await tenancy.remove(table.name)
        for table in site.tenants:
            await tenancy.change(site, table)

    async def _take_model(self, site: Site, name: str) -> None:
        repository = self.node.repository
        assert repository is not None
        if (table := site.models.get(name)) is None:
            await repository.remove(name)
        elif name in self.node.models:
            await repository.change(name, table, site.path_of(table.path))
        else:
            await repository.add(name, table, site.path_of(table.path))


def _lists(table: TenantTable) -> tuple[object, ...]:
    return table.models, table.pipelines, table.collections


def log_options(site: Site) -> LogOptions:
    """Of the node's process."""
    logs = site.telemetry.logs
    return LogOptions(logs.level, logs.format, logs.lines_per_s, logs.keep)
