"""The recall that was asked for is kept in a run of 2,000 queries, whatever the strategy; hundreds: `make sweep`."""

import pytest
from bench.spread_world import STRATEGIES

from guarantee import runs, runs_by_another, told


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_target_is_kept(strategy: str) -> None:
    found = runs(strategy, seed=1)
    for run in found:
        print(told(strategy, run.target, [run]))
    assert [run for run in found if run.is_missed] == []
    nodes = [run.nodes for run in found]
    assert nodes == sorted(nodes)
    if strategy in ("hash", "geographic"):
        assert nodes[0] > 2
    else:
        assert nodes[1] <= 1.2


def test_every_target_is_kept_by_a_vector_that_cells_are_not_of() -> None:
    """Its own balls and its own levels: what the cells do not help it asks more nodes for."""
    found = runs_by_another("metric", seed=1)
    for run in found:
        print(told("metric, by another vector", run.target, [run]))
    assert [run for run in found if run.is_missed] == []
    nodes = [run.nodes for run in found]
    assert nodes == sorted(nodes)
