"""From the program to addresses: what lives how long, what aliases what, where constants lie."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.kernels import OVERREAD_BYTES
from littoral.compiler.plan.arena import FIRST_ADDRESS, Buffer, aligned, place
from littoral.compiler.plan.program import Call, EndLoop, Loop, Moving, Program
from littoral.compiler.plan.steps import Argument, Part, Scratch, Weights, Zeros
from littoral.errors import ShapeError

__all__ = ["Address", "Layout", "lay_out", "lay_out_together"]

PAGE_BYTES = 65536
MEMORY_BYTES_MAX = 1 << 32


class Address(NamedTuple):
    """A fixed place, or inside a loop the place of run 0 and the bytes from run to run."""

    at: int
    step: int = 0
    loop: Loop | None = None


@dataclass
class Layout:
    """Where everything lies. constants: the bytes of the data segment, which starts at `constants_at`.

    buffers: what the arena holds, and from which item of the program to which.
    """

    program: Program
    constants: bytes
    constants_at: int
    arena_at: int
    arena_bytes: int
    pages: int
    addresses: dict[Hashable, int] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)

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
    return lay_out_together([(graph, program)])[0]


def lay_out_together(parts: Sequence[tuple[Graph, Program]]) -> list[Layout]:
    """Programs of which one runs at a time: they share their constants, and their arenas lie over each other.

    Raises ShapeError where they need more than 4 GiB.
    """
    constants = _Constants()
    zeros = max(_take_constants(constants, graph, program) for graph, program in parts)
    buffers = [_buffers(graph, program) for graph, program in parts]
    placed = [place(found) for found in buffers]
    arena_bytes = max(size for _, size in placed)
    zeros_at = aligned(max(FIRST_ADDRESS + len(constants.data) + OVERREAD_BYTES, zeros))
    arena_at = zeros_at + aligned(zeros + OVERREAD_BYTES)
    end = arena_at + arena_bytes + OVERREAD_BYTES
    if end > MEMORY_BYTES_MAX:
        raise ShapeError(f"the model needs {end} bytes of memory, at most {MEMORY_BYTES_MAX}")
    pages, data = -(-end // PAGE_BYTES), bytes(constants.data)
    shared: dict[Hashable, int] = {key: FIRST_ADDRESS + at for key, at in constants.offsets.items()}
    shared["zeros"] = zeros_at
    return [
        Layout(
            program,
            data,
            FIRST_ADDRESS,
            arena_at,
            arena_bytes,
            pages,
            shared | {key: arena_at + at for key, at in offsets.items()},
            found,
        )
        for (_, program), (offsets, _), found in zip(parts, placed, buffers, strict=True)
    ]


def _take_constants(constants: "_Constants", graph: Graph, program: Program) -> int:
    """Notes every constant of a program; gives the bytes of zeros that it reads."""
    arguments = [a for call in program.calls() for step in call.lowered.steps for a in step.every_argument]
    for argument in (*arguments, *graph.results()):
        constants.take(argument, program)
    for item in program.items:
        if not isinstance(item, Call):  # a call's constants are packed for its kernel
            for value in item.reads:
                constants.take(value, program)
    return max((a.bytes for a in arguments if isinstance(a, Zeros)), default=0)


class _Constants:
    """The data segment: each content once. A constant that no kernel reads as it is has no place there."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.offsets: dict[Hashable, int] = {}
        self._known: dict[bytes, int] = {}

    def take(self, argument: Argument, program: Program) -> None:
        if isinstance(argument, Part):
            argument = argument.of
        if isinstance(argument, Value):
            argument = program.root(argument)
            while argument in program.moving:
                argument = program.root(program.moving[argument].array)
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
            assert all(step.has_room for step in item.lowered.steps), f"{item.lowered.label}: scratch is too small"
            for argument in (a for step in item.lowered.steps for a in step.every_argument):
                scratch = argument.of if isinstance(argument, Part) else argument
                if isinstance(scratch, Scratch):
                    lives.extend(scratch, scratch.bytes, i)
        elif isinstance(item, EndLoop):
            lives.close(program.items.index(item.loop), i)
    for value in graph.results():
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
