"""Simulated fleets of a thousand nodes: whether every rollout ends rightly, and what a seed costs.

As many seeds as fit into the time of a benchmark; `python -m littoral.testing.fleet --nodes 1000 --seeds 200` runs all.
"""

import time

from bench.rows import Row, row
from littoral.testing.fleet.world import Report, simulate

__all__ = ["run"]

NODES, SEEDS = 1_000, 200
BUDGET_S = 480.0


def run() -> list[Row]:
    began, reports, spent_s = time.perf_counter(), list[Report](), time.process_time()
    for seed in range(SEEDS):
        reports.append(simulate(seed, NODES))
        if time.perf_counter() - began > BUDGET_S:
            break
    spent_s = time.process_time() - spent_s
    label = f"{NODES} nodes"
    ends = [outcome for one in reports for _, _, outcome, _ in one.rollouts]
    return [
        row(f"{label}: what did not hold", sum(len(one.broken) for one in reports), "in all", limit=0),
        row(f"{label}: seeds", len(reports), "runs"),
        *(row(f"{label}: rollouts {end.replace('_', ' ')}", ends.count(end), "in all") for end in sorted(set(ends))),
        row(f"{label}: kills of the orchestrator", sum(one.kills for one in reports), "in all"),
        row(f"{label}: restarts of nodes", sum(one.restarts for one in reports), "in all"),
        row(f"{label}: time of the fleet", sum(one.simulated_s for one in reports) / 3600, "simulated h"),
        row(f"{label}: processor for a seed", spent_s / len(reports), "s"),
    ]
