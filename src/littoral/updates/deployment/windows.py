"""Maintenance windows: when installing may begin. Pure."""

from collections.abc import Sequence

from littoral.updates.wire import Window

__all__ = ["is_open", "opens_in_s"]

MINUTE_S = 60
DAY_MINUTES = 1440
DAY_S = DAY_MINUTES * MINUTE_S
WEEK_DAYS = 7
THURSDAY = 3
"""Of 1970-01-01, Monday being 0."""


def is_open(windows: Sequence[Window], now: float) -> bool:
    """now: seconds since 1970, UTC. No window at all: always."""
    if not windows:
        return True
    day, minute = _day(now), int(now % DAY_S) // MINUTE_S
    return any(_holds(one, day, minute) for one in windows)


def opens_in_s(windows: Sequence[Window], now: float) -> float:
    """Until the next one opens; 0 while one is open; a week where none ever does."""
    if is_open(windows, now):
        return 0.0
    first = now - now % MINUTE_S + MINUTE_S
    for minutes in range(WEEK_DAYS * DAY_MINUTES):
        if is_open(windows, first + minutes * MINUTE_S):
            return first + minutes * MINUTE_S - now
    return float(WEEK_DAYS * DAY_S)


def _day(now: float) -> int:
    return (int(now // DAY_S) + THURSDAY) % WEEK_DAYS


def _holds(window: Window, day: int, minute: int) -> bool:
    """One over midnight belongs to the day that it begins on."""
    if window.from_minute <= window.to_minute:
        return day in window.days and window.from_minute <= minute < window.to_minute
    if minute >= window.from_minute:
        return day in window.days
    return minute < window.to_minute and (day - 1) % WEEK_DAYS in window.days
