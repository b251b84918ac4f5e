"""From the program to addresses: what lives how long, what aliases what, where constants lie."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.kernels import OVERREAD_BYTES
from littoral.compiler.plan.arena import FIRST_ADDRESS, Buffer, aligned, place
from littoral.compiler.plan.program import Call, EndLoop, Loop, Moving, Program
from littoral.compiler.plan.steps import Argument, Part, Scratch, Weights, Zeros
from littoral.errors import ShapeError

__all__ = ["Address", "Layout", "lay_out"]

PAGE_BYTES = 65536
MEMORY_BYTES_MAX = 1 << 32


class Address(NamedTuple):
    """A fixed place, or inside a loop the place of run 0 and the bytes from run to run."""

    at: int
    step: int = 0
    loop: Loop | None = None


@dataclass
class Layout:
    """Where everything lies. constants: the bytes of the data segment, which starts at `constants_at`."""

    program: Program
    constants: bytes
    constants_at: int
    arena_at: int
    arena_bytes: int
    pages: int
    addresses: dict[Hashable, int] = field(default_factory=dict)

    def address(self, argument: Argument | Moving) -> Address:
        match argument:
            case Part():
                return self.address(argument.of)._replace(at=self.address(argument.of).at + argument.offset)
            case Moving():
                array = argument.array
                step = array.type.bytes // array.shape[0] if array.shape[0] else 0
                return Address(self.address(array).at, step, argument.loop)
            case Value():
                root = self.program.root(argument)
                if root in self.program.moving:
                    return self.address(self.program.moving[root])
                return Address(self.addresses[root])
            case Zeros():
                return Address(self.addresses["zeros"])
            case _:
                return Address(self.addresses[argument])


def lay_out(graph: Graph, program: Program) -> Layout:
    """Raises ShapeError where the model needs more than 4 GiB."""
    constants = _Constants(program)
    arguments = [a for call in program.calls() for step in call.lowered.steps for a in step.arguments]
    for argument in (*arguments, *(v for _, v in graph.outputs)):
        constants.take(argument)
    for item in program.items:
        for value in item.reads:
            constants.take(value)
    zeros = max((a.bytes for a in arguments if isinstance(a, Zeros)), default=0)
    offsets, arena_bytes = place(_buffers(graph, program))
    zeros_at = aligned(FIRST_ADDRESS + len(constants.data) + OVERREAD_BYTES)
    arena_at = zeros_at + aligned(zeros + OVERREAD_BYTES)
    end = arena_at + arena_bytes + OVERREAD_BYTES
    if end > MEMORY_BYTES_MAX:
        raise ShapeError(f"the model needs {end} bytes of memory, at most {MEMORY_BYTES_MAX}")
    addresses: dict[Hashable, int] = {key: FIRST_ADDRESS + at for key, at in constants.offsets.items()}
    addresses |= {key: arena_at + at for key, at in offsets.items()}
    addresses["zeros"] = zeros_at
    pages = -(-end // PAGE_BYTES)
    return Layout(program, bytes(constants.data), FIRST_ADDRESS, arena_at, arena_bytes, pages, addresses)


class _Constants:
    """The data segment: each content once. A constant that no kernel reads as it is has no place there."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.data = bytearray()
        self.offsets: dict[Hashable, int] = {}
        self._known: dict[bytes, int] = {}

    def take(self, argument: Argument) -> None:
        if isinstance(argument, Part):
            argument = argument.of
        if isinstance(argument, Value):
            argument = self.program.root(argument)
        if argument in self.offsets or not isinstance(argument, Value | Weights) or argument.data is None:
            return
        content = np.ascontiguousarray(argument.data).tobytes()
        if content not in self._known:
            self.data += bytes(aligned(len(self.data)) - len(self.data))
            self._known[content] = len(self.data)
            self.data += content
        self.offsets[argument] = self._known[content]


def _buffers(graph: Graph, program: Program) -> list[Buffer]:
    """Lives of inputs (from the start), values, scratch (its node) and outputs (to the end)."""
    lives = _Lives(program)
    for value in graph.inputs:
        lives.touch(value, -1)
    for i, item in enumerate(program.items):
        for value in (*item.writes, *item.reads):
            lives.touch(value, i)
        if isinstance(item, Call):
            for argument in (a for step in item.lowered.steps for a in step.arguments):
                scratch = argument.of if isinstance(argument, Part) else argument
                if isinstance(scratch, Scratch):
                    lives.extend(scratch, scratch.bytes, i)
        elif isinstance(item, EndLoop):
            lives.close(program.items.index(item.loop), i)
    for _, value in graph.outputs:
        lives.touch(value, len(program.items))
    return [Buffer(key, lives.sizes[key], lives.first[key], lives.last[key]) for key in lives.first]


class _Lives:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.first: dict[Hashable, int] = {}
        self.last: dict[Hashable, int] = {}
        self.sizes: dict[Hashable, int] = {}

    def touch(self, value: Value, at: int) -> None:
        root = self.program.root(value)
        while root in self.program.moving:
            root = self.program.root(self.program.moving[root].array)
        if root.data is None:
            self.extend(root, root.type.bytes, at)

    def extend(self, key: Hashable, size: int, at: int) -> None:
        self.first.setdefault(key, at)
        self.last[key] = max(self.last.get(key, at), at)
        self.sizes[key] = size

    def close(self, start: int, end: int) -> None:
        """What was there before a loop and is read in it stays to its end, for the next run."""
        for key, last in self.last.items():
            if self.first[key] <= start <= last < end:
                self.last[key] = end
