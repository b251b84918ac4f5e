"""`for_each`: the same steps for every row of the tensors given, several at a time, and the results as rows again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from littoral.clock import SYSTEM, Clock
from littoral.errors import InputError, SettingError
from littoral.runtime.edges import HITS, HITS_OF_EACH, EdgeType, TensorsType, Value, tensors_of
from littoral.runtime.graph import Graph
from littoral.runtime.sources import Placed
from littoral.runtime.step import How, Step
from littoral.tensors import DTYPES, Array, TensorSpec

__all__ = ["ITEMS_MAX", "PARALLEL", "ForEachStage", "ForEachStep"]

ITEMS_MAX = 64
PARALLEL = 4


class ForEachStep:
    """steps: what is done with each item; their names stand behind this step's in `how`.

    items_max: more are refused. parallel: items at one time.
    """

    def __init__(
        self,
        steps: Sequence[Step | Placed],
        *,
        items_max: int = ITEMS_MAX,
        parallel: int = PARALLEL,
        name: str = "for_each",
        clock: Clock = SYSTEM,
    ) -> None:
        self.name = name
        self._steps = steps
        self._items_max = items_max
        self._parallel = parallel
        self._clock = clock

    @property
    def takes(self) -> EdgeType:
        first = self._steps[0]
        takes = (first.step if isinstance(first, Placed) else first).takes
        ports = takes.ports if isinstance(takes, TensorsType) else ()
        return TensorsType(tuple(TensorSpec(port.name, port.dtype, (-1, *port.shape)) for port in ports))

    def bind(self, given: EdgeType) -> "ForEachStage":
        if not isinstance(given, TensorsType) or any(not port.shape for port in given.ports):
            raise SettingError("takes tensors with a row for each item")
        if len(counts := {port.shape[0] for port in given.ports} - {-1}) > 1:
            raise SettingError(f"takes tensors of as many rows, not of {' and '.join(map(str, sorted(counts)))}")
        count = counts.pop() if counts else -1
        if count > self._items_max:
            raise SettingError(f"takes at most {self._items_max} rows")
        item = TensorsType(tuple(TensorSpec(port.name, port.dtype, port.shape[1:]) for port in given.ports))
        graph = Graph("for each item", self._steps, given=item, clock=self._clock)
        return ForEachStage(_rows_of(graph.gives, count), graph, self.name, self._items_max, self._parallel)


def _rows_of(gives: EdgeType, count: int) -> EdgeType:
    if gives == HITS:
        return HITS_OF_EACH
    if not isinstance(gives, TensorsType):
        raise SettingError(f"takes steps that give tensors or hits, these give {gives}")
    return TensorsType(tuple(TensorSpec(port.name, port.dtype, (count, *port.shape)) for port in gives.ports))


class ForEachStage(NamedTuple):
    gives: EdgeType
    graph: Graph
    name: str
    items_max: int
    parallel: int

    async def run(self, value: Value, how: How) -> Value:
        """Results in the order of the items. Raises InputError for too many, and what the first to fail raises."""
        tensors = tensors_of(value)
        count = _count(self.name, tensors)
        if count > self.items_max:
            raise InputError(f"step `{self.name}`: {count} items, at most {self.items_max}")
        hows = [How(node=how.node) for _ in range(count)]

        async def run_item(index: int) -> Value:
            return await self.graph.run({name: array[index] for name, array in tensors.items()}, hows[index])

        results = await _in_turn(run_item, count, self.parallel)
        for inner in self.graph.names:
            how.stages[f"{self.name}.{inner}"] = round(sum(item.stages.get(inner, 0.0) for item in hows), 3)
        how.search = next((item.search for item in hows if item.search), how.search)
        if told := [one for item in hows if item.placement for one in item.placement]:
            how.placement = [*(how.placement or []), *_slowest(told)]
        return results if self.gives == HITS_OF_EACH else self._stacked([tensors_of(result) for result in results])

    def _stacked(self, results: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        assert isinstance(self.gives, TensorsType)
        return {port.name: self._rows(port, [result[port.name] for result in results]) for port in self.gives.ports}

    def _rows(self, port: TensorSpec, arrays: Sequence[Array]) -> Array:
        if not arrays:
            return np.zeros((0, *(max(0, size) for size in port.shape[1:])), DTYPES[port.dtype].storage)
        shapes = list(dict.fromkeys(array.shape for array in arrays))
        if len(shapes) > 1:
            raise InputError(
                f"step `{self.name}`: items give `{port.name}` of shapes {list(shapes[0])} and {list(shapes[1])}"
            )
        return np.stack(arrays)


def _slowest(told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the items whose step a node did, the one that took longest, with their count."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in told:
        found.setdefault((one["step"], one["node"]), []).append(one)
    return [max(alike, key=lambda one: one["taken_ms"]) | {"items": len(alike)} for alike in found.values()]


def _count(name: str, tensors: Mapping[str, Array]) -> int:
    counts = {array.shape[0] for array in tensors.values()}
    if len(counts) != 1:
        raise InputError(f"step `{name}`: tensors of {' and '.join(map(str, sorted(counts)))} rows")
    return int(counts.pop())


async def _in_turn(run: Callable[[int], Awaitable[Value]], count: int, parallel: int) -> list[Value]:
    """Results in order, `parallel` at a time; the first error ends the rest."""
    results: dict[int, Value] = {}
    waiting = iter(range(count))

    async def work() -> None:
        for index in waiting:
            results[index] = await run(index)

    tasks = [asyncio.create_task(work()) for _ in range(min(parallel, count))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [results[index] for index in range(count)]
