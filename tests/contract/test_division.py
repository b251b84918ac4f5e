"""When a run of a model for several threads is divided among them."""

from collections.abc import Callable

import pytest

from littoral.runtime.division import TRY_EVERY, Division
from littoral.testing.clock import SimulatedClock


class Cores:
    def __init__(self) -> None:
        self.idle = 1

    def borrow(self, count: int) -> bool:
        if self.idle < count:
            return False
        self.idle -= count
        return True

    def give_back(self, count: int) -> None:
        self.idle += count


class Runs:
    """How many of them were divided, where either way takes its time."""

    def __init__(self, divided_ms: float, alone_ms: float) -> None:
        self.times_ms = {True: divided_ms, False: alone_ms}
        self.cores = Cores()
        self.clock = SimulatedClock()
        self.division = Division(self.cores, 1, clock=self.clock)

    def of(self, count: int, entry: str = "run") -> int:
        ways: list[bool] = []

        def way(is_divided: bool) -> Callable[[], None]:
            def run() -> None:
                ways.append(is_divided)
                self.clock.advance(self.times_ms[is_divided] / 1000)

            return run

        for _ in range(count):
            self.division.run(entry, way(True), way(False))
        return sum(ways)


def test_the_way_that_takes_less_is_taken_and_the_other_tried_now_and_then() -> None:
    count = 10 * TRY_EVERY
    assert Runs(5, 9).of(count) == count - 1 - 10
    assert Runs(20, 9).of(count) == 1 + 10


def test_when_something_else_begins_to_work_runs_are_divided_no_more() -> None:
    runs = Runs(5, 9)
    runs.of(100)
    runs.times_ms = {True: 20, False: 11}
    assert runs.of(TRY_EVERY) < 5
    runs.times_ms = {True: 5, False: 9}
    assert runs.of(20 * TRY_EVERY) > 10 * TRY_EVERY


def test_without_an_idle_core_one_thread_does_it() -> None:
    runs = Runs(5, 9)
    runs.cores.idle = 0
    assert runs.of(50) == 0
    runs.cores.idle = 1
    assert runs.of(50) > 40
    assert runs.cores.idle == 1


def test_each_entry_has_times_of_its_own() -> None:
    runs = Runs(5, 9)
    runs.of(10, "run")
    runs.times_ms = {True: 20, False: 9}
    assert runs.of(10, "run2") == 1


def test_a_run_that_fails_gives_its_cores_back_and_tells_nothing() -> None:
    runs = Runs(5, 9)

    def fails() -> None:
        raise ValueError("trap")

    with pytest.raises(ValueError, match="trap"):
        runs.division.run("run", fails, fails)
    assert runs.cores.idle == 1
    assert runs.of(3) == 2
