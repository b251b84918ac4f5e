"""Sites of many nodes under everything that goes wrong: every invariant holds, and a seed gives one run.

`python -m littoral.testing.mesh --nodes N --seed S --trace` replays what fails here.
"""

import json
import subprocess
import sys

import pytest

from littoral.testing.mesh import Plan, Report, simulate

TROUBLE_S = 8.0


def told(report: Report) -> dict[str, object]:
    return {key: value for key, value in report._asdict().items() if key != "broken"}


@pytest.mark.parametrize(("nodes", "seed"), [(5, 1), (5, 3), (8, 2), (12, 4), (30, 5)])
def test_all_invariants_hold(nodes: int, seed: int) -> None:
    report = simulate(Plan.of(seed, nodes, trouble_s=TROUBLE_S))
    assert report.broken == [], told(report)
    assert report.acknowledged_count > 10
    assert report.search_count > 50
    assert report.certified_count > 0


def test_a_seed_gives_the_same_run_in_every_process() -> None:
    asked = [sys.executable, "-m", "littoral.testing.mesh", "--nodes", "3", "--seed", "3"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}, timeout=240)
    assert json.loads(done.stdout) == json.loads(json.dumps(simulate(Plan.of(3, 3))._asdict()))


def test_another_seed_gives_another_run() -> None:
    assert len({simulate(Plan.of(seed, 3, trouble_s=4)).digest for seed in range(2)}) == 2
