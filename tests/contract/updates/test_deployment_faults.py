"""Power cuts, kills and a full disk at every write of a deployment: a version that works serves, always."""

import pytest

from littoral.testing.disk import SimulatedDisk
from simulated_updates import STORIED, Fault, Nature, Run, check_end, deployment, story


def steps_of(seed: int) -> int:
    run = Run(story(seed), seed)
    check_end(run, run.go())
    return run.disk.steps


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("nature", STORIED)
def test_a_fault_at_every_write_of_a_version_of_each_kind(nature: Nature, fault: Fault) -> None:
    told = [deployment(1, Nature.GOOD, 0, 2), deployment(2, nature, 30, 2)]
    whole = Run(told, 0)
    check_end(whole, whole.go())
    assert whole.disk.steps > 20
    for at in range(1, whole.disk.steps + 1):
        for seed in range(3):
            run = Run(told, seed, fault, at)
            check_end(run, run.go())


@pytest.mark.parametrize("seed", range(12))
def test_stories_with_a_fault_somewhere(seed: int) -> None:
    for at in range(1, steps_of(seed) + 1, 3):
        for fault in Fault:
            run = Run(story(seed), seed + at, fault, at)
            check_end(run, run.go())


FADING = {
    "the last": ([Nature.GOOD, Nature.GOOD, Nature.FADES], 90, 2),
    "the last two": ([Nature.GOOD, Nature.FADES, Nature.FADES], 90, 1),
    "the one that a bad one went back to": ([Nature.GOOD, Nature.GOOD, Nature.FADES, Nature.WRONG], 105, 2),
    "the one below one that is tried": ([Nature.GOOD, Nature.GOOD, Nature.FADES, Nature.MIRRORS], 92, 2),
}


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize(("natures", "fades_at", "serves"), FADING.values(), ids=FADING)
def test_what_settled_and_fails_later_is_left_for_what_settled_before(
    natures: list[Nature], fades_at: int, serves: int, fault: Fault
) -> None:
    told = [deployment(i + 1, nature, 30 * i, 2) for i, nature in enumerate(natures)]
    whole = Run(told, 0, fades_at=fades_at)
    found = whole.go()
    check_end(whole, found)
    assert found.running is not None
    assert found.running.deployment == serves, whole.told()
    for at in range(1, whole.disk.steps + 1):
        run = Run(told, at, fault, at, fades_at=fades_at)
        check_end(run, run.go())


@pytest.mark.parametrize("at", range(30, 60))
def test_an_operator_goes_back_at_any_time(at: int) -> None:
    told = [deployment(1, Nature.GOOD, 0, 1), deployment(2, Nature.GOOD, 25, 1)]
    run = Run(told, at, goes_back_at=at)
    check_end(run, run.go())


def test_the_simulation_finds_what_it_is_for() -> None:
    """A journal that is written without being durable loses deployments."""

    class Careless(SimulatedDisk):
        def replace(self, path: str, data: bytes) -> None:
            self.write(path, data)

    told = [deployment(1, Nature.GOOD, 0, 2), deployment(2, Nature.CRASHES, 30, 2)]
    failures = 0
    for at in range(1, 60):
        run = Run(told, at, Fault.POWER, 0)
        run.disk = Careless(at)
        run.disk.cut_at = at
        try:
            check_end(run, run.go())
        except AssertionError:
            failures += 1
    assert failures
