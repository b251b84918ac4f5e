"""Node, shard host, supervisor and broker die in the middle of messages: each becomes a point, and one."""

import pytest

from mqtt_load import run_with_kills
from supervised import short_folder

pytestmark = pytest.mark.e2e

KILL_COUNT = 5


def test_nothing_that_was_acknowledged_is_lost_and_nothing_is_there_twice() -> None:
    with short_folder() as folder:
        run_with_kills(folder, count=KILL_COUNT, seed=3, pause_s=1.0)
