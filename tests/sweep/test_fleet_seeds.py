"""Fleets of 1,000 nodes, 200 seeds: every rollout ends rightly, nothing of the fleet is stuck."""

import json
import os
import subprocess
import sys

import pytest

from needs import need

SEEDS, AT_ONCE = 200, 10


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(0, SEEDS, AT_ONCE))
def test_rollouts_end_rightly(seed: int) -> None:
    need(os.environ.get("LITTORAL_SWEEP"), "`make sweep`")
    command = (sys.executable, "-m", "littoral.testing.fleet", "--seed", str(seed), "--seeds", str(AT_ONCE))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == AT_ONCE
