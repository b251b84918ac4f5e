"""What of a site file a node takes while it serves: all of what differs, or nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping

import msgspec

from littoral.errors import ConflictError, LittoralError
from littoral.node.config.changes import changes, is_hot
from littoral.node.config.opened import Beside, open_beside, overlaid
from littoral.node.model_repository import ModelRepository
from littoral.node.node import Node, ServedPipeline
from littoral.node.observed import Observed
from littoral.node.own_pipelines import OwnPipelines, Prepared
from littoral.node.rebinding import Versions, fitting
from littoral.node.site import Site
from littoral.node.site_collections import ensure_collections, leave_only
from littoral.node.site_tables import TenantTable
from littoral.node.tenancy.tenancy import Tenancy
from littoral.node.undelivered import undelivered, without_undelivered
from littoral.telemetry import LogOptions
from littoral.web import Limits, Server

__all__ = ["Hot", "log_options"]

NONE = Versions()

Take = Callable[[], Awaitable[None]]


class Hot:
    """read: the site file as it is to be now. brought: roles of what the fleet's deployment has, such as
    `models/NAME`."""

    def __init__(
        self,
        node: Node,
        observed: Observed,
        server: Server,
        read: Callable[[], Site],
        say: Callable[[str], None],
        brought: Collection[str] = (),
    ) -> None:
        self.node = node
        self._observed = observed
        self._server = server
        self._read = read
        self._say = say
        self._brought = frozenset(brought)
        self._turn = asyncio.Lock()

    @property
    def site(self) -> Site:
        """As it is now."""
        assert self.node.site is not None, "of the operator's node"
        return self.node.site

    async def take(self) -> str:
        """Why the node goes on as it was, or '' where it runs what the file says now."""
        try:
            await self.serve(await asyncio.to_thread(self._read))
        except (LittoralError, OSError) as error:
            return str(error)
        return ""

    def takes(self, site: Site, brought: Collection[str]) -> bool:
        """Whether the node need not be started anew for this file, with what a deployment has brought."""
        told, found = changes(self.site, site), changes(*self._found(site, brought))
        return is_hot(told) and is_hot(found)

    async def serve(self, site: Site, brought: Collection[str] | None = None, wanted: Versions = NONE) -> Versions:
        """All of it between the same two requests; what served before, for the way back.

        brought: by a deployment from now on; default: as it is. wanted: versions that are open beside those that serve.
        Raises ConflictError where that needs a restart or a pipeline does not take it, and what opening models, agents,
        collections and tenants raises; everything is as it was then.
        """
        async with self._turn:
            brought = self._brought if brought is None else frozenset(brought)
            before, after = self._found(site, brought)
            if not is_hot(changes(before, after)):
                raise ConflictError("this needs a restart of the node")
            former = await self._serve(before, after, wanted)
            await self._settle(before, after)
            self._brought, self.node.site, self.node.undelivered = brought, site, undelivered(site, brought)
            return former

    @contextlib.asynccontextmanager
    async def opened(self, site: Site, brought: Collection[str], wanted: Versions) -> AsyncIterator[Beside]:
        """What `serve` would open, fitting the pipelines; without collections and tenants that come. It is closed at
        the end of the block. Raises as `serve`."""
        before, after = self._found(site, brought)
        async with self._turn, self._repository.turn, contextlib.AsyncExitStack() as undo:
            beside = await open_beside(self.node, before, after, wanted, undo)
            self._bound(beside)
            yield beside

    async def _serve(self, before: Site, after: Site, wanted: Versions) -> Versions:
        repository, tenancy = self._repository, self._tenancy
        async with repository.turn:  # no version of a model takes over meanwhile
            async with contextlib.AsyncExitStack() as undo:
                beside = await open_beside(self.node, before, after, wanted, undo)
                prepared, tenants = self._bound(beside)
                await repository.woken(beside.versions)
                undo.callback(tenancy.follow(prepared.guests, after.pipelines))
                await self._take_collections(before, after, undo)
                self._adopt(beside, undo)
                takes = await self._prepared_tenants(before, after, undo)
                undo.pop_all()
            left = repository.put(beside.versions)
            repository.rebinding.put(tenants)
            prepared.take()
            for take in takes:
                await take()
            tenancy.follow_live(self._own_pipelines.guests)
            await repository.settle(left)
            return left.before

    def _found(self, site: Site, brought: Collection[str]) -> tuple[Site, Site]:
        """Before and after, without what no deployment has brought."""
        return without_undelivered(self.site, self._brought), without_undelivered(site, brought)

    def _bound(self, beside: Beside) -> tuple[Prepared, Mapping[str, ServedPipeline]]:
        """The node's own pipelines, and those of tenants that have what they had."""
        models, agents = overlaid(self.node, beside)
        prepared = self._own_pipelines.prepare(beside.own, beside.versions, models, agents)
        lists = {table.name: _lists(table) for table in beside.before.tenants}
        stay = {table.name for table in beside.after.tenants if lists.get(table.name) == _lists(table)}
        names = [f"{name}/{pipeline}" for name in stay for pipeline in self._tenancy.bound[name].pipelines]
        with fitting(beside.versions):
            return prepared, self._repository.rebinding.bound_to(beside.versions, names, models, agents)

    def _adopt(self, beside: Beside, undo: contextlib.AsyncExitStack) -> None:
        """Who comes is there for tenants that come."""
        repository = self._repository
        for opened in beside.models.values():
            repository.adopt(opened)
            undo.push_async_callback(repository.leave, opened.served.name)
        for agent in beside.agents.values():
            repository.agents.adopt(agent)
            undo.push_async_callback(repository.agents.remove, agent.name)

    async def _take_collections(self, before: Site, after: Site, undo: contextlib.AsyncExitStack) -> None:
        """New ones; of those that the file names no more the points stay."""
        collections = self.node.collections
        if fresh := {name: table for name, table in after.collections.items() if name not in before.collections}:
            undo.push_async_callback(leave_only, collections, collections.names())
            await ensure_collections(collections, after._replace(collections=fresh), self._say)

    async def _prepared_tenants(self, before: Site, after: Site, undo: contextlib.AsyncExitStack) -> list[Take]:
        """New ones are there; what others have in the place of their lists counts with what is given."""
        tenancy, known = self._tenancy, {table.name: table for table in before.tenants}
        takes: list[Take] = []
        for table in after.tenants:
            if (former := known.get(table.name)) is None:
                await tenancy.add(after, table.name)
                undo.push_async_callback(tenancy.remove, table.name)
                continue
            if _lists(former) != _lists(table):
                takes.append(await tenancy.alter(after, table.name, undo))
            if (former.gateway is None) != (table.gateway is None):
                undo.push_async_callback(tenancy.open_gateway, former)
                await tenancy.open_gateway(table)
        return takes

    async def _settle(self, before: Site, after: Site) -> None:
        """What cannot be refused any more: limits and logs; tenants, models and agents that leave."""
        self._server.limit(Limits(**msgspec.structs.asdict(after.limits)))
        self._observed.tell_requests(after.telemetry.logs.requests)
        if self.node.log is not None:
            self.node.log.change(log_options(after))
        if self.node.traces is not None:
            self.node.traces.spans.ratio = after.telemetry.traces.ratio
        await self._settle_tenants(before, after)
        for name in sorted(before.models.keys() - after.models.keys()):
            await self._repository.remove(name)
        for name in sorted(self._repository.agents.served.keys() - self._own_pipelines.guests.site.agents.keys()):
            await self._repository.agents.remove(name)

    async def _settle_tenants(self, before: Site, after: Site) -> None:
        """Some leave, others have another quota."""
        tenancy, now = self._tenancy, {table.name for table in after.tenants}
        for table in before.tenants:
            if table.name not in now:
                await tenancy.remove(table.name)
        for table in after.tenants:
            await tenancy.change(after, table)

    @property
    def _repository(self) -> ModelRepository:
        assert self.node.repository is not None, "of the operator's node"
        return self.node.repository

    @property
    def _own_pipelines(self) -> OwnPipelines:
        assert self.node.own_pipelines is not None, "of the operator's node"
        return self.node.own_pipelines

    @property
    def _tenancy(self) -> Tenancy:
        assert self.node.tenancy is not None, "of the operator's node"
        return self.node.tenancy


def _lists(table: TenantTable) -> tuple[object, ...]:
    return table.models, table.pipelines, table.collections


def log_options(site: Site) -> LogOptions:
    """Of the node's process."""
    logs = site.telemetry.logs
    return LogOptions(logs.level, logs.format, logs.lines_per_s, logs.keep)
