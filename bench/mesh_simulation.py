"""A simulated site of a thousand nodes under faults: whether all invariants hold, and how soon members agree.

As many seeds as fit into the time of a benchmark; `python -m littoral.testing.mesh --nodes 1000 --seeds 200` runs more.
"""

import time

from bench.rows import Row, row
from littoral.testing.mesh import CONVERGED_S_MAX, Plan, Report, simulate

__all__ = ["run"]

NODES, SMALLER = 1_000, 100
SEEDS, SMALLER_SEEDS = 200, 20
BUDGET_S = 600.0


def run() -> list[Row]:
    return [*_rows(SMALLER, SMALLER_SEEDS), *_rows(NODES, SEEDS)]


def _rows(nodes: int, seeds: int) -> list[Row]:
    began, reports, spent_s = time.perf_counter(), list[Report](), time.process_time()
    for seed in range(seeds):
        reports.append(simulate(Plan.of(seed, nodes)))
        if time.perf_counter() - began > BUDGET_S:
            break
    spent_s = time.process_time() - spent_s
    simulated_s = sum(one.simulated_s for one in reports)
    agreed_s = max(max(one.started_s, one.healed_s) for one in reports)
    label = f"{nodes} nodes"
    return [
        row(f"{label}: invariants that did not hold", sum(len(one.broken) for one in reports), "in all", limit=0),
        row(f"{label}: until members agree, the slowest", agreed_s, "simulated s", limit=CONVERGED_S_MAX),
        row(f"{label}: until replicas are alike, the slowest", max(one.alike_s for one in reports), "simulated s"),
        row(f"{label}: seeds", len(reports), "runs"),
        row(f"{label}: faults", sum(one.fault_count for one in reports), "in all"),
        row(f"{label}: writes that were acknowledged", sum(one.acknowledged_count for one in reports), "in all"),
        row(f"{label}: searches", sum(one.search_count for one in reports), "in all"),
        row(f"{label}: a node's messages", sum(one.message_count for one in reports) / nodes / simulated_s, "a second"),
        row(f"{label}: processor for a second of the site", spent_s / simulated_s, "s"),
    ]
