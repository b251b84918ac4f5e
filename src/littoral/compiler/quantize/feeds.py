"""Calibration feeds as they are given: read once, and no more of them than are allowed."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from littoral.errors import InputError
from littoral.tensors import Array

__all__ = ["FEEDS_MAX", "collected"]

FEEDS_MAX = 10_000


def collected(feeds: Any) -> list[Mapping[str, Array]]:
    """All of them. Raises InputError for what is no series of mappings, or for too many; an endless one ends here."""
    if isinstance(feeds, Mapping) or not isinstance(feeds, Iterable):
        kind = type(feeds).__name__
        raise InputError(f"int8: calibration feeds are one `{kind}`, must be a series", hint="a list of inputs by name")
    found = list(islice(feeds, FEEDS_MAX + 1))
    if not 0 < len(found) <= FEEDS_MAX:
        count = len(found) if len(found) <= FEEDS_MAX else f"more than {FEEDS_MAX}"
        raise InputError(f"int8: {count} calibration feeds, must be 1..{FEEDS_MAX}")
    for i, feed in enumerate(found):
        if not isinstance(feed, Mapping):
            raise InputError(f"int8: calibration feed {i} is a `{type(feed).__name__}`, must be inputs by name")
    return found
