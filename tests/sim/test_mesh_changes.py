"""A crash at a step of a change of layout: it ends whole, and nothing that was promised is broken."""

import pytest

from changed_sites import broken_by_a_crash


@pytest.mark.parametrize(
    ("kind", "step"),
    [("spread", "copying"), ("move", "making"), ("divide", "flipping"), ("cells", "copying")],
)
def test_nothing_is_lost_doubled_late_or_left_behind(kind: str, step: str) -> None:
    assert broken_by_a_crash(kind, step, seed=1) == []
