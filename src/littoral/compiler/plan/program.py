"""The program: every node's calls in one line, with loops and branches opened up in place.

Bodies of control flow are laid out between the calls around them. Inputs of a body are aliases of what comes from
outside, buffers of their own where they are carried from run to run, or move through an array run by run.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.ops import Branch, Repeat
from littoral.compiler.plan.lowering import lower
from littoral.compiler.plan.steps import Lowered
from littoral.compiler.plan.tuning import RULES, Tuning

__all__ = ["Call", "Copy", "Else", "EndIf", "EndLoop", "If", "Item", "Loop", "Moving", "Program", "program_of"]


class Moving(NamedTuple):
    """Element i of an array along axis 0, in run i of a loop."""

    array: Value
    loop: "Loop"


@dataclass(frozen=True, eq=False)
class Call:
    """The steps of one node."""

    lowered: Lowered
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Copy:
    """A whole tensor, from one buffer to another."""

    source: Value
    target: Value | Moving

    @property
    def reads(self) -> tuple[Value, ...]:
        return (self.source,)

    @property
    def writes(self) -> tuple[Value, ...]:
        return (self.target.array if isinstance(self.target, Moving) else self.target,)


@dataclass(frozen=True, eq=False)
class Loop:
    """What follows, up to its end, runs `count` times. index: where the number of the run is kept (int64)."""

    count: int
    index: Value
    reads: tuple[Value, ...] = ()
    writes: tuple[Value, ...] = ()


@dataclass(frozen=True, eq=False)
class EndLoop:
    """goes_on: a bool that ends the loop where it is false."""

    loop: Loop
    goes_on: Value | None = None
    writes: tuple[Value, ...] = ()

    @property
    def reads(self) -> tuple[Value, ...]:
        return () if self.goes_on is None else (self.goes_on,)


@dataclass(frozen=True, eq=False)
class If:
    """What follows runs where the condition holds, up to `Else`."""

    condition: Value
    writes: tuple[Value, ...] = ()

    @property
    def reads(self) -> tuple[Value, ...]:
        return (self.condition,)


@dataclass(frozen=True, eq=False)
class Else:
    reads: tuple[Value, ...] = ()
    writes: tuple[Value, ...] = ()


@dataclass(frozen=True, eq=False)
class EndIf:
    reads: tuple[Value, ...] = ()
    writes: tuple[Value, ...] = ()


Item = Call | Copy | Loop | EndLoop | If | Else | EndIf


@dataclass
class Program:
    """tuning: what the kernels' forms are chosen by. items in order; aliases: values in another one's buffer; moving:
    values that are an element of an array.
    """

    tuning: Tuning
    items: list[Item] = field(default_factory=list)
    aliases: dict[Value, Value] = field(default_factory=dict)
    moving: dict[Value, Moving] = field(default_factory=dict)

    def root(self, value: Value) -> Value:
        """The value whose buffer another one shares."""
        while value in self.aliases:
            value = self.aliases[value]
        return value

    def calls(self) -> Iterator[Call]:
        return (item for item in self.items if isinstance(item, Call))

    def layers(self) -> Iterator[Call]:
        """Calls that do something."""
        return (call for call in self.calls() if call.lowered.steps)

    @property
    def is_straight(self) -> bool:
        """Whether there is no loop and no branch."""
        return all(isinstance(item, Call) for item in self.items)


def program_of(graph: Graph, tuning: Tuning = RULES) -> Program:
    """The program, its kernels in the forms that a tuning table has for them.

    Raises UnsupportedOperatorError for element types that no kernel holds.
    """
    program = Program(tuning)
    _add_graph(program, graph)
    return program


def _add_graph(program: Program, graph: Graph) -> None:
    for node in graph.nodes:
        if isinstance(node.op, Repeat):
            _add_repeat(program, node, node.op)
        elif isinstance(node.op, Branch):
            _add_branch(program, node, node.op)
        else:
            found = lower(node, program.tuning)
            if found.alias_of is not None:
                program.aliases[node.outputs[0]] = found.alias_of
            program.items.append(Call(found, node.inputs, node.outputs))


def _add_repeat(program: Program, node: Node, op: Repeat) -> None:
    index, *body_inputs = op.body.inputs
    carried, after = body_inputs[: op.carried], op.carried + op.scanned
    loop = Loop(op.count, index, writes=(index, *node.outputs[op.carried :]))
    program.items += [Copy(given, into) for given, into in zip(node.inputs, carried, strict=False)]
    for given, inside in zip(node.inputs[op.carried : after], body_inputs[op.carried : after], strict=True):
        program.moving[inside] = Moving(given, loop)
    program.aliases.update(zip(body_inputs[after:], node.inputs[after:], strict=True))
    program.items.append(loop)
    _add_graph(program, op.body)
    results = [value for _, value in op.body.outputs]
    goes_on = results.pop(0) if op.stops else None
    for value, target in zip(results[op.carried :], node.outputs[op.carried :], strict=True):
        program.items.append(Copy(value, Moving(target, loop)))
    _carry(program, results[: op.carried], carried)
    program.items.append(EndLoop(loop, goes_on))
    program.aliases.update(zip(node.outputs[: op.carried], carried, strict=True))


def _carry(program: Program, results: list[Value], carried: list[Value]) -> None:
    """Results become the next run's carried values; one that is itself a carried value goes through a copy."""
    staged = []
    for value, target in zip(results, carried, strict=True):
        if program.root(value) is target:
            continue
        if program.root(value) in carried:
            copy = Value(value.type, f"{value.name}.next")
            program.items.append(Copy(value, copy))
            staged.append(Copy(copy, target))
        else:
            staged.append(Copy(value, target))
    program.items += staged


def _add_branch(program: Program, node: Node, op: Branch) -> None:
    condition, *given = node.inputs
    program.items.append(If(condition, writes=node.outputs))
    for body, end in ((op.then, Else()), (op.otherwise, EndIf())):
        program.aliases.update(zip(body.inputs, given, strict=True))
        _add_graph(program, body)
        program.items += [Copy(value, out) for (_, value), out in zip(body.outputs, node.outputs, strict=True)]
        program.items.append(end)
