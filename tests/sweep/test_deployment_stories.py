"""Power cuts, kills and a full disk at every write of hundreds of stories of deployments: none stuck, none lost."""

import pytest

from simulated_updates import Fault, Run, check_end, story

SEEDS = 300


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_fault_at_every_write_of_a_story(seed: int) -> None:
    whole = Run(story(seed), seed)
    check_end(whole, whole.go())
    for at in range(1, whole.disk.steps + 1):
        for fault in Fault:
            run = Run(story(seed), seed * 1000 + at, fault, at)
            check_end(run, run.go())
