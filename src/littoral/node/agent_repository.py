"""The versions of every agent: the next one is opened beside the one that serves, and takes over between two requests.

Who is under way ends on the version that it began with; that one stays at hand for the way back, without instances.
For one event loop; one change at a time.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path

from littoral.errors import ConflictError
from littoral.node.node import Instances, ServedAgent
from littoral.node.pooling import beside_threads
from littoral.node.site import Site
from littoral.runtime.agents import Agent
from littoral.runtime.pool import Pool

__all__ = ["AgentRepository", "Open", "OpenNew"]

Open = Callable[[str, Path, str], Pool[Agent]]
"""An agent of the site file by name, from this file of this SHA-256. Raises what `Agent.open` and pools raise."""

OpenNew = Callable[[Site, str], ServedAgent]
"""One that this site file names. Raises as `Open`."""

Deployed = Callable[[ServedAgent], None]
GONE_MAX = 8
"""Agents that were removed and whose last requests may still come; they have no instances."""


class AgentRepository:
    """agents: what the node serves; changed in place. deployed: told of one whose version is another."""

    def __init__(
        self,
        agents: MutableMapping[str, ServedAgent],
        open_pool: Open,
        open_new: OpenNew,
        *,
        say: Callable[[str], None],
        deployed: Deployed,
    ) -> None:
        self._agents = agents
        self._open = open_pool
        self._open_new = open_new
        self._say = say
        self._deployed = deployed
        self._before: dict[str, Pool[Agent]] = {}
        self._gone: list[Pool[Agent]] = []

    @property
    def served(self) -> Mapping[str, ServedAgent]:
        return self._agents

    async def opened(self, site: Site, name: str) -> ServedAgent:
        """As this site file has it, beside what serves; nothing changes. For `adopt`, `put` or `discard`."""
        with beside_threads() as threads:
            return await threads.run(self._open_new, site, name)

    def adopt(self, agent: ServedAgent) -> None:
        """One that was not there serves from now on. Raises ConflictError for one that is there."""
        if agent.name in self._agents:
            raise ConflictError(f"agent `{agent.name}` is there already")
        self._agents[agent.name] = agent
        first = agent.pool.first
        self._say(f"agent `{agent.name}`: {first.manifest.version} serves, {first.module_digest[:12]}")
        self._deployed(agent)

    async def remove(self, name: str) -> None:
        """One that no pipeline names any more. Requests under way may still come to it."""
        pools = list(self._held(name))
        del self._agents[name]
        self._before.pop(name, None)
        self._gone += pools
        for pool in pools:
            await asyncio.to_thread(pool.rest)
        while len(self._gone) > GONE_MAX:
            await asyncio.to_thread(self._gone.pop(0).close, drains=True)
        self._say(f"agent `{name}`: removed")

    async def stage(self, name: str, path: Path, sha256: str) -> Pool[Agent]:
        """Opens a version beside the one that serves; nothing changes. For `put` or `discard`."""
        for known in self._held(name):
            if known.first.module_digest == sha256:
                known.wake()
                return known
        with beside_threads() as threads:
            return await threads.run(self._open, name, path, sha256)

    def put(self, pools: Mapping[str, Pool[Agent]], instances: Mapping[str, Instances]) -> list[Pool[Agent]]:
        """In place, at once. Those that nobody comes to any more: to rest, or to be closed by `discard`."""
        left = []
        for name, pool in pools.items():
            served, before = self._agents[name], self._agents[name].pool
            if before is pool:
                continue
            served.pool, served.instances = pool, instances.get(name, served.instances)
            left += [before, self._before.pop(name, before)]
            if name not in instances:  # no version of another table is a way back
                self._before[name] = before
            self._say(f"agent `{name}`: {pool.first.manifest.version} serves, {pool.first.module_digest[:12]}")
            self._deployed(served)
        return [pool for pool in dict.fromkeys(left) if pool not in pools.values()]

    async def settle(self, pools: Iterable[Pool[Agent]]) -> None:
        """What `put` gave: those of a way back rest, others are closed once their calls are over."""
        for pool in pools:
            await asyncio.to_thread(pool.rest)
        await self.discard(pools)

    async def discard(self, pools: Iterable[Pool[Agent]]) -> None:
        """Closes those that neither serve nor are a way back."""
        held = {pool for name in self._agents for pool in self._held(name)}
        for pool in pools:
            if pool not in held:
                await asyncio.to_thread(pool.close, drains=True)

    def close(self) -> None:
        """Every version of every agent."""
        for name in self._agents:
            for pool in self._held(name):
                pool.close()
        for pool in self._gone:
            pool.close()

    def _held(self, name: str) -> Iterator[Pool[Agent]]:
        yield self._agents[name].pool
        if (before := self._before.get(name)) is not None:
            yield before
