"""Entries of a log by what was done, by whom, to what and when, from the newest back."""

from collections.abc import Iterator
from typing import NamedTuple

from littoral.audit.entries import Entry, decode_entry
from littoral.audit.log import LogFolder
from littoral.audit.tiles import WIDTH
from littoral.errors import NotFoundError

__all__ = ["Found", "Wanted", "find_entries"]


class Wanted(NamedTuple):
    """Empty or None: whatever it is. who: a token by its name, with or without its id. since_s, until_s: Unix time."""

    did: str = ""
    who: str = ""
    on: str = ""
    since_s: float | None = None
    until_s: float | None = None

    def fits(self, entry: Entry) -> bool:
        return (
            self.did in ("", entry.did)
            and self.who in ("", entry.who, entry.who.partition("#")[0])
            and self.on in ("", entry.on)
            and (self.since_s is None or entry.at_s >= self.since_s)
            and (self.until_s is None or entry.at_s <= self.until_s)
        )


class Found(NamedTuple):
    """entries: by number, the oldest first. before: older ones may be found from there on; None: there are none."""

    entries: list[tuple[int, bytes]]
    before: int | None


def find_entries(
    log: LogFolder, wanted: Wanted, *, count: int, before: int | None = None, looked_max: int | None = None
) -> Found:
    """At most `count` of those below `before`, of at most `looked_max` and a bundle that are looked at.

    What was pruned is not found. Raises TrustError for a file that is none.
    """
    end = log.size if before is None else min(before, log.size)
    found: list[tuple[int, bytes]] = []
    for looked, (number, data) in enumerate(_backwards(log, end), 1):
        if wanted.fits(decode_entry(data, number)):
            found.append((number, data))
        if len(found) == count or (looked_max is not None and looked >= looked_max):
            return Found(found[::-1], number or None)
    return Found(found[::-1], None)


def _backwards(log: LogFolder, end: int) -> Iterator[tuple[int, bytes]]:
    while end:
        first = (end - 1) // WIDTH * WIDTH
        try:
            entries = log.entries(first // WIDTH)
        except NotFoundError:
            return
        yield from reversed(list(enumerate(entries[: end - first], first)))
        end = first
