"""How fast points are moved: gently where somebody searches, and never for ever."""

import asyncio

import pytest

from littoral.node.federation.moving.pacing import GAITS, REST_MAX_S, Pace
from littoral.testing.clock import SimulatedClock


def searches(pace: Pace, clock: SimulatedClock, count: int, took_s: float, *, beside: bool) -> None:
    for _ in range(count):
        began_s = clock.monotonic()
        if beside:
            with pace.at_work():
                clock.advance(took_s)
        else:
            clock.advance(took_s)
        pace.searched(began_s)


def test_pieces_are_large_while_nobody_searches() -> None:
    clock = SimulatedClock()
    pace = Pace(clock, 1e9)
    assert pace.level == 0
    searches(pace, clock, 1, 0.01, beside=False)
    assert pace.level == 1
    clock.advance(10)
    assert pace.level == 0


def test_gentler_while_searches_beside_are_slower_and_back_again() -> None:
    clock = SimulatedClock()
    pace = Pace(clock, 1e9)
    for wanted in (2, 3, 3):
        searches(pace, clock, 16, 0.010, beside=False)
        searches(pace, clock, 16, 0.020, beside=True)
        assert pace.level == wanted
    for wanted in (2, 1, 1):
        searches(pace, clock, 16, 0.010, beside=False)
        searches(pace, clock, 16, 0.011, beside=True)
        assert pace.level == wanted
    assert GAITS[1].points < GAITS[0].points


def test_a_search_that_a_piece_ended_in_ran_beside_it() -> None:
    clock = SimulatedClock()
    pace = Pace(clock, 1e9)
    searches(pace, clock, 16, 0.010, beside=False)
    for _ in range(16):
        began_s = clock.monotonic()
        with pace.at_work():
            clock.advance(0.015)
        clock.advance(0.015)
        pace.searched(began_s)
    assert pace.level == 2


@pytest.mark.parametrize(
    ("took_s", "sent", "level", "wanted_s"),
    [
        (0.01, 0, 0, 0.01),
        (0.01, 0, 1, 0.03),
        (0.01, 0, 3, 0.12),
        (5.0, 0, 9, REST_MAX_S),
        (0.01, 2_000_000, 0, 2.0),
    ],
)
async def test_it_rests_for_as_long_as_suits_the_gentler_of_both(
    monkeypatch: pytest.MonkeyPatch, took_s: float, sent: int, level: int, wanted_s: float
) -> None:
    """And not for longer than the floor allows, unless the bytes ask for it."""
    rested: list[float] = []

    async def sleep(duration_s: float) -> None:
        rested.append(duration_s)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    clock = SimulatedClock()
    pace = Pace(clock, 1e6)
    began_s = pace.now()
    clock.advance(took_s)
    await pace.spent(sent, began_s, level=level)
    assert rested == [pytest.approx(wanted_s, abs=0.02)]
