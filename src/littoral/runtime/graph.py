"""Steps bound to each other, and run: rows one after the other, rows that do not need each other at the same time.

A row is a stretch of steps each of which is given all of what the one before it gives, and nobody else is. Within a row
an agent lends its tensors to the model behind it (`guest_steps.Loan`).
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from littoral.clock import SYSTEM, Clock
from littoral.errors import SettingError
from littoral.runtime.edges import EdgeType, TensorsType, Value
from littoral.runtime.guest_steps import AgentStage, Loan, ModelStage
from littoral.runtime.sources import INPUT, Placed, Take, gathered, input_type, joined_type, step_names, takes_of
from littoral.runtime.step import How, Stage, Step
from littoral.telemetry import NOTHING, recorded_trace, span

__all__ = ["Edge", "Graph"]


class Edge(NamedTuple):
    """One bound step: its name in `how`, the types of what it is given and gives, and the steps it is given that by."""

    name: str
    takes: EdgeType
    gives: EdgeType
    sources: tuple[str, ...]


class _Bound(NamedTuple):
    """is_lending: the next stage copies straight from this one's sandbox."""

    name: str
    stage: Stage
    is_lending: bool


class _Row(NamedTuple):
    """takes: what its first step is given. gives: index of its last step."""

    takes: tuple[Take, ...]
    gives: int
    stages: tuple[_Bound, ...]


class Graph:
    """label: opens every message. given: the type of the input; default what the steps that take it want.

    Raises SettingError naming the steps of an edge that does not fit, and their types.
    """

    def __init__(
        self, label: str, steps: Sequence[Step | Placed], *, given: EdgeType | None = None, clock: Clock = SYSTEM
    ) -> None:
        if not steps:
            raise SettingError(f"{label} has no steps")
        placed = [step if isinstance(step, Placed) else Placed(step) for step in steps]
        self._clock = clock
        try:
            self.names = step_names(placed)
        except SettingError as error:
            raise SettingError(f"{label}: {error.message}", hint=error.hint) from error
        takes = _takes(label, placed, self.names)
        self.takes: EdgeType = input_type(label, placed, takes) if given is None else given
        self.edges: list[Edge] = []
        stages: list[Stage] = []
        for place, taken in zip(placed, takes, strict=True):
            edge, stage = self._bind(label, place.step, taken)
            self.edges.append(edge)
            stages.append(stage)
        self.gives: EdgeType = stages[-1].gives
        self._rows = _rows(takes, [_Bound(*pair, False) for pair in zip(self.names, stages, strict=True)])

    def _bind(self, label: str, step: Step, takes: Sequence[Take]) -> tuple[Edge, Stage]:
        """The next step, bound to what those before it give."""
        name = self.names[len(self.edges)]
        try:
            given = joined_type(takes, self._type_of, self._called)
        except SettingError as error:
            raise SettingError(f"{label}: step `{name}`: {error.message}", hint=error.hint) from error
        givers = list(dict.fromkeys(take.giver for take in takes))
        try:
            stage = step.bind(given)
        except SettingError as error:
            told = ", ".join(f"{self._called(giver)} gives {self._type_of(giver)}" for giver in givers)
            raise SettingError(f"{label}: {told}, step `{name}` {error.message}", hint=error.hint) from error
        sources = tuple(self.names[giver] if giver >= 0 else INPUT for giver in givers)
        return Edge(name, given, stage.gives, sources), stage

    def _type_of(self, giver: int) -> EdgeType:
        return self.edges[giver].gives if giver >= 0 else self.takes

    def _called(self, giver: int) -> str:
        return f"step `{self.names[giver]}`" if giver >= 0 else "its input"

    async def run(self, value: Value, how: How) -> Value:
        """The last step's value; `how` gets the time of each step."""
        if len(self._rows) == 1:
            result = await self._run_row(self._rows[0], value, how)
        else:
            result = await self._run_rows(value, how)
        if list(how.stages) != self.names:
            how.stages = {name: how.stages[name] for name in _in_order(self.names, how.stages)}
        return result

    async def _run_rows(self, value: Value, how: How) -> Value:
        """Every row begins when those it takes from are done; the first error ends all."""
        tasks: dict[int, asyncio.Task[Value]] = {}
        try:
            for row in self._rows:
                tasks[row.gives] = asyncio.create_task(self._run_later(row, tasks, value, how))
            return await tasks[self._rows[-1].gives]
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _run_later(self, row: _Row, tasks: Mapping[int, "asyncio.Task[Value]"], value: Value, how: How) -> Value:
        needed = list(dict.fromkeys(take.giver for take in row.takes if take.giver >= 0))
        values = dict(zip(needed, await asyncio.gather(*(tasks[index] for index in needed)), strict=True))
        return await self._run_row(row, gathered(row.takes, lambda index: values.get(index, value)), how)

    async def _run_row(self, row: _Row, value: Value, how: How) -> Value:
        loan: Loan | None = None
        is_recorded = recorded_trace() is not None
        for name, stage, is_lending in row.stages:
            began = self._clock.monotonic()
            with span(f"step {name}") if is_recorded else NOTHING:
                if loan is not None and isinstance(stage, ModelStage):
                    value, loan = await stage.run_loan(loan), None
                elif is_lending and isinstance(stage, AgentStage):
                    loan = await stage.lend(value)
                else:
                    value = await stage.run(value, how)
            how.stages[name] = round((self._clock.monotonic() - began) * 1000, 3)
        return value


def _in_order(names: Sequence[str], stages: Mapping[str, float]) -> list[str]:
    """The keys of `stages` by step; what a step tells of its own steps (`each.embedder`) stands behind it."""
    rank = {name: i for i, name in enumerate(names)}
    return sorted(
        stages, key=lambda name: (rank.get(name, rank.get(name.partition(".")[0], len(rank))), name not in rank)
    )


def _takes(label: str, placed: Sequence[Placed], names: Sequence[str]) -> list[tuple[Take, ...]]:
    takes = []
    for index, place in enumerate(placed):
        try:
            takes.append(takes_of(index, place.source, names))
        except SettingError as error:
            raise SettingError(f"{label}: step `{names[index]}` {error.message}", hint=error.hint) from error
    used = {take.giver for taken in takes for take in taken}
    for index, name in enumerate(names[:-1]):
        if index not in used:
            raise SettingError(
                f"{label}: step `{name}` gives to nobody, and it is not the last",
                hint="name it in another step's `from`, or leave it out",
            )
    return takes


def _rows(takes: Sequence[tuple[Take, ...]], bounds: Sequence[_Bound]) -> list[_Row]:
    """Each step goes on with the row of the step it is given whole, where nobody else is given that."""
    takers: dict[int, int] = {}
    for taken in takes:
        for giver in {take.giver for take in taken}:
            takers[giver] = takers.get(giver, 0) + 1
    rows: dict[int, _Row] = {}
    for index, (taken, bound) in enumerate(zip(takes, bounds, strict=True)):
        giver = taken[0].giver
        if giver >= 0 and len(taken) == 1 and taken[0].is_whole and takers[giver] == 1:
            before = rows.pop(giver)
            last = before.stages[-1]
            last = last._replace(is_lending=_is_lending(last.stage, bound.stage))
            rows[index] = _Row(before.takes, index, (*before.stages[:-1], last, bound))
        else:
            rows[index] = _Row(taken, index, (bound,))
    return list(rows.values())


def _is_lending(stage: Stage, following: Stage) -> bool:
    return isinstance(stage, AgentStage) and isinstance(stage.gives, TensorsType) and isinstance(following, ModelStage)
