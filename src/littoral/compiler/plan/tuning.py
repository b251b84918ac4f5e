"""Tuning tables: which form of its kernel a layer takes, as measured on some machine. An input of the compiler.

A problem that the table does not hold takes the choice of the nearest one it holds, if there is one near enough; else
the compiler's own rules decide. The same table gives the same choices everywhere.
"""

import functools
import importlib.resources
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from littoral.artifact import digest
from littoral.compiler.plan.choice import RULE, Choice
from littoral.compiler.plan.problem import Kind, Problem
from littoral.errors import InputError, NotFoundError

__all__ = ["RULES", "Entry", "Machine", "Tuning", "TuningSource", "open_tuning", "packaged_tuning"]

FILE_BYTES_MAX = 4 << 20
ENTRIES_MAX = 4096
NEAR_MAX = 4  # sizes that differ, multiplied: beyond it a measured choice says little
WHOLE_PANELS_MIN = 6  # fewer, and columns that fill none weigh too much for another problem's panels


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a table was measured. limit_gflops: what strict float32 can do there at most."""

    cpu: str
    engine: str
    limit_gflops: float


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """gain: time by the compiler's rules, divided by that of the choice."""

    problem: Problem
    choice: Choice
    gain: float = 1.0


class Tuning(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A table; equal tables have one digest, whatever file they came from."""

    format: Literal[1]
    machine: Machine
    entries: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=ENTRIES_MAX)]

    def encode(self) -> bytes:
        """The table as JSON, an entry a line, in the order of the problems."""
        lines = [msgspec.json.encode(e).decode() for e in sorted(self.entries, key=lambda e: e.problem)]
        machine = msgspec.json.encode(self.machine).decode()
        entries = ",\n".join(lines)
        return f'{{"format":{self.format},"machine":{machine},"entries":[\n{entries}\n]}}\n'.encode()

    @functools.cached_property
    def sha256(self) -> str | None:
        """Of `encode`; None for the rules, which are no table."""
        return None if self is RULES else digest(self.encode())

    @functools.cached_property
    def _exact(self) -> dict[Problem, Choice]:
        return {e.problem: e.choice for e in self.entries}

    @functools.cached_property
    def _by_kind(self) -> dict[Kind, list[Entry]]:
        found: dict[Kind, list[Entry]] = {}
        for entry in sorted(self.entries, key=lambda e: e.problem):
            found.setdefault(entry.problem.kind, []).append(entry)
        return found

    def choice(self, problem: Problem) -> Choice:
        """The measured choice, or that of the nearest problem, or the rules'."""
        if (exact := self._exact.get(problem)) is not None:
            return exact
        best, least = RULE, Fraction(NEAR_MAX)
        for entry in self._by_kind.get(problem.kind, ()):
            distance = _distance(problem, entry.problem)
            if distance is not None and distance < least and _fits(problem, entry.choice):
                best, least = entry.choice, distance
        return best


RULES = Tuning(format=1, machine=Machine("", "", 0.0), entries=())


def _distance(a: Problem, b: Problem) -> Fraction | None:
    """By how much sizes differ, all factors multiplied; None where one problem says nothing of the other."""
    if a.stride != b.stride or (a.kind == "depthwise" and a.depth != b.depth):
        return None
    above, below = (9, 8) if a.epilogue != b.epilogue else (1, 1)
    for one, other in ((a.rows, b.rows), (a.depth, b.depth), (a.width, b.width), (a.line, b.line)):
        above, below = above * max(one, other, 1), below * max(min(one, other), 1)
    return Fraction(above, below)


def _fits(problem: Problem, choice: Choice) -> bool:
    """Whether a choice measured for another problem leaves this one no odd remains of columns."""
    return problem.width % choice.panel == 0 or problem.width >= WHOLE_PANELS_MIN * choice.panel


TuningSource = str | os.PathLike[str] | Mapping[str, Any] | Tuning | None


def open_tuning(source: TuningSource) -> Tuning:
    """The table in a file or a dictionary; None is the packaged one, `RULES` none at all.

    Raises NotFoundError, and InputError naming the file, the key and what was expected.
    """
    if source is None:
        return packaged_tuning()
    if isinstance(source, Tuning):
        return source
    if isinstance(source, Mapping):
        return _checked(lambda: msgspec.convert(source, Tuning), "given")
    path = Path(source)
    try:
        if (size := path.stat().st_size) > FILE_BYTES_MAX:
            raise InputError(f"tuning table `{path}`: {size} bytes, at most {FILE_BYTES_MAX}")
        data = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"tuning table `{path}`: {error.strerror}") from error
    return _checked(lambda: msgspec.json.decode(data, type=Tuning), f"`{path}`")


@functools.cache
def packaged_tuning() -> Tuning:
    """The default table, for x86-64."""
    data = importlib.resources.files("littoral.compiler.plan").joinpath("x86_64.json").read_bytes()
    return msgspec.json.decode(data, type=Tuning)


def _checked(read: Any, name: str) -> Tuning:
    try:
        tuning: Tuning = read()
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        hint = "`littoral tune MODEL.onnx -o TABLE.json` writes one"
        raise InputError(f"tuning table {name}: {error}", hint=hint) from error
    seen: set[Problem] = set()
    for i, entry in enumerate(tuning.entries):
        if entry.problem in seen:
            raise InputError(f"tuning table {name}: `entries[{i}].problem` is there twice, expected once")
        seen.add(entry.problem)
    return tuning
