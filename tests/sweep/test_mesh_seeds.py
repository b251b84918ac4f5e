"""Simulated sites with many seeds: see tests/sim/test_mesh_sites.py. One JSON line a seed, with its digest."""

import json

import pytest

from littoral.testing.mesh import Plan, simulate
from littoral.testing.mesh.plan import KINDS, LAYOUTS, World

SEEDS = 200
TOGETHER: tuple[World, ...] = ("regions", "roster", "models", "made")


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("nodes", [5, 20, 60])
def test_all_invariants_hold(nodes: int, seed: int) -> None:
    report = simulate(Plan.of(seed, nodes))
    print(json.dumps(report._asdict()))
    assert report.broken == []


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("world", ["regions", "roster", "models", "made"])
def test_all_invariants_hold_of_sites_that_have_more(world: World, seed: int) -> None:
    kinds = (*KINDS, *LAYOUTS) if seed % 2 else KINDS
    report = simulate(Plan.of(seed, 5 + seed % 8, kinds=kinds, worlds=[world]))
    print(json.dumps(report._asdict()))
    assert report.broken == []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_all_invariants_hold_of_sites_that_have_all_of_it(seed: int) -> None:
    kinds = (*KINDS, *LAYOUTS) if seed % 2 else KINDS
    report = simulate(Plan.of(seed, 9 + seed % 8, kinds=kinds, worlds=TOGETHER))
    print(json.dumps(report._asdict()))
    assert report.broken == []
