"""From lowered nodes to addresses: what lives how long, what aliases what, where constants lie."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.kernels import OVERREAD_BYTES
from littoral.compiler.plan.arena import FIRST_ADDRESS, Buffer, aligned, place
from littoral.compiler.plan.steps import Argument, Lowered, Part, Scratch, Weights, Zeros
from littoral.errors import ShapeError

__all__ = ["Layout", "lay_out"]

PAGE_BYTES = 65536
MEMORY_BYTES_MAX = 1 << 32


@dataclass
class Layout:
    """Where everything lies. constants: the bytes of the data segment, which starts at `constants_at`."""

    constants: bytes
    constants_at: int
    arena_at: int
    arena_bytes: int
    pages: int
    addresses: dict[Hashable, int] = field(default_factory=dict)
    aliases: dict[Value, Value] = field(default_factory=dict)

    def address(self, argument: Argument) -> int:
        match argument:
            case Part():
                return self.address(argument.of) + argument.offset
            case Value():
                return self.addresses[root(argument, self.aliases)]
            case Zeros():
                return self.addresses["zeros"]
            case _:
                return self.addresses[argument]


def root(value: Value, aliases: dict[Value, Value]) -> Value:
    """The value whose buffer another one shares."""
    while value in aliases:
        value = aliases[value]
    return value


def lay_out(graph: Graph, lowered: Sequence[Lowered]) -> Layout:
    """Raises ShapeError where the model needs more than 4 GiB."""
    aliases = {
        node.outputs[0]: found.alias_of
        for node, found in zip(graph.nodes, lowered, strict=True)
        if found.alias_of is not None
    }
    constants = _Constants()
    for found in lowered:
        for step in found.steps:
            for argument in step.arguments:
                constants.take(argument, aliases)
    for _, value in graph.outputs:
        constants.take(value, aliases)
    arguments = (a for found in lowered for step in found.steps for a in step.arguments)
    zeros = max((a.bytes for a in arguments if isinstance(a, Zeros)), default=0)
    offsets, arena_bytes = place(_buffers(graph, lowered, aliases))
    zeros_at = aligned(FIRST_ADDRESS + len(constants.data) + OVERREAD_BYTES)
    arena_at = zeros_at + aligned(zeros + OVERREAD_BYTES)
    end = arena_at + arena_bytes + OVERREAD_BYTES
    if end > MEMORY_BYTES_MAX:
        raise ShapeError(f"the model needs {end} bytes of memory, at most {MEMORY_BYTES_MAX}")
    addresses: dict[Hashable, int] = {key: FIRST_ADDRESS + at for key, at in constants.offsets.items()}
    addresses |= {key: arena_at + at for key, at in offsets.items()}
    addresses["zeros"] = zeros_at
    return Layout(
        bytes(constants.data), FIRST_ADDRESS, arena_at, arena_bytes, -(-end // PAGE_BYTES), addresses, aliases
    )


class _Constants:
    """The data segment: each content once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.offsets: dict[Hashable, int] = {}
        self._known: dict[bytes, int] = {}

    def take(self, argument: Argument, aliases: dict[Value, Value]) -> None:
        if isinstance(argument, Part):
            argument = argument.of
        if isinstance(argument, Value):
            argument = root(argument, aliases)
        if argument in self.offsets or not isinstance(argument, Value | Weights) or argument.data is None:
            return
        content = np.ascontiguousarray(argument.data).tobytes()
        if content not in self._known:
            self.data += bytes(aligned(len(self.data)) - len(self.data))
            self._known[content] = len(self.data)
            self.data += content
        self.offsets[argument] = self._known[content]


def _buffers(graph: Graph, lowered: Sequence[Lowered], aliases: dict[Value, Value]) -> list[Buffer]:
    """Lives of inputs (from the start), values, scratch (its node) and outputs (to the end)."""
    end = len(graph.nodes)
    first: dict[Hashable, int] = dict.fromkeys(graph.inputs, -1)
    last: dict[Hashable, int] = dict.fromkeys(graph.inputs, -1)
    sizes: dict[Hashable, int] = {v: v.type.bytes for v in graph.inputs}
    for i, (node, found) in enumerate(zip(graph.nodes, lowered, strict=True)):
        for value in (*node.outputs, *node.inputs):
            base = root(value, aliases)
            if base.data is None:
                first.setdefault(base, i)
                last[base] = i
                sizes[base] = base.type.bytes
        for step in found.steps:
            for argument in step.arguments:
                scratch = argument.of if isinstance(argument, Part) else argument
                if isinstance(scratch, Scratch):
                    first[scratch] = last[scratch] = i
                    sizes[scratch] = scratch.bytes
    for _, value in graph.outputs:
        base = root(value, aliases)
        if base.data is None:
            last[base] = end
    return [Buffer(key, sizes[key], first[key], last[key]) for key in first]
