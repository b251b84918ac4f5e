"""What share of the kernel's own limit each layer reaches: its speed beside multiplications and additions on registers.

Layers that ask the same of their kernel are one row. Those that multiply nothing, or take under 1 % of the network's
time, are told by kind alone. What is counted is processor time.
"""

import tempfile
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from bench.compiler import here
from bench.networks import LAYERED
from bench.rows import Row, row
from littoral.cli.model_source import random_feeds
from littoral.clock import THREAD
from littoral.compiler.driver import planned, written
from littoral.compiler.plan.problem import Problem
from littoral.quality.layer_times import LayerTime, time_layers

__all__ = ["run"]

ROUNDS = 25
PEER = "strict float32 limit"
TIME_SHARE_MIN = 0.01

Key = TypeVar("Key")


class Timed(NamedTuple):
    layer: LayerTime
    problem: Problem | None

    @property
    def kind(self) -> str:
        return self.problem.kind if self.problem is not None else self.layer.kernel


def run() -> list[Row]:
    rows: list[Row] = []
    for name, make in LAYERED.items():
        with tempfile.TemporaryDirectory() as folder, here(folder):
            found = planned(make())
            times = time_layers(found, random_feeds(written(found), seed=3), ROUNDS, clock=THREAD)
        problems = [call.lowered.problem for call in found.layouts[0].program.layers()]
        timed = [Timed(*pair) for pair in zip(times.layers, problems, strict=True)]
        rows += rows_of(name, timed, times.limit_gflops)
    return rows


def rows_of(name: str, timed: Sequence[Timed], limit_gflops: float) -> list[Row]:
    """By kind, longest first; then each problem of some weight, in the order of the network."""
    whole_ms = sum(t.layer.time_ms for t in timed)
    kinds = grouped(timed, [t.kind for t in timed])
    kinds = dict(sorted(kinds.items(), key=lambda kind: -sum(t.layer.time_ms for t in kind[1])))
    rows = [speed(f"{name}: all {kind} ({len(found)})", found, limit_gflops) for kind, found in kinds.items()]
    problems = grouped(timed, [t.problem for t in timed])
    for problem, found in problems.items():
        if problem is not None and sum(t.layer.time_ms for t in found) >= TIME_SHARE_MIN * whole_ms:
            sizes = f"{problem.rows}×{problem.depth}×{problem.width}"
            if problem.epilogue != "none":
                sizes += f" {problem.epilogue} epilogue"
            tile = found[0].layer.tile.partition(",")[0]
            rows.append(speed(f"{name}: {problem.kind} {sizes} by {tile} ({len(found)})", found, limit_gflops))
    return rows


def grouped(timed: Sequence[Timed], keys: Sequence[Key]) -> dict[Key, list[Timed]]:
    groups: dict[Key, list[Timed]] = {}
    for key, one in zip(keys, timed, strict=True):
        groups.setdefault(key, []).append(one)
    return groups


def speed(key: str, found: Sequence[Timed], limit_gflops: float) -> Row:
    """GFLOP/s beside the limit; milliseconds of what multiplies nothing."""
    time_ms, macs = sum(t.layer.time_ms for t in found), sum(t.layer.macs for t in found)
    if not macs or not time_ms:
        return row(key, time_ms, "ms")
    return row(key, 2 * macs / time_ms / 1e6, "GFLOP/s", peer=PEER, peer_value=limit_gflops)
