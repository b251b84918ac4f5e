"""Control flow: graphs inside the graph.

A body reads its own inputs and constants, nothing else. Bodies compare by identity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from littoral.compiler.ir.graph import Graph, Op
from littoral.compiler.ir.reference import interpret
from littoral.compiler.ir.types import TensorType
from littoral.errors import InputError, ShapeError
from littoral.tensors import DTYPES, Array

__all__ = ["Branch", "Repeat", "Require", "bodies_of"]


NODE_WORK = 1 << 13  # elements that take as long as one small node of an interpreted body


def _run(body: Graph, inputs: Sequence[Array]) -> list[Array]:
    feeds = {v.name: a for v, a in zip(body.inputs, inputs, strict=True)}
    return list(interpret(body, feeds).values())


@dataclass(frozen=True, eq=False)
class Repeat(Op):
    """`body` runs `count` times, or until it says stop.

    Inputs: `carried` first values, then `scanned` arrays (element i of axis 0 goes into run i), then what stays the
    same. Body inputs: the number of the run (int64), carried, elements, the rest. Body outputs: whether to go on (bool,
    only if `stops`), carried, then what each run adds to a result along a new axis 0; what runs that did not take place
    would have added may be anything.
    """

    name: ClassVar[str] = "repeat"
    body: Graph
    count: int
    carried: int
    scanned: int = 0
    stops: bool = False

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        wanted = [v.type for v in self.body.inputs[1:]]
        for i, (given, want) in enumerate(zip(inputs, wanted, strict=True)):
            scans = self.carried <= i < self.carried + self.scanned
            shape = given.shape[1:] if scans else given.shape
            if TensorType(given.dtype, shape) != want or (scans and given.shape[0] != self.count):
                raise ShapeError(f"body input {i} is {want}, given is {given}")
        results = [v.type for _, v in self.body.outputs[self.stops :]]
        if any(a != b for a, b in zip(results[: self.carried], wanted[: self.carried], strict=True)):
            raise ShapeError("a carried value changes its type from run to run")
        added = [TensorType(t.dtype, (self.count, *t.shape)) for t in results[self.carried :]]
        return (*results[: self.carried], *added)

    def work(self, *inputs: TensorType) -> int:
        return super().work(*inputs) + self.count * _work_of(self.body)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        state = list(inputs[: self.carried])
        scanned = inputs[self.carried : self.carried + self.scanned]
        rest = inputs[self.carried + self.scanned :]
        added: list[list[Array]] = [[] for _ in self.body.outputs[self.stops + self.carried :]]
        for i in range(self.count):
            results = _run(self.body, [np.asarray(i, np.int64), *state, *(s[i] for s in scanned), *rest])
            state = results[self.stops : self.stops + self.carried]
            for line, result in zip(added, results[self.stops + self.carried :], strict=True):
                line.append(result)
            if self.stops and not results[0]:
                break
        types = self.infer(*(TensorType(str(a.dtype), a.shape) for a in inputs))[self.carried :]
        return (*state, *(_stacked(line, t) for line, t in zip(added, types, strict=True)))

    def text(self) -> str:
        return f"{self.count} times, {len(self.body.nodes)} nodes"


def _stacked(line: list[Array], type_: TensorType) -> Array:
    found = np.zeros(type_.shape, DTYPES[type_.dtype].storage)
    for i, added in enumerate(line):
        found[i] = added
    return found


@dataclass(frozen=True)
class Require(Op):
    """The second input, where the first (bool) is true; where it is not, the run ends with a trap."""

    name: ClassVar[str] = "require"
    why: str

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        return (inputs[1],)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        if not inputs[0].reshape(-1)[0]:
            raise InputError(self.why)
        return (inputs[1],)


@dataclass(frozen=True, eq=False)
class Branch(Op):
    """One of two bodies, by the first input (bool); the other inputs go to both."""

    name: ClassVar[str] = "branch"
    then: Graph
    otherwise: Graph

    def infer(self, *_: TensorType) -> tuple[TensorType, ...]:
        types = [tuple(v.type for _, v in body.outputs) for body in (self.then, self.otherwise)]
        if types[0] != types[1]:
            raise ShapeError("the two branches give different types")
        return types[0]

    def work(self, *inputs: TensorType) -> int:
        return super().work(*inputs) + _work_of(self.then) + _work_of(self.otherwise)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        return tuple(_run(self.then if inputs[0].reshape(-1)[0] else self.otherwise, inputs[1:]))

    def text(self) -> str:
        return f"{len(self.then.nodes)} or {len(self.otherwise.nodes)} nodes"


def _work_of(body: Graph) -> int:
    return sum(NODE_WORK + node.op.work(*(v.type for v in node.inputs)) for node in body.nodes)


def bodies_of(op: Op) -> tuple[Graph, ...]:
    """The graphs inside an operation."""
    if isinstance(op, Repeat):
        return (op.body,)
    return (op.then, op.otherwise) if isinstance(op, Branch) else ()
