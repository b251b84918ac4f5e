"""Crashes at every step of every kind of change with many seeds: see tests/sim/test_mesh_crashed_changes.py."""

import pytest

from changed_sites import KINDS, STEPS, broken_by_a_crash

SEEDS = 20


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_doubled_or_left_behind(kind: str, step: str, seed: int) -> None:
    assert broken_by_a_crash(kind, step, seed) == []
