"""An audit is quiet while recall holds, and alarms soon after it does not."""

import numpy as np

from littoral.vectors.routing.audit import Audit, SampleDraw
from littoral.vectors.routing.levels import ALL, Calibration
from littoral.vectors.routing.rehearsal import Ways

TARGET = 0.95


def way(loss: float) -> Ways:
    """Stops at once, with that loss; after one round nothing is lost."""
    return Ways(np.array([[0.9, np.inf]]), np.array([[1 - loss, 1.0]]), np.array([[0.0, 1.0]]))


def begun(**more: float) -> Audit:
    calibration = Calibration(target=TARGET, form="high", level=0.5, count=10**6, recall=0.96, below=0.1)
    return Audit(calibration, **more)  # type: ignore[arg-type]


def test_losses_on_the_target_bring_no_alarm() -> None:
    """On the very edge, where one in 50,000 is allowed: twelve times 2,000 bring none."""
    for seed in range(12):
        audit, rng = begun(), np.random.default_rng(seed)
        events = [audit.observe(way(loss)) for loss in rng.choice([0.0, 0.1, 0.4], 2000, p=[0.8, 0.1, 0.1])]
        assert set(events) == {None}


def test_a_breach_is_seen_and_recall_is_whole_at_once() -> None:
    audit, rng = begun(), np.random.default_rng(1)
    for _ in range(3000):
        assert audit.observe(way(float(rng.random() < 0.03))) is None
    events = [audit.observe(way(float(rng.random() < 0.3))) for _ in range(45)]
    assert "alarm" in events
    assert audit.calibration.asks_every
    assert (audit.calibration.level, audit.calibration.epoch) == (ALL, 1)
    assert audit.statistics.alarms == 1


def test_what_comes_after_it_finds_a_new_level() -> None:
    audit, rng = begun(), np.random.default_rng(1)
    events = [audit.observe(way(float(rng.random() < 0.3))) for _ in range(600)]
    assert [event for event in events if event] == ["alarm", "calibrated", "calibrated"]
    assert 0.9 < audit.calibration.level < ALL
    assert not audit.calibration.asks_every
    assert audit.calibration.epoch == 3
    assert audit.statistics.recall == 1.0
    assert audit.calibration.count <= audit.statistics.window <= 600


def test_the_window_is_bounded() -> None:
    audit = begun(window=50)
    for _ in range(200):
        audit.observe(way(0.0))
    assert audit.statistics.window == 50
    assert audit.statistics.audited == 200


def test_the_draw_takes_its_share() -> None:
    drawn = SampleDraw(0.02, seed=1)
    assert 150 < sum(drawn.draw() for _ in range(10_000)) < 250
    assert not any(SampleDraw(0.0, seed=1).draw() for _ in range(100))
