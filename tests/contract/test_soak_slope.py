"""The soak tells a slope with what it is uncertain by: of noise around a line, and of a line."""

import numpy as np
import pytest
from bench.soak import slope_of

HOURS = np.arange(45) / 60


def test_a_line_has_its_slope_and_no_doubt() -> None:
    slope = slope_of(HOURS, 100 + 10 * (HOURS - HOURS.mean()))
    assert slope == pytest.approx((10, 0), abs=1e-9)
    assert slope.certain_growth == pytest.approx(10)


def test_what_falls_has_not_grown() -> None:
    assert slope_of(HOURS, 100 - HOURS).certain_growth == 0


def test_the_interval_holds_the_slope_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    slopes = [slope_of(HOURS, 100 + 5 * (HOURS - HOURS.mean()) + rng.normal(0, 2, len(HOURS))) for _ in range(2000)]
    held = np.mean([abs(slope.percent - 5) <= slope.uncertain for slope in slopes])
    assert 0.93 < held < 0.97


def test_what_depends_on_something_else_has_no_slope_of_its_own() -> None:
    loads = np.linspace(1, 20, len(HOURS)) + np.sin(np.arange(len(HOURS)))
    values = 10 + 5 * loads
    assert slope_of(HOURS, values).certain_growth > 50
    assert slope_of(HOURS, values, loads) == pytest.approx((0, 0), abs=1e-6)
