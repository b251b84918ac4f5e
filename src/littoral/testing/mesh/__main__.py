"""Simulates sites: `python -m littoral.testing.mesh --nodes 20 --seed 7 [--seeds 10 [--jobs 2]] [--trace]`.

One JSON line a seed; exit code 1 where an invariant did not hold. A seed gives the same run in every process:
what was found is replayed by `--seed`, and `--trace` shows it.
"""

import argparse
import json
import logging
import multiprocessing
import sys
from collections.abc import Iterator, Sequence

from littoral.testing.mesh.plan import KINDS, LAYOUTS, WITH, Plan, World
from littoral.testing.mesh.run import Report, simulate


def main(arguments: list[str] | None = None) -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="python -m littoral.testing.mesh", description="simulate sites of nodes")
    parser.add_argument("--nodes", type=int, default=20, help="of the site")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time, each in a process of its own")
    parser.add_argument("--layouts", action="store_true", help="changes of layout among the faults")
    parser.add_argument(
        "--with", type=_worlds, default=(), dest="worlds", help=f"of {', '.join(WITH)}, with commas between"
    )
    parser.add_argument("--trace", action="store_true", help="show what happens, and when")
    given = parser.parse_args(arguments)
    logging.getLogger("littoral").setLevel(logging.CRITICAL)
    kinds = (*KINDS, *LAYOUTS) if given.layouts else KINDS
    seeds = range(given.seed, given.seed + given.seeds)
    plans = [Plan.of(seed, given.nodes, kinds=kinds, worlds=given.worlds) for seed in seeds]
    is_broken = False
    for report in (simulate(plan, show=_say) for plan in plans) if given.trace else _reports(plans, given.jobs):
        is_broken |= bool(report.broken)
        _say(json.dumps(report._asdict()))
    return int(is_broken)


def _worlds(told: str) -> tuple[World, ...]:
    wanted = told.split(",")
    if unknown := sorted(set(wanted) - WITH.keys()):
        raise argparse.ArgumentTypeError(f"`{unknown[0]}` is none of {', '.join(WITH)}")
    return tuple(world for world in WITH if world in wanted)


def _reports(plans: Sequence[Plan], jobs: int) -> Iterator[Report]:
    """In order. A process that ends frees its memory at once; to take a large site apart takes long."""
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        yield from pool.imap(simulate, plans)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
