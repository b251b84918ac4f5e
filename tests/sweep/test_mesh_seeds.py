"""Simulated sites with many seeds: see tests/sim/test_mesh_sites.py. One JSON line a seed, with its digest."""

import json

import pytest

from littoral.testing.mesh import Plan, simulate

SEEDS = 200


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("nodes", [5, 20, 60])
def test_all_invariants_hold(nodes: int, seed: int) -> None:
    report = simulate(Plan.of(seed, nodes))
    print(json.dumps(report._asdict()))
    assert report.broken == []
