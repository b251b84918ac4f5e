"""Purges, those that run and those of late: they win over answers that are being kept meanwhile."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from littoral.answers.entries import Entry, point_id
from littoral.errors import InputError
from littoral.vectors.filters import Condition, Filter, Match

__all__ = ["Purge", "Purges"]

REMEMBERED_MAX = 1024
"""Purges of late; an answer that was asked for before them all is not kept."""


class Purge(NamedTuple):
    """What goes: entries that meet all that is given, of tags one. Nothing given: all."""

    entry_id: bytes | None = None
    tags: tuple[str, ...] = ()
    model: str | None = None
    policy_version: str | None = None
    tenant: str | None = None

    @classmethod
    def of(
        cls,
        entry_id: bytes | None,
        tags: tuple[str, ...],
        model: str | None,
        policy_version: str | None,
        tenant: str | None,
        *,
        everything: bool,
    ) -> "Purge":
        """Raises InputError where nothing is given, or everything and something."""
        purge = cls(entry_id, tags, model, policy_version, tenant)
        if (purge == cls()) != everything:
            raise InputError(
                "purge: needs an id, tags, a model, a policy version or a tenant, or `everything` and nothing beside it"
            )
        return purge

    def matches(self, entry: Entry) -> bool:
        return (
            self.entry_id in (None, entry.id)
            and (not self.tags or not set(self.tags).isdisjoint(entry.tags))
            and self.model in (None, entry.model)
            and self.policy_version in (None, entry.policy_version)
            and self.tenant in (None, entry.tenant)
        )

    @property
    def filter(self) -> Filter:
        """The same for the collection."""
        given = (("model", self.model), ("policy", self.policy_version), ("tenant", self.tenant))
        must = [Condition(key=key, match=Match(value=value)) for key, value in given if value is not None]
        if self.tags:
            must.append(Condition(key="tags", match=Match(any=list(self.tags))))
        if self.entry_id is not None:
            must.append(Condition(has_id=[point_id(self.entry_id)]))
        return Filter(must=must)


class Purges:
    """For one event loop."""

    def __init__(self) -> None:
        self.mark = 0
        self._late: deque[tuple[int, Purge]] = deque(maxlen=REMEMBERED_MAX)
        self._running: list[Purge] = []
        self._keeping: dict[asyncio.Future[None], Entry] = {}

    def takes(self, entry: Entry, mark: int) -> bool:
        """Whether one that runs, or has run since then, takes this entry."""
        if any(purge.matches(entry) for purge in self._running):
            return True
        if self._late and mark < self._late[0][0] - 1:
            return True
        return any(number > mark and purge.matches(entry) for number, purge in self._late)

    @asynccontextmanager
    async def keeping(self, entry: Entry) -> AsyncIterator[None]:
        """Around the write of one that no purge takes so far."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeping[ended] = entry
        try:
            yield
        finally:
            del self._keeping[ended]
            ended.set_result(None)

    @asynccontextmanager
    async def purging(self, purge: Purge) -> AsyncIterator[None]:
        """Around the deletion. Entered when no answer that it takes is being written any more."""
        self.mark += 1
        self._late.append((self.mark, purge))
        self._running.append(purge)
        try:
            if doomed := [ended for ended, entry in self._keeping.items() if purge.matches(entry)]:
                await asyncio.wait(doomed)
            yield
        finally:
            self._running.remove(purge)
