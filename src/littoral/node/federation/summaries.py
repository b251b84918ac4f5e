"""Summaries of shards: of this node's own, made anew as they change, and of the others', as their holders tell them.

A point that lies in the balls of its shard's summary changes nothing that the summary proves. One that lies outside
makes it stale: every node that may believe it knows that before the write is acknowledged, or its lease is over
(`leases`), and a stale summary proves nothing until its holder has told a new one. So it is with what points have at
indexed payload keys, by which a filter rules out shards that have nothing of the kind. Points are held against the
latest summary, so that others may have none but that: an older one is told to be stale before its successor counts.
What a node told that is away is forgotten.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from littoral.clock import Clock
from littoral.node.federation.copies import MARK
from littoral.node.federation.messages import decoded, encode
from littoral.vectors.collection import Collection
from littoral.vectors.filters import Filter
from littoral.vectors.queries import PayloadChange, PayloadSelector
from littoral.vectors.records import CollectionConfig, Payload, PointBatch, VectorParams, vectors_by_id, vectors_of
from littoral.vectors.routing.payload_summary import keys_of, may_match, summed_up, widened_by
from littoral.vectors.routing.summary import ShardSummary
from littoral.vectors.routing.vector_summaries import (
    RowsByName,
    are_inside,
    summarize_all,
    summed,
    widened_all,
)

__all__ = [
    "STALE",
    "SUMMARIES",
    "Stale",
    "Summaries",
    "Vouched",
    "Wanted",
    "decode_stale",
    "decode_summaries",
    "decode_wanted",
    "encode",
]

SUMMARIES = "federated-summaries"
STALE = "federated-stale"
PAGE_BYTES = 4 << 20
PAGE_POINTS = 1000
SUMMARY_POINTS_MAX = 200_000
"""Of a larger shard so many points are summed up; what they leave out would make it a lie, so it has no summary."""

BUSY_SHARE = 0.05
"""Of the time in which this node makes summaries."""

INFO_S = 2.0
USED_S = 30.0
"""A collection that was searched within this time has its leases renewed."""


class Wanted(msgspec.Struct, array_like=True):
    """shards: that are asked for, with the epoch of what the caller has of this very node, 0 = none. model: that the
    caller goes by."""

    collection: str
    shards: dict[int, int]
    model: str = ""


class _Own(NamedTuple):
    """epoch: of the shard when it was summed up. busy_until_s: no sooner again."""

    summary: ShardSummary
    epoch: int
    busy_until_s: float


class _Late(NamedTuple):
    """What was written while a summary is being made."""

    vectors: dict[str, list[bytes]]
    payloads: list[Payload | None]


class _Told(NamedTuple):
    """until_s: so long it proves something: its teller acknowledges no write outside of it before this node knows."""

    teller: str
    summary: ShardSummary
    until_s: float = 0.0


class Stale(msgspec.Struct, array_like=True):
    """shards: that the sender holds, with the epoch of the first summary that proves something again."""

    collection: str
    shards: dict[int, int]


class Vouched(msgspec.Struct, array_like=True):
    """Of one collection. summaries: that the caller has not. shards: epoch of this node's summary, and for how many
    seconds from the question it proves something.
    """

    summaries: list[ShardSummary]
    shards: dict[int, tuple[int, float]]


_stale_decoder = msgspec.msgpack.Decoder(Stale)
_wanted_decoder = msgspec.msgpack.Decoder(list[Wanted])
_summaries_decoder = msgspec.msgpack.Decoder(dict[str, Vouched])


def decode_wanted(body: bytes, caller: str) -> list[Wanted]:
    """Raises InputError."""
    return decoded(_wanted_decoder, body, f"request of `{caller}` for summaries")


def decode_stale(body: bytes, sender: str) -> Stale:
    """Raises InputError."""
    return decoded(_stale_decoder, body, f"message of `{sender}` on summaries")


def decode_summaries(body: bytes, teller: str) -> dict[str, Vouched]:
    """Raises InputError."""
    return decoded(_summaries_decoder, body, f"summaries of `{teller}`")


class Summaries:
    """Of one node, for one event loop. version: grows with every change."""

    def __init__(self, clock: Clock) -> None:
        self.version = 0
        self._clock = clock
        self._own: dict[tuple[str, int], _Own] = {}
        self._told: dict[tuple[str, int], _Told] = {}
        self._least: dict[tuple[str, int, str], int] = {}
        self._late: dict[tuple[str, int], _Late] = {}
        self._doomed: set[tuple[str, int]] = set()
        """Summaries that are being made of points which lie here no more."""
        self._used_s: dict[str, float] = {}
        self._next: dict[tuple[str, int], int] = {}
        """Epoch of a summary that is about to take the place of one of this node's: nothing older is vouched for."""

    def of(self, collection: str, vector: str | None = None) -> Mapping[int, ShardSummary]:
        """By shard; this node's own first. vector: what they tell of the one with this name; None = as they are."""
        told = {shard: found.summary for (name, shard), found in self._told.items() if name == collection}
        own = {shard: found.summary for (name, shard), found in self._own.items() if name == collection}
        found = told | own
        if vector is None:
            return found
        parts = {shard: one.of(vector) for shard, one in found.items()}
        return {shard: one for shard, one in parts.items() if one is not None}

    def use(self, collection: str) -> None:
        """It is searched: what is known of it is to be proven at any moment."""
        self._used_s[collection] = self._clock.monotonic()

    def is_used(self, collection: str) -> bool:
        """Whether it was searched of late."""
        used_s = self._used_s.get(collection)
        return used_s is not None and self._clock.monotonic() - used_s < USED_S

    def proven(self, collection: str) -> frozenset[int]:
        """Shards whose summary proves something at this moment."""
        now_s = self._clock.monotonic()
        told = (shard for (name, shard), found in self._told.items() if name == collection and found.until_s > now_s)
        return frozenset(told) | {shard for name, shard in self._own if name == collection}

    def epochs(self, collection: str) -> tuple[tuple[int, str, int], ...]:
        """What other holders have told of their shards: it grows with every write that they tell of."""
        told = ((shard, found) for (name, shard), found in self._told.items() if name == collection)
        return tuple(sorted((shard, found.teller, found.summary.epoch) for shard, found in told))

    def barren(self, collection: str, matching: Filter | None) -> frozenset[int]:
        """Shards of other nodes in which provably nothing passes this filter, at this moment."""
        if matching is None:
            return frozenset()
        now_s = self._clock.monotonic()
        return frozenset(
            shard
            for (name, shard), found in self._told.items()
            if name == collection and found.until_s > now_s and not may_match(found.summary.payload, matching)
        )

    async def refresh(
        self, collection: str, shard: int, part: Collection, tell_stale: Callable[[int], Awaitable[None]]
    ) -> None:
        """Makes the summary of a shard of this node where it has changed; not all the time. Raises as `part` does.

        tell_stale: tells the other nodes that what has a lower epoch proves nothing.
        """
        if not (params := summed(part.config)):
            return
        key = (collection, shard)
        known = self._own.get(key)
        began = self._clock.monotonic()
        if (known is not None and began < known.busy_until_s) or key in self._late:
            return
        late = self._late[key] = _Late({name: [] for name in params}, [])
        try:
            info = await part.info(deadline_s=INFO_S)
            if (known is not None and info.epoch == known.epoch) or info.points_count > SUMMARY_POINTS_MAX:
                return
            keys = {key: kind for key, kind in keys_of(info.payload_schema).items() if key != MARK}
            vectors, payloads = await _points_of(part, params, list(keys))
            epoch = info.epoch
            summary = await asyncio.to_thread(summarize_all, vectors, params, shard=shard, epoch=epoch)
            self._next[key] = max(epoch, self.epoch(collection, shard) + 1)
            await tell_stale(self._next[key])
            if key in self._doomed:
                return
        finally:
            del self._late[key]
            self._next.pop(key, None)
            self._doomed.discard(key)
        summary = widened_all(summary, _rows(late.vectors, params), epoch=epoch)
        values = widened_by(summed_up(keys, payloads), late.payloads)
        epoch = max(epoch, self.epoch(collection, shard) + 1)
        summary = msgspec.structs.replace(summary, epoch=epoch, payload=values)
        now_s = self._clock.monotonic()
        self._own[key] = _Own(summary, info.epoch, now_s + (now_s - began) / BUSY_SHARE)
        self.version += 1

    def wrote(self, collection: str, shard: int, batch: PointBatch, config: CollectionConfig, epoch: int) -> int | None:
        """Points were written to a shard of this node, which has this epoch now. What was told of it before the epoch
        that is returned proves nothing any more; None where it still does.
        """
        if not (params := summed(config)):
            return None
        numbers = {name: _numbers(batch, name) for name in params}
        if (late := self._late.get((collection, shard))) is not None:
            for name, some in numbers.items():
                late.vectors[name] += some
        return self._widened(collection, shard, _rows(numbers, params), batch.payloads or [], epoch)

    def changed(
        self, collection: str, shard: int, change: PayloadChange, config: CollectionConfig, epoch: int
    ) -> int | None:
        """As `wrote`, for payloads alone."""
        if not summed(config):
            return None
        payload = change.payload if change.key is None else {_top(change.key): [[change.payload]]}
        return self._widened(collection, shard, {}, [payload], epoch)

    def _widened(
        self, collection: str, shard: int, vectors: RowsByName, payloads: Sequence[Payload | None], epoch: int
    ) -> int | None:
        key = (collection, shard)
        if (late := self._late.get(key)) is not None:
            late.payloads.extend(payloads)
        if (known := self._own.get(key)) is None:
            return epoch  # others may still have one of this node's last life
        values = widened_by(known.summary.payload, payloads)
        is_inside = are_inside(known.summary, vectors) and values == known.summary.payload
        if is_inside and not any(map(len, vectors.values())):
            return None
        summary = widened_all(known.summary, vectors, epoch=known.summary.epoch + 1)
        self._own[key] = known._replace(summary=msgspec.structs.replace(summary, payload=values))
        self.version += 1
        return None if is_inside else summary.epoch

    def exchanged(self, collection: str, shard: int) -> None:
        """Other points are in this shard of this node."""
        key = (collection, shard)
        self._own.pop(key, None)
        if key in self._late:
            self._doomed.add(key)
        self.version += 1

    def epoch(self, collection: str, shard: int) -> int:
        """Of the summary of a shard of this node; 0 without one."""
        known = self._own.get((collection, shard))
        return 0 if known is None else known.summary.epoch

    def stale(self, collection: str, shard: int, teller: str, epoch: int) -> None:
        """What this holder told before `epoch` proves nothing any more, nor what of it is still on its way."""
        self._least[collection, shard, teller] = epoch
        found = self._told.get((collection, shard))
        if found is not None and found.teller == teller and found.summary.epoch < epoch:
            del self._told[collection, shard]
            self.version += 1

    def forget(self, teller: str) -> None:
        """A node that is away: what is written there is not heard of."""
        for key in [key for key, found in self._told.items() if found.teller == teller]:
            del self._told[key]
            self.version += 1

    def wanted(self, collection: str, shards: Iterable[int], teller: str, model: str = "") -> Wanted:
        """What to ask a holder of these shards for."""
        known = {shard: self._told.get((collection, shard)) for shard in shards}
        return Wanted(
            collection,
            {
                shard: found.summary.epoch if found is not None and found.teller == teller else 0
                for shard, found in known.items()
            },
            model,
        )

    def vouched(self, wanted: Wanted, for_s: Callable[[int], float]) -> Vouched:
        """Of this node's shards, those summaries that the caller has not, and what all of them prove.

        for_s: by shard, for how long no write can be acknowledged that this node does not hear of.
        """
        found = {shard: self._own.get((wanted.collection, shard)) for shard in wanted.shards}
        own = {shard: one.summary for shard, one in found.items() if one is not None}
        return Vouched(
            [summary for shard, summary in own.items() if summary.epoch != wanted.shards[shard]],
            {
                shard: (summary.epoch, for_s(shard))
                for shard, summary in own.items()
                if summary.epoch >= self._next.get((wanted.collection, shard), 0)
            },
        )

    def take(self, collection: str, vouched: Vouched, teller: str, asked_s: float) -> None:
        """From a holder, who was asked at this time."""
        for summary in vouched.summaries:
            if summary.epoch < self._least.get((collection, summary.shard, teller), 0):
                continue
            self._told[collection, summary.shard] = _Told(teller, summary)
            self.version += 1
        for shard, (epoch, for_s) in vouched.shards.items():
            found = self._told.get((collection, shard))
            if found is not None and found.teller == teller and found.summary.epoch == epoch:
                self._told[collection, shard] = found._replace(until_s=asked_s + for_s)


def _numbers(batch: PointBatch, name: str) -> list[bytes]:
    """Of the vectors of that name, those that are there."""
    if isinstance(batch.vectors, bytes):
        return [] if name else [batch.vectors]
    return [one for one in vectors_of(batch, name) if one is not None]


def _rows(numbers: Mapping[str, list[bytes]], params: Mapping[str, VectorParams]) -> RowsByName:
    return {name: np.frombuffer(b"".join(numbers[name]), "<f4").reshape(-1, one.size) for name, one in params.items()}


def _top(key: str) -> str:
    """The key of the payload below which this one lies."""
    return key.partition(".")[0].partition("[")[0].strip('"')


async def _points_of(
    part: Collection, params: Mapping[str, VectorParams], keys: list[str]
) -> tuple[RowsByName, list[Payload | None]]:
    """Of all points: vectors of those that have them, by name, and payloads with these keys."""
    limit = max(1, min(PAGE_POINTS, PAGE_BYTES // (4 * sum(one.size for one in params.values()))))
    selected = PayloadSelector(include=keys) if keys else False
    rows: dict[str, list[bytes]] = {name: [] for name in params}
    payloads: list[Payload | None] = []
    offset = None
    while True:
        records, offset = await part.scroll(limit=limit, offset=offset, with_payload=selected, with_vector=list(params))
        for name, some in rows.items():
            some += [one for one in vectors_by_id(records, name).values() if isinstance(one, bytes)]
        payloads += [record.payload for record in records]
        if offset is None:
            return _rows(rows, params), payloads
