"""What has lasted is counted while the node runs, whatever the clock on the wall says, and known after a start."""

from pathlib import Path

from littoral.node.migration.lasting import NOTE_S, Lasting
from littoral.testing import SimulatedClock

YEAR_S = 365 * 86_400.0


def test_a_clock_that_jumps_ends_nothing_early(tmp_path: Path) -> None:
    clock = SimulatedClock()
    found = Lasting(tmp_path / "deep" / "notes.kept", clock)
    found.begin()
    clock.advance(100.0)
    clock.set_wall(clock.wall() + YEAR_S)
    assert found.seconds == 100.0
    found.note()
    again = Lasting(tmp_path / "deep" / "notes.kept", clock, before_s=YEAR_S)
    clock.advance(50.0)
    assert again.seconds == 150.0, "what the file says, not what the clock makes of the time of the flip"


def test_a_kill_costs_little_of_what_was_counted(tmp_path: Path) -> None:
    clock = SimulatedClock()
    found = Lasting(tmp_path / "notes.kept", clock)
    found.begin()
    for _ in range(10):
        clock.advance(NOTE_S / 2)
        assert found.seconds > 0
    assert 5 * NOTE_S >= Lasting(tmp_path / "notes.kept", clock).seconds >= 4 * NOTE_S


def test_what_an_earlier_release_flipped_goes_by_its_time(tmp_path: Path) -> None:
    clock = SimulatedClock()
    assert Lasting(tmp_path / "notes.kept", clock, before_s=70.0).seconds == 70.0
    assert Lasting(tmp_path / "notes.kept", clock, before_s=-YEAR_S).seconds == 0.0
    (tmp_path / "notes.kept").write_text("no number")
    assert Lasting(tmp_path / "notes.kept", clock, before_s=7.0).seconds == 7.0


def test_a_disk_that_takes_nothing_is_no_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    clock = SimulatedClock()
    found = Lasting(tmp_path / "file" / "notes.kept", clock)
    found.begin()
    clock.advance(5.0)
    assert found.seconds == 5.0
    found.forget()
