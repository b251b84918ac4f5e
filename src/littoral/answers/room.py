"""Room for entries: how much is kept, what leaves where that is too much, and what has expired.

All of it is counted in a `Table`, which a file keeps. Where that file is behind, ids are compared first, which is fast,
and what is new is read; then, as where it is missing, the collection is looked through page by page beside requests.
Until ids are compared, bounds hold for what is known so far; until all is looked through, nothing expires, since what
was made anew may stand in the file as it was.
"""

import asyncio
import contextlib
import logging

from littoral.answers.entries import INDEXES, id_of, point_id
from littoral.answers.eviction import ENTRY_OVERHEAD_BYTES, Row, Table, cost_of
from littoral.answers.points import Points
from littoral.answers.table_file import TableFile
from littoral.artifact.disk import Disk
from littoral.errors import LittoralError
from littoral.vectors.queries import PayloadSelector
from littoral.vectors.records import PointId, Record

__all__ = ["Room"]

PAGE = 32
"""Few: a question waits for the page before it, and each record of it is read from the disk."""
IDS_PAGE = 1000
NEW_SHARE = 4
"""Where more than a quarter is new, all is looked through at once."""
PAUSE_S = 1.0
OPENING_S = 2.0
SHARE = 100
"""Where there are too many, at least a hundredth of all leaves at once."""
EXPIRED_MAX = 4096
SAVE_SHARE = 50
SAVE_TURNS = 20
"""The table is saved once a fiftieth of it has changed, else at every twentieth turn."""
SEEN = PayloadSelector(include=["expires_at", "cost", "tokens", "bytes", "tier"])

_log = logging.getLogger("littoral.answers")


class Room:
    """entries_max, bytes_max: of all that is kept. evicted, expired: entries that left, since the start. is_behind: not
    all that is kept is counted yet.
    """

    def __init__(self, points: Points, disk: Disk, entries_max: int, bytes_max: int) -> None:
        self.table = Table()
        self.is_behind = True
        self.evicted = 0
        self.expired = 0
        self._points = points
        self._file = TableFile(disk)
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._making = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._turns = 0
        self._removed_count = 0
        self._is_known = False
        self._compared = asyncio.Event()

    async def open(self) -> None:
        """Knows what the file says; where that is not all, it begins to look. A collection that does not answer yet is
        waited for beside requests, after two seconds.
        """
        self.table, was_ended = await asyncio.to_thread(self._file.load)
        self._looking = asyncio.create_task(self._prepare(was_ended=was_ended))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPENING_S):
                await self._compared.wait()

    async def close(self) -> None:
        """Remembers what it counted."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        await asyncio.to_thread(self._file.save, self.table.pack(), is_end=self._is_known)

    async def looked_through(self) -> None:
        """When everything that is kept is known."""
        if self._looking is not None:
            await asyncio.shield(self._looking)

    async def make(self) -> None:
        """Before one more is kept: what is worth least leaves where there are too many. Raises as the collection."""
        if not self._is_full:
            return
        async with self._making:
            while self._is_full:
                over = self.table.count - self._entries_max
                await self._leave(self.table.least(max(over, self.table.count // SHARE, 1)))

    @property
    def _is_full(self) -> bool:
        return self.table.count >= self._entries_max or self.table.bytes > self._bytes_max

    async def _leave(self, entry_ids: list[bytes]) -> None:
        await self.delete(entry_ids)
        self.evicted += len(entry_ids)

    async def delete(self, entry_ids: list[bytes]) -> None:
        """From the collection, and then from what is known."""
        await self._points.delete([point_id(entry_id) for entry_id in entry_ids])
        self.forget(entry_ids)

    def forget(self, entry_ids: list[bytes]) -> None:
        """They are in the collection no more."""
        self._removed_count += 1
        self.table.remove(entry_ids)

    async def tend(self, expired_at_s: float) -> None:
        """What expired by then leaves, and the table is saved if it is time."""
        try:
            while self._is_known and (doomed := self.table.expired(expired_at_s, EXPIRED_MAX)):
                await self.delete(doomed)
                self.expired += len(doomed)
            await self.make()
        except LittoralError as error:
            _log.warning("answers: what expired is dropped later: %s", error.message)
        self._turns += 1
        if self.table.change_count * SAVE_SHARE > self.table.count or self._turns % SAVE_TURNS == 0:
            self.table.change_count = 0
            await asyncio.to_thread(self._file.save, self.table.pack())

    async def _prepare(self, *, was_ended: bool) -> None:
        """Makes indexes, and looks through all that is there unless the file knows it; over again, where the collection
        was away.
        """
        while not self._is_known:
            try:
                for field, schema in INDEXES.items():
                    await self._points.create_index(field, schema)
                self._is_known = was_ended and self.table.count == await self._points.count()
                self.is_behind = not self._is_known
                self._compared.set()
                if not self._is_known:
                    self.is_behind = not await self._compare_ids()
                    await self.make()
                    await self._look_once()
                    await self.make()
                    self.is_behind, self._is_known = False, True
            except LittoralError as error:
                was_ended = False
                _log.warning("answers: what is kept is not known yet: %s", error.message)
                await asyncio.sleep(PAUSE_S)

    async def _compare_ids(self) -> bool:
        """Counts what is there by what the file says of it; False where too much is new."""
        self.table.look_through()
        new = list[bytes]()
        offset: PointId | None = None
        while True:
            before = self._removed_count
            records, following = await self._points.scroll(limit=IDS_PAGE, offset=offset, with_payload=False)
            if before != self._removed_count:
                continue
            new += self.table.see([id_of(record.id) for record in records])
            if (offset := following) is None:
                break
        self.table.forget_unseen()
        if len(new) * NEW_SHARE > self.table.count:
            return False
        while new:
            before = self._removed_count
            records = await self._points.retrieve([point_id(one) for one in new[-PAGE:]], with_payload=SEEN)
            if before != self._removed_count:
                continue
            self._put(records)
            del new[-PAGE:]
        return True

    def _put(self, records: list[Record]) -> None:
        for record in records:
            self.table.put(id_of(record.id), _row(record))

    async def _look_once(self) -> None:
        self.table.look_through()
        offset: PointId | None = None
        while True:
            before = self._removed_count
            records, following = await self._points.scroll(limit=PAGE, offset=offset, with_payload=SEEN)
            if before != self._removed_count:
                continue
            self._put(records)
            if (offset := following) is None:
                break
        self.table.forget_unseen()


def _row(record: Record) -> Row:
    told = record.payload or {}
    cost = cost_of(int(told.get("cost", 0)), sum(told.get("tokens", ())))
    size = int(told.get("bytes", 0)) + ENTRY_OVERHEAD_BYTES
    return Row(int(told.get("expires_at", 0)), cost, size, told.get("tier") == "curated")
