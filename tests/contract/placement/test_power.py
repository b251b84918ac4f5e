"""What a node draws, counted or estimated, and when its budget is spent."""

from pathlib import Path

import pytest

from littoral.node.placement.power import PowerMeter
from littoral.node.placement_tables import PowerTable
from littoral.testing import SimulatedClock


def test_it_is_estimated_from_the_cores_at_work() -> None:
    clock, worked = SimulatedClock(), [0.0]
    meter = PowerMeter(PowerTable(watts=10, idle_watts=2, core_watts=4), lambda: worked[0], clock)
    assert meter.watts() == 2
    assert not meter.is_spent()
    for _ in range(40):
        clock.advance(1)
        worked[0] += 1.5
        meter.watts()
    assert meter.watts() == pytest.approx(8, rel=0.01)
    assert meter.is_spent()
    for _ in range(40):
        clock.advance(1)
        meter.watts()
    assert meter.watts() == pytest.approx(2, rel=0.01)
    worked[0] = 0.0  # a version was dropped
    clock.advance(1)
    assert meter.watts() == pytest.approx(2, rel=0.01)


def test_it_is_counted_where_the_machine_tells(tmp_path: Path) -> None:
    clock, counter = SimulatedClock(), tmp_path / "energy_uj"
    counter.write_text("1000000\n")
    meter = PowerMeter(PowerTable(watts=10), float, clock, counter=counter)
    for second in range(1, 40):
        clock.advance(1)
        counter.write_text(f"{1_000_000 + second * 12_000_000}\n")
        meter.watts()
    assert meter.watts() == pytest.approx(12, rel=0.01)
    assert meter.is_spent()
    counter.unlink()  # no request fails for it
    clock.advance(1)
    assert meter.watts() < 12


def test_without_a_budget_it_is_never_spent() -> None:
    meter = PowerMeter(PowerTable(idle_watts=500), float, SimulatedClock())
    assert not meter.is_spent()
