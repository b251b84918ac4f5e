"""Two hundred deaths of node, shard host, supervisor and broker in the middle of messages; minutes."""

import pytest

from mqtt_load import run_with_kills
from supervised import short_folder

KILL_COUNT = 200


@pytest.mark.timeout(1800)
def test_two_hundred_kills() -> None:
    with short_folder() as folder:
        counts = run_with_kills(folder, count=KILL_COUNT, seed=7, pause_s=1.0)
    assert sum(counts.values()) == KILL_COUNT
