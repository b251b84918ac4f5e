"""Data and queries change under summaries of before: an alarm, and the target is kept again, within 500 audited."""

import pytest
from bench.drifted import drift


@pytest.mark.parametrize("refreshed", [True, False], ids=["summaries made anew", "summaries as before"])
def test_recall_is_back_soon(refreshed: bool) -> None:
    found = drift(1, refreshed=refreshed)
    print(found)
    assert found.quiet == 0
    assert found.before < 0.95
    assert found.alarm is not None
    assert found.alarm <= 200
    assert found.after >= 0.95
    if refreshed:
        assert found.calibrated is not None
        assert found.calibrated <= 500
