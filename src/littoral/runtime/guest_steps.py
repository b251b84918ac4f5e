"""Steps that run in sandboxes: an agent, a model.

Between an agent and a model that follows it the tensors are copied once, from the one sandbox's memory to the other's:
the agent's answer stays where it is (a `Loan`) until the model has it.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from littoral.errors import InputError, SettingError, UnavailableError
from littoral.runtime.agents import Agent, Lent
from littoral.runtime.batching import Batcher
from littoral.runtime.edges import EdgeType, Fit, TensorsType, Value, edge_of, fit_tensors, tensors_of
from littoral.runtime.instance import Session
from littoral.runtime.pool import Lease, Pool
from littoral.runtime.step import How
from littoral.tensors import Array, TensorSpec, merged_specs

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["AgentStage", "AgentStep", "Loan", "ModelStage", "ModelStep"]

_R = TypeVar("_R")


class Loan:
    """Tensors in an agent's memory. Exactly one party may `claim` them; it releases them, in a guest thread."""

    def __init__(self, lent: Lent, lease: Lease[Agent]) -> None:
        self._lent = lent
        self._lease = lease
        self._is_claimed = False
        self._lock = threading.Lock()

    @property
    def tensors(self) -> Mapping[str, Array]:
        """For whoever claimed the loan, until it is released."""
        return tensors_of(self._lent.value)

    def claim(self) -> bool:
        """True for the first caller."""
        with self._lock:
            is_first, self._is_claimed = not self._is_claimed, True
        return is_first

    async def copied(self) -> Mapping[str, Array]:
        """Copies of the tensors; the agent goes on, also when the caller is gone meanwhile."""
        if not self.claim():
            raise UnavailableError("the caller is gone")
        try:
            job = self._end_with(self._copy)
        except UnavailableError:
            self.release()
            raise
        return await asyncio.shield(asyncio.wrap_future(job))

    def _copy(self) -> Mapping[str, Array]:
        try:
            return {name: array.copy() for name, array in self.tensors.items()}
        finally:
            self._lent.release()

    def _end_with(self, work: Callable[[], _R]) -> "Future[_R]":
        """Starts the last that is done with the tensors. Raises UnavailableError."""
        job = self._lease.start_after(work)
        job.add_done_callback(self._see_dropped)  # before the lease's own: an agent is closed once nobody has its turn
        self._lease.release()
        return job

    def _see_dropped(self, job: "Future[Any]") -> None:
        """The threads closed before it began."""
        if job.cancelled() or job.exception() is not None:
            self._lent.release()

    def release(self) -> None:
        """Lets the agent go on. By whoever claimed the loan; twice is fine."""
        self._lent.release()
        self._lease.release()

    def abandon(self) -> None:
        """Releases the tensors unless somebody has claimed them."""
        if not self.claim():
            return
        try:
            self._end_with(self._lent.release)
        except UnavailableError:  # no thread for it: a short call into the agent, from here
            self.release()


class AgentStep:
    """One agent of a pool. name: default the pool's."""

    def __init__(self, pool: Pool[Agent], *, name: str | None = None) -> None:
        self.name = name or pool.name
        self._pool = pool

    @property
    def takes(self) -> EdgeType:
        return edge_of(self._pool.first.input)

    def bind(self, given: EdgeType) -> "AgentStage":
        fits: tuple[Fit, ...] | None = None
        if isinstance(self.takes, TensorsType):
            fits = fit_tensors(given, self.takes.ports)
        elif given != self.takes:
            raise SettingError(f"takes {self.takes}")
        return AgentStage(edge_of(self._pool.first.output), self._pool, fits)


class AgentStage(NamedTuple):
    gives: EdgeType
    pool: Pool[Agent]
    fits: tuple[Fit, ...] | None

    async def run(self, value: Value, _how: How) -> Value:
        given = self._given(value)
        return await self.pool.run(lambda agent: agent.infer(given))

    async def lend(self, value: Value) -> Loan:
        """As `run`, where the agent gives tensors; they stay in its memory. The caller abandons the loan at the end."""
        given = self._given(value)
        lease = await self.pool.lease()
        try:
            job = lease.start(lambda agent: Loan(agent.lend(given), lease))
        except BaseException:
            lease.release()
            raise
        try:
            return await asyncio.wrap_future(job)
        except BaseException:
            job.add_done_callback(lambda done: _let_go(done, lease))
            raise

    def _given(self, value: Value) -> bytes | bytearray | memoryview | Mapping[str, Array]:
        given = self._fitted(value)
        if self.pool.mirror is not None:
            self.pool.mirror(given if isinstance(given, Mapping) else bytes(given))
        return given

    def _fitted(self, value: Value) -> bytes | bytearray | memoryview | Mapping[str, Array]:
        if self.fits is not None:
            return _feeds(self.fits, value)
        if not isinstance(value, bytes | bytearray | memoryview):
            raise InputError(f"agent `{self.pool.name}`: takes bytes, got `{type(value).__name__}`")
        return value


def _let_go(job: "Future[Loan]", lease: Lease[Agent]) -> None:
    if job.cancelled() or job.exception() is not None:
        lease.release()
    else:
        job.result().abandon()


class ModelStep:
    """One model of a pool. take: the outputs that go on, by name; default all. name: default the pool's.

    batcher: of that pool, where requests that meet are to be computed together.
    """

    def __init__(
        self,
        pool: Pool[Session],
        *,
        take: str | Sequence[str] | None = None,
        name: str | None = None,
        batcher: Batcher | None = None,
    ) -> None:
        self.name = name or pool.name
        self._batcher = batcher
        self._pool = pool
        known = [spec.name for spec in pool.first.outputs]
        self._take = known if take is None else [take] if isinstance(take, str) else list(take)
        for output in self._take:
            if output not in known:
                raise SettingError(f"step `{self.name}`: no output `{output}`, outputs: {', '.join(known)}")

    @property
    def takes(self) -> EdgeType:
        return TensorsType(self._pool.first.inputs)

    def bind(self, given: EdgeType) -> "ModelStage":
        session = self._pool.first
        fits = fit_tensors(given, session.inputs)
        variants = session.manifest.variants
        matching = [[p.spec for p in v.outputs] for v in variants if _fits(given, [p.spec for p in v.inputs])]
        given_shapes = _shapes(given, fits)
        if (not matching or -1 in chain(*given_shapes)) and session.fitting.may_serve(given_shapes):
            loosened = [v for v in variants if _fits(given, session.fitting.loosened(v))]
            matching += [session.fitting.loosened_outputs(v) for v in loosened]
        if not matching:
            raise SettingError(f"takes {self.takes}, in none of these sizes together")
        specs = {spec.name: spec for spec in merged_specs(matching)}
        gives = TensorsType(tuple(specs[name] for name in self._take))
        return ModelStage(gives, self._pool, fits, tuple(self._take), self._batcher)


class ModelStage(NamedTuple):
    gives: EdgeType
    pool: Pool[Session]
    fits: tuple[Fit, ...]
    take: tuple[str, ...]
    batcher: Batcher | None = None

    async def run(self, value: Value, _how: How) -> Value:
        feeds = _feeds(self.fits, value)
        if self.pool.mirror is not None:
            self.pool.mirror(feeds)
        if self.batcher is not None:
            return self._taken(await self.batcher.run(feeds))
        return self._taken(await self.pool.run(lambda session: session.run(feeds)))

    async def run_loan(self, loan: Loan) -> Value:
        """As `run`, with tensors in an agent's memory, which is free again as soon as they are copied.

        Where the request may have to wait for others they are copied first: the agent has other requests.
        """
        try:
            if self.pool.mirror is not None:
                return await self.run(await loan.copied(), How())
            if self.batcher is None:
                return self._taken(await self.pool.run(lambda session: self._run_loan(session, loan)))
            if self.batcher.may_wait:
                return self._taken(await self.batcher.run(_feeds(self.fits, await loan.copied())))
            return self._taken(await self.batcher.run_alone(lambda session: self._run_loan(session, loan)))
        finally:
            loan.abandon()  # in vain, unless the work never began

    def _run_loan(self, session: Session, loan: Loan) -> dict[str, Array]:
        if not loan.claim():
            raise UnavailableError(f"model `{self.pool.name}`: the caller is gone")
        try:
            return session.run_copied(_feeds(self.fits, loan.tensors), loan.release)
        finally:
            loan.release()

    def _taken(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: outputs[name] for name in self.take}


def _feeds(fits: tuple[Fit, ...], value: Value) -> dict[str, Array]:
    tensors = tensors_of(value)
    return {fit.port: fit.of(tensors) for fit in fits}


def _shapes(given: EdgeType, fits: Sequence[Fit]) -> tuple[tuple[int, ...], ...]:
    """The shapes that the model will see, one a port."""
    known = {port.name: port.shape for port in given.ports} if isinstance(given, TensorsType) else {}
    return tuple((1, *known[fit.source]) if fit.adds_batch else known[fit.source] for fit in fits)


def _fits(given: EdgeType, wanted: Sequence[TensorSpec]) -> bool:
    try:
        fit_tensors(given, wanted)
    except SettingError:
        return False
    return True
