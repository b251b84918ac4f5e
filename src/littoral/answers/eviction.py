"""What the store knows of each entry by heart: arrays of numbers, 59 bytes an entry, and which one is to leave first.

An entry's worth is what it saves: `base + cost × (1 + uses) / size`, where `base` is the worth of the one that left
last, so that what was of use long ago gives way (Greedy-Dual-Size-Frequency; Cherkasova, HP Labs 1998). Curated entries
leave after all learned ones. Nothing that is told depends on these numbers: they say only what is dropped.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.answers.entries import ID_BYTES, Entry
from littoral.errors import ArtifactError

__all__ = ["ENTRY_OVERHEAD_BYTES", "Row", "Table", "row_of"]

ENTRY_OVERHEAD_BYTES = 1600
"""Of an entry on the disk beside question and answer: vector, graph, indexes, the rest of the payload."""

MAGIC = b"LITTORAL-ANSWERS-1\n"
SUM_BYTES = 32
BASE_BYTES = 8
ROWS_MIN = 1024
TAIL_MAX = 4096
USES_MAX = 2**32 - 1
FORM = np.dtype(
    [
        ("head", "<u8"),
        ("rest", "<u8"),
        ("worth", "<f8"),
        ("expires_at", "<i8"),
        ("cost", "<f4"),
        ("size", "<u4"),
        ("uses", "<u4"),
        ("is_curated", "u1"),
    ]
)


class Row(NamedTuple):
    """What is known of one entry. expires_at_s 0: never. cost: what a use saves; size_bytes: on the disk."""

    expires_at_s: int
    cost: float
    size_bytes: int
    is_curated: bool = False


def row_of(entry: Entry) -> Row:
    return Row(
        entry.expires_at_s,
        cost_of(entry.cost_micro, entry.prompt_tokens + entry.completion_tokens),
        entry.size_bytes + ENTRY_OVERHEAD_BYTES,
        entry.tier == "curated",
    )


def cost_of(cost_micro: int, tokens: int) -> float:
    """What telling an answer again saves: its price; where none is known, a millionth for each of its tokens."""
    return float(cost_micro or tokens or 1)


class Table:
    """Rows by id, in arrays. Most are found by a sorted column, the last few thousand that came by a dict.

    No Python object stays for an entry beyond these. For one event loop.
    """

    def __init__(self) -> None:
        self._rows = np.zeros(ROWS_MIN, FORM)
        self._is_there = np.zeros(ROWS_MIN, bool)
        self._is_seen = np.zeros(ROWS_MIN, bool)
        self._top = 0
        self._heads = np.zeros(0, np.uint64)
        self._order = np.zeros(0, np.int32)
        self._tail: dict[int, int] = {}
        self._base = 0.0
        self.count = 0
        self.bytes = 0
        self.change_count = 0
        """Of entries that came or left, since somebody set it to 0."""

    def __contains__(self, entry_id: bytes) -> bool:
        return self._find(_head(entry_id)) is not None

    def put(self, entry_id: bytes, row: Row) -> None:
        """A new entry, or what is new of one; how often it was of use stays."""
        head = _head(entry_id)
        if (at := self._find(head)) is None:
            at = self._added(head, entry_id)
        self.bytes += row.size_bytes - int(self._rows["size"][at])
        found = self._rows[at]
        found["expires_at"], found["cost"], found["size"] = row.expires_at_s, row.cost, min(row.size_bytes, USES_MAX)
        found["is_curated"] = row.is_curated
        self._is_seen[at] = True
        self._weigh(at)

    def used(self, entry_id: bytes) -> None:
        """It was told again; one that is not here is no error."""
        if (at := self._find(_head(entry_id))) is not None:
            self._rows["uses"][at] = min(int(self._rows["uses"][at]) + 1, USES_MAX)
            self._weigh(at)

    def remove(self, entry_ids: list[bytes]) -> None:
        """Those that are not here are no error."""
        for entry_id in entry_ids:
            head = _head(entry_id)
            if (at := self._find(head)) is not None:
                self._is_there[at] = False
                self._tail.pop(head, None)
                self.bytes -= int(self._rows["size"][at])
                self.count -= 1
                self.change_count += 1

    def least(self, count: int) -> list[bytes]:
        """Ids of those that are to leave first; what stays is worth no less from now on."""
        there = np.flatnonzero(self._is_there[: self._top])
        if not (count := min(count, len(there))):
            return []
        worth = self._rows["worth"][there]
        is_curated = self._rows["is_curated"][there] > 0
        chosen = np.argpartition(worth + is_curated * (worth.max() + 1), count - 1)[:count]
        self._base = max(self._base, float(worth[chosen][~is_curated[chosen]].max(initial=0.0)))
        return self._ids(there[chosen])

    def expired(self, at_s: float, count: int) -> list[bytes]:
        """Ids of at most so many that had expired by then."""
        times = self._rows["expires_at"][: self._top]
        return self._ids(np.flatnonzero((times > 0) & (times <= at_s) & self._is_there[: self._top])[:count])

    def look_through(self) -> None:
        """Before everything that is kept is put here again; `forget_unseen` follows."""
        self._is_seen[:] = False

    def see(self, entry_ids: list[bytes]) -> list[bytes]:
        """As if those were put that are here; the others of them."""
        if self._tail:
            self._sort()
        if not len(self._heads):
            return entry_ids
        heads = np.frombuffer(b"".join(entry_ids), ">u8")[::2].astype(np.uint64)
        places = np.minimum(self._heads.searchsorted(heads), len(self._heads) - 1)
        rows = self._order[places]
        are_here = (self._heads[places] == heads) & self._is_there[rows]
        self._is_seen[rows[are_here]] = True
        return [entry_ids[at] for at in np.flatnonzero(~are_here).tolist()]

    def forget_unseen(self) -> int:
        """What was not put since `look_through` is not kept any more; how many these were."""
        rows = np.flatnonzero(self._is_there[: self._top] & ~self._is_seen[: self._top])
        self.remove(self._ids(rows))
        return len(rows)

    def pack(self) -> bytes:
        """All of it, to be kept in a file."""
        told = b"".join(
            (MAGIC, np.float64(self._base).tobytes(), self._rows[: self._top][self._is_there[: self._top]].tobytes())
        )
        return told + hashlib.blake2b(told, digest_size=SUM_BYTES).digest()

    @classmethod
    def unpack(cls, data: bytes) -> "Table":
        """Raises ArtifactError for what is damaged, or of another version."""
        told, found = data[:-SUM_BYTES], data[-SUM_BYTES:]
        body = told[len(MAGIC) + BASE_BYTES :]
        is_whole = hashlib.blake2b(told, digest_size=SUM_BYTES).digest() == found
        if not told.startswith(MAGIC) or not is_whole or len(body) % FORM.itemsize:
            raise ArtifactError(f"table of answers: {len(data)} bytes are damaged, or of another version")
        table = cls()
        table._base = float(np.frombuffer(told, "<f8", 1, len(MAGIC))[0])
        table._take(np.frombuffer(body, FORM))
        return table

    def _take(self, rows: npt.NDArray[Any]) -> None:
        capacity = max(ROWS_MIN, len(rows) + len(rows) // 2 + TAIL_MAX)
        self._rows, self._is_there, self._is_seen = np.zeros(capacity, FORM), *np.zeros((2, capacity), bool)
        self._rows[: len(rows)] = rows
        self._is_there[: len(rows)] = True
        self._top = self.count = len(rows)
        self.bytes = int(rows["size"].sum(dtype=np.int64))
        self._sort()

    def _find(self, head: int) -> int | None:
        if (at := self._tail.get(head)) is not None:
            return at
        place = int(self._heads.searchsorted(np.uint64(head)))
        if place == len(self._heads) or int(self._heads[place]) != head:
            return None
        at = int(self._order[place])
        return at if self._is_there[at] else None

    def _added(self, head: int, entry_id: bytes) -> int:
        if self._top == len(self._rows):
            self._make_room()
        elif len(self._tail) >= TAIL_MAX:
            self._sort()
        at = self._top
        self._rows[at] = (head, _rest(entry_id), 0.0, 0, 0.0, 0, 0, 0)
        self._is_there[at] = True
        self._tail[head] = at
        self._top += 1
        self.count += 1
        self.change_count += 1
        return at

    def _make_room(self) -> None:
        """Without those that left, or larger by half."""
        there = self._is_there[: self._top]
        seen = self._is_seen[: self._top][there]
        self._take(self._rows[: self._top][there])
        self._is_seen[: len(seen)] = seen

    def _sort(self) -> None:
        rows = np.flatnonzero(self._is_there[: self._top])
        order = np.argsort(self._rows["head"][rows], kind="stable")
        self._order = rows[order].astype(np.int32)
        self._heads = self._rows["head"][self._order]
        self._tail.clear()

    def _weigh(self, at: int) -> None:
        row = self._rows[at]
        uses = 1.0 + float(row["uses"])
        self._rows["worth"][at] = self._base + float(row["cost"]) * uses / max(1, int(row["size"]))

    def _ids(self, rows: npt.NDArray[Any]) -> list[bytes]:
        found = self._rows[rows]
        return [
            int(h).to_bytes(8, "big") + int(r).to_bytes(8, "big")
            for h, r in zip(found["head"], found["rest"], strict=True)
        ]


def _head(entry_id: bytes) -> int:
    return int.from_bytes(entry_id[:8], "big")


def _rest(entry_id: bytes) -> int:
    return int.from_bytes(entry_id[8:ID_BYTES], "big")
