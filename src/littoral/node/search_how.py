"""What a request's searches say of themselves, gathered on the way to whoever tells the caller."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import msgspec

__all__ = ["SearchHow", "note", "noting"]


class SearchHow:
    """Of one request. told: `asked`, `answered`, `missing` and so on; None while no spread collection was searched."""

    def __init__(self) -> None:
        self.told: dict[str, Any] | None = None

    def as_json(self) -> bytes:
        """Empty while there is nothing to tell."""
        return b"" if self.told is None else msgspec.json.encode(self.told)

    def note(self, told: dict[str, Any]) -> None:
        """Of several searches the worst of each is told."""
        if (before := self.told) is None:
            self.told = told
            return
        recalls = (before["expected_recall"], told["expected_recall"])
        withheld = sorted({*before.get("withheld", ()), *told.get("withheld", ())})
        filtered_out = min(before.get("filtered_out", 0), told.get("filtered_out", 0))
        self.told = {
            "asked": max(before["asked"], told["asked"]),
            "answered": min(before["answered"], told["answered"]),
            "missing": sorted({*before["missing"], *told["missing"]}),
            "certified": before["certified"] and told["certified"],
            "expected_recall": None if None in recalls else min(recalls),
        }
        if filtered_out:
            self.told["filtered_out"] = filtered_out
        if age_s := max(before.get("age_s", 0.0), told.get("age_s", 0.0)):
            self.told["age_s"] = age_s
        if withheld:
            self.told["withheld"] = withheld


_NOTED: ContextVar[SearchHow | None] = ContextVar("littoral search how", default=None)


@contextlib.contextmanager
def noting() -> Iterator[SearchHow]:
    """Around what answers one request."""
    how = SearchHow()
    before = _NOTED.set(how)
    try:
        yield how
    finally:
        _NOTED.reset(before)


def note(told: dict[str, Any]) -> None:
    """For a collection that is spread, after each search."""
    if (how := _NOTED.get()) is not None:
        how.note(told)
