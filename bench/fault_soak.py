"""Random faults for as long as one likes: `python -m bench.fault_soak MINUTES [SEED]`; JSON lines, the last of all.

As `federated_faults`, with a random fault of a random node for a random time again and again. Exit code 1 if a row
misses its limit.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bench.fault_client import Done
from bench.fault_site import FAULTS, FaultSite, fault_site, has_lab
from bench.federated_faults import DEADLINE_MS, NODES, READS, WRITES, of_all, of_window
from bench.rows import Row
from littoral.clock import SYSTEM

__all__ = ["soak"]

CALM_S, FAULT_S = (0.2, 3.0), (0.3, 8.0)
HEALED_S_MAX = 30.0


def soak(folder: Path, minutes: float, seed: int) -> list[Row]:
    """The worst of every row, over all faults of a kind."""
    rng = random.Random(seed)
    with fault_site(folder, NODES, in_lab=has_lab(), deadline_ms=DEADLINE_MS, seed=seed) as site:
        site.load(reads=READS, writes=WRITES)
        suffer(site, rng, SYSTEM.monotonic() + 60 * minutes)
        done = site.unload()
        site.wait_whole(HEALED_S_MAX)
        tell_wrong(done)
        worst: dict[str, Row] = {}
        for one in (found for window in site.windows for found in of_window(window, done)):
            if one["key"] not in worst or one["value"] > worst[one["key"]]["value"]:
                worst[one["key"]] = one
        return [*worst.values(), *of_all(site, done)]


def suffer(site: FaultSite, rng: random.Random, until_s: float) -> None:
    faults = FAULTS if site.has_cuts else FAULTS[:2]
    while SYSTEM.monotonic() < until_s:
        time.sleep(rng.uniform(*CALM_S))
        window = site.suffer(rng.choice(faults), rng.randint(1, NODES), lasts_s=rng.uniform(*FAULT_S))
        took_s = window.whole_s - window.healed_s
        at_s = {"at_s": round(window.began_s, 2), "until_s": round(window.whole_s, 2)}
        told = {"fault": window.fault, "node": window.victim, "whole_after_s": round(took_s, 2)}
        print(json.dumps(told | at_s), flush=True)


def tell_wrong(done: Iterable[Done]) -> None:
    """Each answer that was not right, and why."""
    for one in done:
        if one.kind == "read" and one.status and not one.is_right:
            told = {"wrong": one.collection, "status": one.status, "took_s": round(one.ended_s - one.began_s, 3)}
            print(json.dumps(told | {"at_s": round(one.began_s, 3), "why": one.why}), flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="soak") as name:
        rows = soak(Path(name), float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(json.dumps(rows))
    sys.exit(1 if any(one["ok"] is False for one in rows) else 0)
