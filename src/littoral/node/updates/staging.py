"""Models and agents of a deployment, open beside those that serve: tried, put in their place together, or dropped."""

import asyncio
import random
from pathlib import Path

import msgspec

from littoral.clock import Clock
from littoral.node.config.hot import Hot
from littoral.node.model_repository import ModelRepository
from littoral.node.node import ServedVersion
from littoral.node.rebinding import Versions
from littoral.node.site import Site
from littoral.node.updates.checking import check_agents, check_models
from littoral.node.updates.conditions import free_memory_mb
from littoral.node.updates.differences import Differences
from littoral.node.updates.mirroring import Lane, Trial
from littoral.node.updates.self_tests import self_test
from littoral.node.updates_tables import delivered_name
from littoral.runtime.agents import Agent
from littoral.runtime.pool import Pool
from littoral.updates.artifacts import ArtifactName
from littoral.updates.deployment.plans import Item, Plan
from littoral.updates.deployment.store import ArtifactStore

__all__ = ["GateTrippedError", "Staging"]

MIB = 1 << 20
MEMORY_SHARE = 0.5
"""Of the machine's free memory, which one instance of a new version may take where nothing else is said."""


class GateTrippedError(Exception):
    def __init__(self, gate: str, why: str) -> None:
        super().__init__(why)
        self.gate = gate
        self.why = why


class Staging:
    """Of one node."""

    def __init__(self, site: Site, hot: Hot, store: ArtifactStore, differences: Differences, clock: Clock) -> None:
        assert site.updates is not None
        self._node = hot.node
        self._hot = hot
        self._store = store
        self._differences = differences
        self._clock = clock
        self._share = site.updates.mirror_share
        self._models: dict[str, ServedVersion] = {}
        self._agents: dict[str, Pool[Agent]] = {}

    @property
    def is_empty(self) -> bool:
        return not self._models and not self._agents

    async def open(self, plan: Plan, site: Site) -> None:
        """What is new, warm, held against the vectors that came with it; of what this node has not open, whether it can
        be; of all of it, whether it fits the pipelines. site: as it is to be.

        Raises GateTrippedError, and what opening raises.
        """
        await self.drop()
        for name, item in self._differences.models(plan).items():
            version = self._models[name] = await self._repository.stage(name, _number(item), *self._file(item))
            await self._check(plan, item, version)
        for name, item in self._differences.agents(plan).items():
            pool = self._agents[name] = await self._repository.stage_agent(name, *self._file(item))
            _check_memory(plan, pool.first.statistics().memory_bytes)
        if not self._hot.takes(site, plan.items):
            await asyncio.to_thread(check_models, site, plan, self._store, [*self._node.models])
            await asyncio.to_thread(check_agents, site, plan, self._store, [*self._node.agents])
            return
        async with self._hot.opened(self._as_stored(site, plan), plan.items, self._staged) as beside:
            for name, opened in beside.models.items():
                if (brought := plan.items.get(f"models/{delivered_name(site.models[name].path)}")) is not None:
                    await self._check(plan, brought, opened.served.serving)
            for agent in beside.agents.values():
                _check_memory(plan, agent.pool.first.statistics().memory_bytes)

    async def serve(self, plan: Plan, site: Site) -> Versions:
        """From now on; what served before."""
        return await self._hot.serve(site, plan.items, self._staged)

    async def serve_plan(self, plan: Plan | None, site: Site) -> None:
        """As it settled once: without another trial. None: nothing that a fleet has brought."""
        if plan is None:
            await self._hot.serve(site, ())
            return
        models = {
            name: await self._repository.stage(name, _number(item), *self._file(item))
            for name, item in self._differences.models(plan).items()
        }
        agents = {
            name: await self._repository.stage_agent(name, *self._file(item))
            for name, item in self._differences.agents(plan).items()
        }
        await self._hot.serve(site, plan.items, Versions(models, agents))

    async def drop(self) -> None:
        """Closes what nobody has."""
        staged = self._staged
        self._models, self._agents = {}, {}
        if not staged.is_empty:
            await self._repository.discard(staged)

    def lanes(self, rng: random.Random) -> list[Lane]:
        """One for each version that is tried."""
        trials = [self._trial_of_model(name, version) for name, version in self._models.items()]
        trials += [self._trial_of_agent(name, pool) for name, pool in self._agents.items()]
        return [Lane(trial, self._clock, share=self._share, rng=rng) for trial in trials]

    def watched(self, plan: Plan) -> list[Lane]:
        """What of a plan serves, without a trial; what becomes of requests counts from now on."""
        models, agents = self._differences.open_here(plan)
        trials = [self._trial_of_model(name, self._node.models[name].serving) for name in models]
        trials += [self._trial_of_agent(name, self._node.agents[name].pool) for name in agents]
        lanes = [Lane(trial._replace(is_mirrored=False), self._clock) for trial in trials]
        for lane in lanes:
            lane.count_from_here()
        return lanes

    def _trial_of_model(self, name: str, version: ServedVersion) -> Trial:
        served = self._node.models[name]
        before = served.serving.pool if served.is_loaded and served.serving is not version else None
        return Trial(
            name=name,
            label=f"model `{name}`",
            before=before,
            after=version.pool,
            serves=lambda: served.serving is version,
            ask=lambda session, feeds: session.run(feeds),
            memory_bytes=version.pool.first.memory_bytes,
            states=tuple(served.sequences.ports.values()),
        )

    def _trial_of_agent(self, name: str, pool: Pool[Agent]) -> Trial:
        served = self._node.agents[name]
        return Trial(
            name=f"agents/{name}",
            label=f"agent `{name}`",
            before=None if served.pool is pool else served.pool,
            after=pool,
            serves=lambda: served.pool is pool,
            ask=lambda agent, given: agent.infer(given),
            memory_bytes=pool.first.statistics().memory_bytes,
            is_mirrored=served.pool.first.is_pure and pool.first.is_pure,
        )

    @property
    def _repository(self) -> ModelRepository:
        repository = self._node.repository
        assert repository is not None
        return repository

    @property
    def _staged(self) -> Versions:
        return Versions(self._models, self._agents)

    def _as_stored(self, site: Site, plan: Plan) -> Site:
        """With files in the store for what no link leads to yet."""
        models, agents = dict(site.models), dict(site.agents)
        for name, table in site.models.items():
            item = plan.items.get(f"models/{delivered_name(table.path)}")
            if item is not None and name not in self._node.models:
                models[name] = msgspec.structs.replace(table, path=str(self._store.path(item.sha256).absolute()))
        for name, agent in site.agents.items():
            item = plan.items.get(f"agents/{delivered_name(agent.path)}")
            if item is not None and name not in self._node.agents:
                agents[name] = msgspec.structs.replace(agent, path=str(self._store.path(item.sha256).absolute()))
        return site._replace(models=models, agents=agents)

    def _file(self, item: Item) -> tuple[Path, str]:
        return self._store.path(item.sha256), item.sha256

    async def _check(self, plan: Plan, item: Item, version: ServedVersion) -> None:
        _check_memory(plan, version.pool.first.memory_bytes)
        if item.self_test is None or (vectors := plan.items.get(item.self_test)) is None:
            return
        data = await asyncio.to_thread(self._store.path(vectors.sha256).read_bytes)
        if problem := await version.pool.run(lambda session: self_test(session, data)):
            raise GateTrippedError("selftest", f"`{item.target}`: {problem}")


def _number(item: Item) -> int:
    return ArtifactName.parse(item.target).version


def _check_memory(plan: Plan, memory_bytes: int) -> None:
    most = plan.gates.memory_mb_max
    if most is None:
        most = int(free_memory_mb() * MEMORY_SHARE)
    if memory_bytes > most * MIB:
        raise GateTrippedError("memory", f"an instance takes {memory_bytes / MIB:.0f} MiB, at most {most}")
