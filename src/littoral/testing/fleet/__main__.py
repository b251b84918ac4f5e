"""Simulates fleets: `python -m littoral.testing.fleet --nodes 1000 --seeds 200 [--seed 7] [--workers 2] [--trace]`.

One JSON line a seed; exit code 1 where something did not hold. A seed gives the same run in every process: what was
found is replayed by `--seed`, and `--trace` shows it.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from littoral.testing.fleet.world import Report, simulate


def main(arguments: list[str] | None = None) -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="python -m littoral.testing.fleet", description="simulate fleets of nodes")
    parser.add_argument("--nodes", type=int, default=1000, help="of the fleet")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--trace", action="store_true", help="show what happens, and when")
    given = parser.parse_args(arguments)
    seeds = range(given.seed, given.seed + given.seeds)
    is_broken = False
    for report in _reports(seeds, given.nodes, given.workers, is_traced=given.trace):
        is_broken |= bool(report.broken)
        _say(json.dumps(report._asdict()))
    return int(is_broken)


def _reports(seeds: Iterable[int], nodes: int, workers: int, *, is_traced: bool) -> Iterable[Report]:
    if workers < 2:
        return (simulate(seed, nodes, _say if is_traced else None) for seed in seeds)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return list(pool.map(partial(simulate, node_count=nodes), seeds))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
