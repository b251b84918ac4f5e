"""Steps: the calls that a node becomes, before anything has an address."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from littoral.compiler.ir.graph import Value
from littoral.compiler.kernels import Kernel
from littoral.compiler.plan.problem import Problem
from littoral.tensors import Array

__all__ = ["Argument", "Lowered", "Part", "Repeated", "Ring", "Scratch", "Step", "Weights", "Zeros"]


@dataclass(frozen=True, eq=False)
class Weights:
    """Constant data in the layout that a kernel reads."""

    data: Array


@dataclass(frozen=True, eq=False)
class Scratch:
    """Memory that lives from the first to the last step of one node."""

    bytes: int


@dataclass(frozen=True)
class Zeros:
    """Memory that is zero and stays so."""

    bytes: int


@dataclass(frozen=True)
class Part:
    """A place inside a buffer."""

    of: "Value | Weights | Scratch"
    offset: int


Argument = Value | Weights | Scratch | Zeros | Part


class Repeated(NamedTuple):
    """The same call several times, each argument's address moving on by its bytes."""

    times: int
    moves_bytes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Ring:
    """A loop around several steps, which share the object."""

    times: int


@dataclass(frozen=True, eq=False)
class Step:
    """A call of a kernel's function. macs: multiply-adds of all calls. repeats: loops around it, outermost first.

    within: loops around those, shared with the steps beside it, outermost first, and the bytes by which each argument's
    address moves on. parts: the same work divided, thread by thread, None for one that has none of it; without parts it
    is thread 0's.
    """

    kernel: Kernel
    arguments: tuple[Argument, ...]
    macs: int = 0
    repeats: tuple[Repeated, ...] = ()
    within: tuple[tuple[Ring, tuple[int, ...]], ...] = ()
    parts: tuple["Step | None", ...] = ()

    @property
    def every_argument(self) -> tuple[Argument, ...]:
        """Of what is called: of its parts, if it has some."""
        return tuple(a for part in self.parts if part for a in part.arguments) or self.arguments

    @property
    def has_room(self) -> bool:
        """Whether the scratch that each call is given is as large as its kernel needs."""
        calls = [call for call in self.parts or (self,) if call is not None]
        given = [(call.kernel, dict(zip(call.kernel.params, call.arguments, strict=True))) for call in calls]
        return all(
            not isinstance(scratch := arguments.get("scratch"), Scratch) or scratch.bytes >= kernel.scratch_bytes
            for kernel, arguments in given
        )

    def of(self, thread: int) -> "Step | None":
        """What a thread has to do of it."""
        own = self.parts or (self,)
        return own[thread] if thread < len(own) else None


@dataclass(eq=False)
class Lowered:
    """What a node became: steps in order, or an alias where its output is its input under another shape.

    problem: what a tuning table was asked for, where the kernel has several forms.
    """

    label: str
    kind: str
    steps: Sequence[Step] = field(default_factory=list)
    alias_of: Value | None = None
    problem: Problem | None = None
