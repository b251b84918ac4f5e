"""What this node can run for whom: its models and agents by digest, how busy they are, and one of them run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from littoral.errors import InputError, NotFoundError
from littoral.node.node import ServedAgent, ServedModel
from littoral.runtime.abi import Ports
from littoral.runtime.agents import Agent
from littoral.runtime.batching import Batcher
from littoral.runtime.edges import Value
from littoral.runtime.instance import Session
from littoral.runtime.pool import Pool
from littoral.steps.offer import Offer

__all__ = ["Workplace", "agent_key", "model_key"]


def model_key(digest: str) -> str:
    """Two nodes that have it compute the same bits."""
    return f"model:{digest}"


def agent_key(digest: str) -> str:
    """Of `Agent.digest`: module, configuration, files and models."""
    return f"agent:{digest}"


class _ModelBench(NamedTuple):
    """slots: calls that it may work on at a time."""

    pool: Pool[Session]
    slots: int
    batcher: Batcher | None

    @property
    def ports(self) -> tuple[Ports, Ports]:
        """Taken and given."""
        return self.pool.first.inputs, self.pool.first.outputs

    def waiting(self) -> int:
        """In batches that are gathered."""
        return 0 if self.batcher is None else self.batcher.statistics().waiting

    async def run(self, value: Value, take: Sequence[str]) -> Value:
        """Raises InputError for what the model does not take, or give."""
        if not isinstance(value, Mapping):
            raise InputError(f"model `{self.pool.name}` takes tensors")
        known = [spec.name for spec in self.pool.first.outputs]
        if unknown := [name for name in take if name not in known]:
            raise InputError(f"model `{self.pool.name}`: no output `{unknown[0]}`, outputs: {', '.join(known)}")
        if self.batcher is not None:
            outputs = await self.batcher.run(value)
        else:
            outputs = await self.pool.run(lambda session: session.run(value))
        return {name: outputs[name] for name in take} if take else outputs


class _AgentBench(NamedTuple):
    """As `_ModelBench`."""

    pool: Pool[Agent]
    slots: int

    @property
    def ports(self) -> tuple[Ports, Ports]:
        return self.pool.first.input, self.pool.first.output

    def waiting(self) -> int:
        return 0

    async def run(self, value: Value, _take: Sequence[str]) -> Value:
        """The agent says itself what it does not take."""
        if isinstance(value, bytes | Mapping):
            return await self.pool.run(lambda agent: agent.infer(value))
        raise InputError(f"agent `{self.pool.name}` takes bytes or tensors")


class Workplace:
    """models, agents: what the node serves, as it is at each moment. threads: of guests, for all of them."""

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        agents: Mapping[str, ServedAgent],
        batchers: Mapping[Pool[Session], Batcher],
        threads: int,
    ) -> None:
        self._models = models
        self._agents = agents
        self._batchers = batchers
        self.threads = threads

    def offers(self) -> dict[str, Offer]:
        """By key."""
        return {key: _offer(bench) for key, bench in self._benches()}

    def offer(self, key: str) -> Offer | None:
        bench = self._find(key)
        return None if bench is None else _offer(bench)

    def worked_s(self) -> float:
        """Of all guests since the start; less after a version was dropped."""
        return sum(bench.pool.statistics().worked_s for _, bench in self._benches())

    def dtypes(self, key: str) -> Mapping[str, str]:
        """Of its outputs, by name; none for bytes, and for what is not here any more."""
        bench = self._find(key)
        if bench is None or isinstance(given := bench.ports[1], str):
            return {}
        return {port.name: port.dtype for port in given}

    async def run(self, key: str, value: Value, take: Sequence[str]) -> Value:
        """Through the pool, as the node's own requests. take: outputs of a model, by name; none = all.

        Raises NotFoundError, InputError for what it does not take, and what pools raise.
        """
        if (bench := self._find(key)) is None:
            raise NotFoundError(f"nothing here is `{key}`", hint="the nodes have different versions of it")
        return await bench.run(value, take)

    def _find(self, key: str) -> _ModelBench | _AgentBench | None:
        return next((made() for found, made in self._makers() if found == key), None)

    def _benches(self) -> Iterator[tuple[str, _ModelBench | _AgentBench]]:
        return ((key, made()) for key, made in self._makers())

    def _makers(self) -> Iterator[tuple[str, Callable[[], _ModelBench | _AgentBench]]]:
        for model in self._models.values():
            for version in model.versions.values():
                yield model_key(version.model.digest), partial(self._of_model, model, version.pool)
        for agent in self._agents.values():
            yield agent_key(agent.pool.first.digest), partial(self._of_agent, agent)

    def _of_model(self, model: ServedModel, pool: Pool[Session]) -> _ModelBench:
        slots = max(1, min(model.instances.max, self.threads // max(1, pool.first.threads)))
        return _ModelBench(pool, slots, self._batchers.get(pool))

    def _of_agent(self, agent: ServedAgent) -> _AgentBench:
        return _AgentBench(agent.pool, max(1, min(agent.instances.max, self.threads)))


def _offer(bench: _ModelBench | _AgentBench) -> Offer:
    found = bench.pool.statistics()
    return Offer(found.waiting + bench.waiting(), found.busy, bench.slots, found.work_ms / 1000)
