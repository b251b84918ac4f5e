"""Models and agents in their pools: sizes, memory, quarantine and batches as the site file says."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from littoral.clock import SYSTEM, Clock
from littoral.errors import SettingError
from littoral.node.node import Instances
from littoral.node.site_tables import AgentTable, ModelTable
from littoral.runtime.agents import Agent
from littoral.runtime.batch_costs import measured
from littoral.runtime.batching import Batcher
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.instance import Session
from littoral.runtime.memory_budget import MemoryBudget
from littoral.runtime.pool import Pool
from littoral.runtime.quarantine import Quarantine
from littoral.runtime.thread_priority import BESIDE_NICE

if TYPE_CHECKING:
    from littoral.artifact.signing import Signers

__all__ = ["Pooling", "beside_threads"]

_W = TypeVar("_W", Agent, Session)


class Pooling:
    """Of one node. batchers: of the pools whose requests are computed together where they meet.

    memory_mb: that all instances may take; None = no bound. signers: who must have signed what runs in it; None =
    nobody. has_layers: traces tell of the layers of models that were built for it.
    """

    def __init__(
        self,
        threads: GuestThreads,
        *,
        memory_mb: int | None = None,
        signers: "Signers | None" = None,
        has_layers: bool = False,
        clock: Clock = SYSTEM,
    ) -> None:
        self.threads = threads
        self._has_layers = has_layers
        self.signers = signers
        self.budget = MemoryBudget(None if memory_mb is None else memory_mb << 20)
        self.batchers: WeakKeyDictionary[Pool[Session], Batcher] = WeakKeyDictionary()
        self._clock = clock

    def agent(self, agent: Agent, name: str, table: AgentTable) -> Pool[Agent]:
        """Takes the agent over, and closes it where there is no room for it. Raises SettingError."""
        each = agent.memory_bytes_max
        return self._pool(agent, f"agent `{name}`", name, table, (each, each))

    def model(
        self, session: Session, name: str, table: ModelTable, say: Callable[[str], object] = lambda _: None
    ) -> Pool[Session]:
        """As `agent`; also where batches are wanted of a model that has none."""
        session.divide_on(self.threads)
        if self._has_layers:
            session.tell_layers()
        whole, weights = session.memory_bytes, session.manifest.memory.weights[1]
        pool = self._pool(session, f"model `{name}`", name, table, (whole, whole - weights))
        if table.batch.max > 1:
            try:
                self.batchers[pool] = self._batcher(pool, name, table, say)
            except BaseException:
                pool.close()
                raise
        return pool

    def forget(self, pool: Pool[Session]) -> None:
        """Nobody comes to it any more, except who holds it."""
        self.batchers.pop(pool, None)

    def _pool(
        self, first: _W, label: str, name: str, table: AgentTable | ModelTable, memory_bytes: tuple[int, int]
    ) -> Pool[_W]:
        instances = Instances(table.instances.min, table.instances.max)
        try:
            return Pool(
                first,
                name=name,
                threads=self.threads,
                instances_min=instances.min,
                instances_max=instances.max,
                quarantine=Quarantine(label, table.quarantine, clock=self._clock),
                budget=self.budget,
                memory_bytes=memory_bytes,
                clock=self._clock,
            )
        except BaseException:
            first.close()
            raise

    def _batcher(self, pool: Pool[Session], name: str, table: ModelTable, say: Callable[[str], object]) -> Batcher:
        if not pool.first.fitting.may_share:
            raise SettingError(
                f"`batch.max` is {table.batch.max}, and the model cannot compute requests together",
                hint="build it with variants of several batch sizes: docs/guides/variants.md",
            )

        def told(line: str) -> None:
            say(f"model `{name}`: {line}")

        costs = self.threads.submit(measured, pool.first, batch_max=table.batch.max, say=told).result()
        return Batcher(
            pool,
            costs,
            batch_max=table.batch.max,
            window_ms=table.batch.window_ms,
            servers_max=table.instances.max,
            clock=self._clock,
        )


@contextlib.contextmanager
def beside_threads() -> Iterator[GuestThreads]:
    """A thread that takes no core from requests. What still runs there at the end is not waited for."""
    threads = GuestThreads(1, name="beside", nice=BESIDE_NICE)
    try:
        yield threads
    finally:
        threads.close(0.0)
