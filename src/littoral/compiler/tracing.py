"""What the compiler tells under `LITTORAL_DEBUG`, on stderr; levels add up, and none changes the module.

1 time and size of each pass, its result held against the verifier; 2 what it changes; 3 what is fused and what not, and
which kernels a node becomes; 4 the interpreter before and after each pass; 5 graphs, layout and functions as files.
"""

import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from littoral.clock import SYSTEM, Clock
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.printer import graph_text
from littoral.compiler.ir.reference import interpret
from littoral.compiler.ir.verify import verify
from littoral.errors import LittoralError, SetupError
from littoral.settings import number, text
from littoral.tensors import DTYPES, Array

__all__ = ["CHANGES", "CHOICES", "FILES", "TIMES", "VALUES", "Trace"]

TIMES, CHANGES, CHOICES, VALUES, FILES = 1, 2, 3, 4, 5
INTEGERS_BELOW = 10

Pass = Callable[[Graph], Graph]
NotedPass = Callable[[Graph, Callable[[Any], None]], Graph]


class Trace:
    """One compilation, told of as far as the setting asks."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self.level = number("LITTORAL_DEBUG")
        self._clock = clock
        self._graphs = 0

    def say(self, level: int, line: str) -> None:
        if self.level >= level:
            sys.stderr.write(f"{line}\n")

    def file(self, name: str, content: str) -> None:
        """Writes a file. Raises SetupError where it cannot."""
        if self.level < FILES:
            return
        path = Path(text("LITTORAL_DEBUG_FOLDER")) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise SetupError(f"`{path}`: {error.strerror}") from error

    def graph(self, handle: str, graph: Graph, is_body: bool) -> None:
        """Writes a graph as a file, numbered in order."""
        if self.level >= FILES:
            self.file(f"{self._graphs:03d}-{handle}{'.body' if is_body else ''}.txt", graph_text(graph))
            self._graphs += 1

    def run(self, handle: str, run: Pass, graph: Graph, *, noted: NotedPass | None = None, is_body: bool) -> Graph:
        """`run(graph)`; `noted` does the same and tells of its choices. Raises ValueError for an invalid result."""
        if self.level < TIMES:
            return run(graph)
        choices: list[Any] = []
        began = self._clock.monotonic()
        after = noted(graph, choices.append) if noted and self.level >= CHOICES else run(graph)
        taken_ms = (self._clock.monotonic() - began) * 1000
        verify(after)
        self.say(TIMES, f"{handle}: {taken_ms:.1f} ms, {len(graph.nodes)} nodes, then {len(after.nodes)}")
        if self.level >= CHANGES:
            before_lines, lines = (graph_text(g).splitlines(keepends=True) for g in (graph, after))
            sys.stderr.writelines(difflib.unified_diff(before_lines, lines, "before", handle, n=0))
        for choice in choices:
            self.say(CHOICES, f"  {choice}")
        if self.level >= VALUES and not is_body:
            self.say(VALUES, f"  values: {_difference(graph, after)}")
        self.graph(handle, after, is_body)
        return after


def _difference(before: Graph, after: Graph) -> str:
    """How far the two graphs' outputs lie apart for the same random inputs."""
    rng = np.random.default_rng(0)
    feeds = {value.name: _random(value.dtype, value.shape, rng) for value in before.inputs}
    try:
        with np.errstate(all="ignore"):
            wanted, found = interpret(before, feeds), interpret(after, feeds)
    except LittoralError as error:
        return f"not compared, random inputs are refused: {error.message}"
    told = []
    for name, array in wanted.items():
        if array.shape != found[name].shape:
            return f"`{name}` has shape {list(found[name].shape)}, had {list(array.shape)}"
        told.append((_largest(array, found[name]), name))
    (largest, scale), name = max(told, default=((0.0, 0.0), ""))
    return f"largest difference {largest:.3g} where outputs go to {scale:.3g}, in `{name}`"


def _largest(wanted: Array, found: Array) -> tuple[float, float]:
    """The largest difference and magnitude; infinite where one is not a number and the other is."""
    a, b = wanted.astype(np.float64).reshape(-1), found.astype(np.float64).reshape(-1)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf"), float("inf")
    same = (a == b) | np.isnan(a)
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0, np.abs(a - b))
    finite = np.abs(a[np.isfinite(a)])
    return float(apart.max(initial=0)), float(finite.max(initial=0))


def _random(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    storage = DTYPES[dtype].storage
    if storage.kind == "f":
        return rng.standard_normal(shape).astype(storage)
    few = 2 if storage.kind == "b" or dtype.endswith(("int2", "int4")) else INTEGERS_BELOW
    return rng.integers(0, few, shape).astype(storage)
