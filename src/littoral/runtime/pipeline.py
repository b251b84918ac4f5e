"""Pipelines: steps in a row, their edges checked at start-up, the time of each told with every answer.

Guests work in guest threads, so the stages of different requests overlap.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from littoral.clock import SYSTEM, Clock
from littoral.errors import DeadlineError, SettingError
from littoral.runtime.edges import EdgeType, TensorsType, Value
from littoral.runtime.guest_steps import AgentStage, Loan, ModelStage
from littoral.runtime.step import How, Stage, Step

__all__ = ["Answer", "Edge", "Pipeline"]


class Answer(NamedTuple):
    value: Value
    how: How


class Edge(NamedTuple):
    """One bound step: its name in `how`, and the types of what it is given and gives."""

    name: str
    takes: EdgeType
    gives: EdgeType


class Pipeline:
    """Steps bound to each other.

    node: goes into every `how`. Raises SettingError naming the two steps of an edge that does not fit, and their types.
    """

    def __init__(self, name: str, steps: Sequence[Step], *, node: str = "", clock: Clock = SYSTEM) -> None:
        if not steps:
            raise SettingError(f"pipeline `{name}` has no steps")
        self.name = name
        self.takes: EdgeType = steps[0].takes
        self._node = node
        self._clock = clock
        self._stages = _bind(name, steps)
        self.gives: EdgeType = self._stages[-1].stage.gives

    @property
    def edges(self) -> list[Edge]:
        """The steps in order, each with what it is given and gives."""
        given = [self.takes, *(bound.stage.gives for bound in self._stages)]
        return [Edge(b.name, takes, b.stage.gives) for b, takes in zip(self._stages, given, strict=False)]

    async def run(self, value: Value, *, deadline_ms: float | None = None) -> Answer:
        """The last step's value, and how it was made.

        Raises what a step raises (InputError, UnavailableError, SandboxError …), and DeadlineError after `deadline_ms`.
        """
        how = How(node=self._node)
        try:
            async with asyncio.timeout(None if deadline_ms is None else deadline_ms / 1000) as limit:
                return Answer(await self._run(value, how), how)
        except TimeoutError as error:
            if not limit.expired():
                raise
            done = len(how.stages)
            raise DeadlineError(
                f"pipeline `{self.name}`: no answer in {deadline_ms:g} ms, at step `{self._stages[done].name}`"
            ) from error

    async def _run(self, value: Value, how: How) -> Value:
        loan: Loan | None = None
        for name, stage, is_lending in self._stages:
            began = self._clock.monotonic()
            if loan is not None and isinstance(stage, ModelStage):
                value, loan = await stage.run_loan(loan), None
            elif is_lending and isinstance(stage, AgentStage):
                loan = await stage.lend(value)
            else:
                value = await stage.run(value, how)
            how.stages[name] = round((self._clock.monotonic() - began) * 1000, 3)
        return value


class _Bound(NamedTuple):
    """is_lending: the next stage copies straight from this one's sandbox."""

    name: str
    stage: Stage
    is_lending: bool


def _bind(pipeline: str, steps: Sequence[Step]) -> list[_Bound]:
    stages: list[Stage] = []
    given, giver = steps[0].takes, "its input"
    for step in steps:
        try:
            stages.append(step.bind(given))
        except SettingError as error:
            raise SettingError(
                f"pipeline `{pipeline}`: {giver} gives {given}, step `{step.name}` {error.message}", hint=error.hint
            ) from error
        given, giver = stages[-1].gives, f"step `{step.name}`"
    return [
        _Bound(name, stage, _is_lending(stage, following))
        for name, stage, following in zip(_names(steps), stages, [*stages[1:], None], strict=True)
    ]


def _is_lending(stage: Stage, following: Stage | None) -> bool:
    return isinstance(stage, AgentStage) and isinstance(stage.gives, TensorsType) and isinstance(following, ModelStage)


def _names(steps: Sequence[Step]) -> list[str]:
    """Step names, with a number where one comes again."""
    names: list[str] = []
    for step in steps:
        count = 1 + sum(earlier.name == step.name for earlier in steps[: len(names)])
        names.append(step.name if count == 1 else f"{step.name} {count}")
    return names
