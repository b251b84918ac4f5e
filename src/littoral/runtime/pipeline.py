"""Pipelines: steps as a graph, its edges checked at start-up, the time of each step told with every answer.

Guests work in guest threads, so the stages of different requests overlap, and those branches of one too.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import NamedTuple

from littoral.clock import SYSTEM, Clock
from littoral.errors import DeadlineError
from littoral.runtime.admission import Admission
from littoral.runtime.call import Call, calling
from littoral.runtime.edges import EdgeType, Value
from littoral.runtime.gate import Gate
from littoral.runtime.graph import Edge, Graph
from littoral.runtime.sources import Placed
from littoral.runtime.step import How, Step

__all__ = ["Answer", "Edge", "Pipeline", "Placed"]


class Answer(NamedTuple):
    value: Value
    how: How


class Pipeline:
    """Steps bound to each other; a step without a place of its own takes what the one before it gives.

    node: goes into every `how`. admission: how many requests at a time; default as many as keep its guests busy.
    gate: of the tenant that it belongs to, if it does.
    Raises SettingError naming the steps of an edge that does not fit, and their types.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Step | Placed],
        *,
        node: str = "",
        admission: Admission | None = None,
        gate: Gate | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.name = name
        self.admission = admission or Admission(f"pipeline `{name}`", clock=clock)
        self._gate = gate
        self._node = node
        self._clock = clock
        self._graph = Graph(f"pipeline `{name}`", steps, clock=clock)

    @property
    def takes(self) -> EdgeType:
        return self._graph.takes

    @property
    def gives(self) -> EdgeType:
        """The type of what the last step gives."""
        return self._graph.gives

    @property
    def edges(self) -> list[Edge]:
        """The steps in order, each with what it is given and gives."""
        return self._graph.edges

    async def run(self, value: Value, *, deadline_ms: float | None = None, priority: int = 0) -> Answer:
        """The last step's value, and how it was made. priority: 0 … 9, higher goes first where calls wait.

        Raises what a step raises (InputError, UnavailableError, SandboxError …), UnavailableError where too many
        requests are being answered, and DeadlineError after `deadline_ms`.
        """
        how = How(node=self._node)
        deadline_s = None if deadline_ms is None else self._clock.monotonic() + deadline_ms / 1000
        tenant = "" if self._gate is None else self._gate.tenant
        try:
            with self.admission.admitted(Call(deadline_s, priority, tenant=tenant)) as call, calling(call):
                async with (
                    asyncio.timeout(None if deadline_ms is None else deadline_ms / 1000) as limit,
                    contextlib.nullcontext() if self._gate is None else self._gate.entered(call),
                ):
                    return Answer(await self._graph.run(value, how), how)
        except TimeoutError as error:
            if not limit.expired():
                raise
            at = next((name for name in self._graph.names if name not in how.stages), self._graph.names[-1])
            raise DeadlineError(f"pipeline `{self.name}`: no answer in {deadline_ms:g} ms, at step `{at}`") from error
