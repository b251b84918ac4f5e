"""Fleets in simulated time: rollouts end rightly, whoever is away, flaky or killed; and what is broken is found."""

import random
from functools import cache

import pytest

from littoral.orchestrator import rollouts
from littoral.testing.fleet.versions import BAD, Nature, Version, judged
from littoral.testing.fleet.world import Report, simulate
from littoral.updates.deployment import machine
from littoral.updates.deployment.plans import Journal
from littoral.updates.wire import Gates

NODES = 60
SEEDS = 6
GATES = Gates(memory_mb_max=1024)


@cache
def simulated(seed: int) -> Report:
    return simulate(seed, NODES)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_rollouts_end_rightly(seed: int) -> None:
    """Again: `python -m littoral.testing.fleet --nodes 60 --seed SEED --trace`."""
    report = simulated(seed)
    assert report.broken == []
    assert len(report.rollouts) == 4


def test_a_seed_gives_the_same_run() -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        simulate(1, NODES, trace.append)
    assert traces[0] == traces[1]
    assert len(traces[0]) >= 8


def test_all_kinds_of_versions_and_ends_were_seen() -> None:
    """So that the seeds above are about something."""
    found = [one for seed in range(SEEDS) for one in simulated(seed).rollouts]
    assert {state for _, _, state, _ in found} >= {"done", "aborted", "rolled_back"}
    assert len({nature for nature, *_ in found}) > 4
    assert sum(simulated(seed).kills for seed in range(SEEDS)) > 0
    assert sum(simulated(seed).fallen for seed in range(SEEDS)) > 0


def test_a_rollout_that_goes_on_after_failures_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts._Work, "too_many_failed", lambda _: "")
    broken = [line for seed in range(SEEDS) for line in simulate(seed, NODES).broken]
    assert any("done, with too many failures" in line for line in broken)


def test_a_node_that_stays_with_what_failed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_ended", lambda journal, *_: journal)
    assert any(simulate(seed, NODES).broken for seed in range(2))


def test_a_node_that_stays_with_what_was_taken_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = machine._ended

    def stays(journal: Journal, gate: str, problem: str, now: float) -> Journal:
        return ended(journal.but(leaves=False), gate, problem, now).but(leaves=journal.leaves)

    monkeypatch.setattr(machine, "_ended", stays)
    broken = [line for seed in range(SEEDS) for line in simulate(seed, NODES).broken]
    assert any("which was taken back" in line for line in broken)


@pytest.mark.parametrize("nature", [one for one in BAD if one not in (Nature.SELF_TEST, Nature.CRASH, Nature.CORRUPT)])
def test_gates_find_each_kind_of_bad_version(nature: Nature) -> None:
    """The others are found where the version is fetched, warmed and served."""
    serves = nature is Nature.LATE
    for seed in range(20):
        assert judged(nature, GATES, random.Random(seed), serves=serves) is not None
        assert judged(Nature.GOOD, GATES, random.Random(seed), serves=serves) is None


def test_a_version_is_bad_on_its_share_of_the_nodes() -> None:
    version = Version("models/m/2.wasm", Nature.SLOW, 0.3)
    bad = sum(version.on(f"n{number}") is Nature.SLOW for number in range(2000))
    assert 500 < bad < 700
