"""Times of writes: what one is to have, and what it got."""

from typing import NamedTuple

from littoral.errors import ConflictError
from littoral.vectors.replication.entries import Version

__all__ = ["ANY", "APART", "At", "LateError", "Shipment", "Stamp"]


APART = 16
"""Writes that know nothing of each other are so far apart: the steps of a point from one shard to another have times
between which nobody else's is.
"""


class At(NamedTuple):
    """time: the hybrid time of a write, the same in all shards that it is for; 0 = as this replica's clock gives it.

    is_told: to the shards that this one owes its points to; else only what was there before. seen: the time that each
    of its points must have before it; 0 = any that is earlier by more than `apart`. may_stray: they may belong to
    another shard afterwards.
    """

    time: int = 0
    is_told: bool = True
    seen: int = 0
    may_stray: bool = False
    apart: int = APART

    def is_late_for(self, version: Version | None) -> bool:
        """Whether a point of this version must not be written at this time."""
        if self.seen:
            return version is None or version.is_gone or version.time != self.seen or self.seen >= self.time
        return version is not None and version.time + self.apart >= self.time


ANY = At()


class LateError(ConflictError):
    """A write is to have a time that is not later than what is there. time: the latest known here."""

    def __init__(self, time: int) -> None:
        super().__init__(f"a write of hybrid time {time} or before it is there already")
        self.time = time


class Stamp(NamedTuple):
    """A write in the log: everything of its origin up to this number, at this hybrid time."""

    origin: str
    number: int
    time: int


class Shipment(NamedTuple):
    """Entries that another replica lacks. is_gapped: some it lacks are no longer kept here."""

    entries: list[bytes]
    is_gapped: bool
