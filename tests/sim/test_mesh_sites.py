"""Sites of many nodes under everything that goes wrong: every invariant holds, and a seed gives one run.

`python -m littoral.testing.mesh --nodes N --seed S --trace` replays what fails here.
"""

import json
import subprocess
import sys

import pytest

from littoral.testing.mesh import Plan, Report, simulate

NODES = 12


def told(report: Report) -> dict[str, object]:
    return {key: value for key, value in report._asdict().items() if key != "broken"}


@pytest.mark.parametrize("seed", range(6))
def test_all_invariants_hold(seed: int) -> None:
    report = simulate(Plan.of(seed, NODES))
    assert report.broken == [], told(report)
    assert report.acknowledged_count > 20
    assert report.search_count > 100
    assert report.certified_count > 0


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_gives_the_same_run_in_every_process(hash_seed: str) -> None:
    asked = [sys.executable, "-m", "littoral.testing.mesh", "--nodes", "5", "--seed", "3"]
    done = subprocess.run(
        asked, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": hash_seed}, timeout=60
    )
    assert json.loads(done.stdout) == json.loads(json.dumps(simulate(Plan.of(3, 5))._asdict()))


def test_another_seed_gives_another_run() -> None:
    assert len({simulate(Plan.of(seed, 3)).digest for seed in range(3)}) == 3
