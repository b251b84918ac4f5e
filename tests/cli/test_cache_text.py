"""What `littoral cache stats` says of requests that were asked ahead, and of questions from elsewhere."""

from typing import Any

import msgspec
import pytest

from littoral.cli.cache_text import stats_lines
from littoral.node.gateway.shown import AheadTold, ErrorTold, GatewayTold, HistoryTold, SavedTold


def told(ahead: AheadTold, moved: int) -> dict[str, Any]:
    error = ErrorTold("hit", 0.02, "ok", 40, 10, 0, None, None, None, 0, moved)
    found = GatewayTold(
        upstreams=[],
        budgets=[],
        rules=[],
        outcomes={"miss": 9},
        joined=0,
        ahead=ahead,
        hit_share=0.0,
        saved=SavedTold(0, 0.0, 90, 0.5),
        history=HistoryTold(60, ["miss"], []),
        similarity_counts=[0] * 20,
        cache=None,
        error=error,
        judge=None,
        misses=0,
    )
    return dict(msgspec.to_builtins(found))


def test_what_was_asked_ahead_is_told_with_what_it_was_for() -> None:
    lines = list(stats_lines(told(AheadTold(1_200, 30, 4), 0)))
    assert "ahead      1,200 asked while compared; 30 for nothing, 4 faster than the remembered answer" in lines
    assert not [line for line in stats_lines(told(AheadTold(0, 0, 0), 0)) if line.startswith("ahead")]


@pytest.mark.parametrize(("moved", "times"), [(1, "once"), (3, "3 times")])
def test_questions_from_elsewhere_are_told(moved: int, times: str) -> None:
    line = f"moved      questions came from elsewhere {times}: what was judged before weighs little since"
    assert line in stats_lines(told(AheadTold(0, 0, 0), moved))
    assert line not in stats_lines(told(AheadTold(0, 0, 0), 0))
