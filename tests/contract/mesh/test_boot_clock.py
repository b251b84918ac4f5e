"""The boot clock moves forward only, and no single bad clock ends a site."""

from pathlib import Path

import pytest

from littoral.mesh.trust.boot_clock import BootClock
from mesh_site import DAY_S, START_S, MovedClock

LATEST_S = START_S + 5 * 365 * DAY_S


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clock"


def booted(file: Path, wall_s: float) -> tuple[BootClock, MovedClock]:
    machine = MovedClock(wall_s=wall_s)
    return BootClock(file, machine, latest_s=LATEST_S), machine


def test_it_is_the_machines_clock_where_that_is_right(file: Path) -> None:
    clock, machine = booted(file, START_S)
    assert clock.wall() == START_S
    machine.move(100)
    assert clock.wall() == START_S + 100
    assert clock.behind_s == 0


def test_a_machine_in_1970_goes_on_from_the_time_on_disk(file: Path) -> None:
    clock, _ = booted(file, START_S)
    clock.save()
    clock, machine = booted(file, 3.0)
    assert clock.wall() == START_S
    machine.move(60)
    assert clock.wall() == START_S + 60
    assert clock.behind_s == START_S - 3


def test_it_follows_when_the_machine_learns_the_time(file: Path) -> None:
    clock, _ = booted(file, START_S)
    clock.save()
    clock, machine = booted(file, 3.0)
    machine.wall_s = START_S + 40 * DAY_S
    assert clock.wall() == START_S + 40 * DAY_S


def test_it_stands_still_while_a_machine_that_was_ahead_is_set_right(file: Path) -> None:
    clock, machine = booted(file, START_S)
    clock.wall()
    machine.wall_s -= 3600
    machine.move(1800)
    assert clock.wall() == START_S
    machine.move(3600)
    assert clock.wall() == START_S + 1800


@pytest.mark.parametrize("steps", [(5.0, -3.0, 40 * DAY_S, -90 * DAY_S, 7.0), (-START_S, 1.0, START_S, -1.0)])
def test_it_never_goes_back(file: Path, steps: tuple[float, ...]) -> None:
    clock, machine = booted(file, START_S)
    seen = [clock.wall()]
    for step in steps:
        machine.wall_s += step
        machine.monotonic_s += 1
        seen.append(clock.wall())
    assert seen == sorted(seen)


def test_a_machine_beyond_the_authoritys_end_is_not_believed(file: Path) -> None:
    clock, machine = booted(file, START_S)
    clock.wall()
    machine.wall_s = START_S + 70 * 365 * DAY_S
    machine.monotonic_s += 10
    assert clock.wall() == START_S + 10
    clock.learn(START_S + 70 * 365 * DAY_S)
    assert clock.wall() == LATEST_S


def test_a_signature_tells_the_time(file: Path) -> None:
    clock, _ = booted(file, 3.0)
    clock.learn(START_S)
    assert clock.wall() == START_S
    clock.learn(START_S - 1)
    assert clock.wall() == START_S


@pytest.mark.parametrize("content", [b"", b"tomorrow", b"-5", b"\xff\xfe", b"9" * 40, "²".encode()])
def test_a_file_that_holds_no_time_is_a_lower_bound_of_nothing(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    clock, _ = booted(file, START_S)
    assert clock.wall() == START_S


def test_the_disk_is_written_every_ten_minutes_at_most(file: Path) -> None:
    clock, machine = booted(file, START_S)
    clock.save()
    written = file.stat().st_mtime_ns
    machine.move(599)
    clock.save()
    assert file.stat().st_mtime_ns == written
    machine.move(1)
    clock.save()
    assert file.read_text() == f"{int(START_S) + 600}\n"
