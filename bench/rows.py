"""One measured figure, and how to measure it."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypedDict

__all__ = ["Row", "median_ms", "medians_ms", "row"]


class Row(TypedDict):
    """`ok` is None where there is no `limit`. `ratio` = value / peer_value."""

    key: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    limit: float | None
    ok: bool | None


def row(
    key: str,
    value: float,
    unit: str,
    *,
    limit: float | None = None,
    peer: str | None = None,
    peer_value: float | None = None,
) -> Row:
    """A row that holds when `value` is at most `limit`."""
    return Row(
        key=key,
        value=round(float(value), 4),
        unit=unit,
        peer=peer,
        peer_value=None if peer_value is None else round(peer_value, 4),
        ratio=None if peer_value is None else round(value / peer_value, 4),
        limit=limit,
        ok=None if limit is None else bool(value <= limit),
    )


def median_ms(work: Callable[[], object], *, repeats: int, warm_up: int = 1) -> float:
    """Median time of one call in milliseconds."""
    return medians_ms([work], repeats=repeats, warm_up=warm_up)[0]


def medians_ms(works: Sequence[Callable[[], object]], *, repeats: int, warm_up: int = 1) -> list[float]:
    """The same for several, called in turn: a change of the machine's speed meets all of them."""
    for _ in range(warm_up):
        for work in works:
            work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, found in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            found.append(time.perf_counter() - began)
    return [statistics.median(found) * 1000 for found in times]
