"""What the compiler tells under `LITTORAL_DEBUG`: time and size of each pass, and what it changes. Goes to stderr.

A traced pass is also held against the verifier.
"""

import difflib
import sys
from collections.abc import Callable

from littoral.clock import SYSTEM, Clock
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.printer import graph_text
from littoral.compiler.ir.verify import verify
from littoral.settings import number

__all__ = ["traced"]

TIMES, CHANGES = 1, 2


def traced(handle: str, run: Callable[[Graph], Graph], graph: Graph, clock: Clock = SYSTEM) -> Graph:
    """`run(graph)`, told of as far as the setting asks. Raises ValueError if the pass leaves an invalid graph."""
    level = number("LITTORAL_DEBUG")
    if level < TIMES:
        return run(graph)
    began = clock.monotonic()
    after = run(graph)
    taken_ms = (clock.monotonic() - began) * 1000
    verify(after)
    sys.stderr.write(f"{handle}: {taken_ms:.1f} ms, {len(graph.nodes)} nodes, then {len(after.nodes)}\n")
    if level >= CHANGES:
        before_lines, lines = (graph_text(g).splitlines(keepends=True) for g in (graph, after))
        sys.stderr.writelines(difflib.unified_diff(before_lines, lines, "before", handle, n=0))
    return after
