"""Payload indexes of collections that are spread: every node of the site knows which there are to be.

An index is made or dropped on the holders that are here when it is asked for. Each notes it with the time of the
request, and tells it with its facts; of two requests for one field the later wins, everywhere. So a holder that was
away, one that lost its disk, and shards of another layout get them too.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from littoral.artifact.model import write_atomically
from littoral.errors import NodeError, RequestError, TooLargeError
from littoral.mesh.shard_map import ShardMap
from littoral.vectors import frames
from littoral.vectors.collection import Collection
from littoral.vectors.indexes import IndexParams
from littoral.vectors.records import FieldSchema
from littoral.vectors.replication.hybrid_clock import TIME_MAX
from littoral.vectors.replication.stamps import LateError

__all__ = ["PayloadIndexes", "Told"]

KEPT = "indexes.json"
FIELD_COUNT_MAX = 256
FILE_BYTES_MAX = 8 << 20

Told = Mapping[str, Mapping[str, tuple[int, bytes]]]
"""By life of a collection and field, the hybrid time of the last request, and the schema as JSON; empty = dropped."""

_log = logging.getLogger("littoral.mesh.indexes")
_schemas = msgspec.json.Decoder(FieldSchema | IndexParams)


class _Wish(msgspec.Struct, frozen=True, array_like=True, order=True):
    """schema: as JSON; empty = there is to be none."""

    time: Annotated[int, Meta(ge=0, le=TIME_MAX)]
    schema: str = ""


_files = msgspec.json.Decoder(dict[str, dict[str, _Wish]])


class _Settled(NamedTuple):
    """Of one life of a shard."""

    life: str
    wishes: dict[str, _Wish]


class PayloadIndexes:
    """Of one node, for one event loop. folder: of the mesh's files. Raises NodeError for a file that cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / KEPT
        self._wishes = self._read()
        self._settled: dict[str, _Settled] = {}
        self._writing = asyncio.Lock()
        self.map: Callable[[], ShardMap] = ShardMap
        """That this node goes by: what was told of a collection that was deleted is not for its successor."""
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def _life(self, collection: str) -> str:
        """Under which wishes are kept and told."""
        shard_map = self.map()
        spread = shard_map.spreads.get(collection)
        born = shard_map.given if spread is None else spread.born
        return f"{collection}.{born}" if born else collection

    def _is_over(self, life: str) -> bool:
        name, _, born = life.partition(".")
        return self.map().is_over(name, int(born) if born.isdigit() else 0)

    def _read(self) -> dict[str, dict[str, _Wish]]:
        try:
            with self._file.open("rb") as stream:
                return _files.decode(stream.read(FILE_BYTES_MAX))
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NodeError(f"`{self._file}`: {error}", hint="remove it: the node hears from its peers") from error

    def changing(self, part: str) -> asyncio.Lock:
        """Held while a request is done on this shard and noted: what was wished before is not done in between."""
        return self._changing[part]

    def check(self, collection: str, field: str, time: int) -> None:
        """Before a request of this hybrid time is done. Raises LateError where a later one is known, TooLargeError."""
        wishes = self._wishes.get(self._life(collection), {})
        if field in wishes and wishes[field].time > time:
            raise LateError(wishes[field].time)
        if field not in wishes and len(wishes) >= FIELD_COUNT_MAX:
            raise TooLargeError(f"collection `{collection}` had {FIELD_COUNT_MAX} payload indexes, which is the most")

    async def note(self, collection: str, request: frames.CreateIndex | frames.DeleteIndex, time: int) -> None:
        """A request of this hybrid time was done on a shard here. On the disk when it returns."""
        schema = msgspec.json.encode(request.schema).decode() if isinstance(request, frames.CreateIndex) else ""
        await self._take({self._life(collection): {request.field: _Wish(time, schema)}})

    def told(self) -> dict[str, dict[str, tuple[int, bytes]]]:
        """For the other nodes."""
        return {
            collection: {field: (wish.time, wish.schema.encode()) for field, wish in wishes.items()}
            for collection, wishes in self._wishes.items()
        }

    async def heard(self, told: Told) -> None:
        """What another node goes by: the later request for a field wins. What cannot be read is left out."""
        found: dict[str, dict[str, _Wish]] = {}
        for collection, fields in told.items():
            if self._is_over(collection):
                continue
            for field, (time, schema) in fields.items():
                if (time, schema) == self._pair(collection, field):
                    continue
                if 0 <= time <= TIME_MAX and _is_schema(schema):
                    found.setdefault(collection, {})[field] = _Wish(time, schema.decode())
        if found:
            await self._take(found)

    def _pair(self, collection: str, field: str) -> tuple[int, bytes] | None:
        wish = self._wishes.get(collection, {}).get(field)
        return None if wish is None else (wish.time, wish.schema.encode())

    async def _take(self, told: Mapping[str, Mapping[str, _Wish]]) -> None:
        async with self._writing:
            wishes = {name: dict(fields) for name, fields in self._wishes.items() if not self._is_over(name)}
            for collection, fields in told.items():
                known = wishes.setdefault(collection, {})
                for field, wish in fields.items():
                    if field in known or len(known) < FIELD_COUNT_MAX:
                        known[field] = max(wish, known.get(field, wish))
            if wishes != self._wishes:
                try:
                    await asyncio.to_thread(write_atomically, self._file, msgspec.json.encode(wishes))
                except OSError as error:
                    raise NodeError(f"`{self._file}`: {error.strerror}", hint="make room, and try again") from error
                self._wishes = wishes

    async def keep_up(self, told: Iterable[Told], parts: Iterable[tuple[str, Collection | None]]) -> None:
        """With what others tell, and makes and drops what these shards, by collection, lack of it."""
        for one in told:
            await self.heard(one)
        for collection, part in parts:
            if part is not None:
                await self.settle(collection, part)

    async def settle(self, collection: str, part: Collection) -> None:
        """A shard here has the indexes that there are to be. Raises UnavailableError, ShardError."""
        if part.name not in self._settled or self._settled[part.name].life != part.life:
            self._settled[part.name] = _Settled(part.life, {})
        settled, life = self._settled[part.name].wishes, self._life(collection)
        for field, wish in self._wishes.get(life, {}).items():
            if settled.get(field) == wish:
                continue
            async with self._changing[part.name]:
                if self._wishes.get(life, {}).get(field) == wish:
                    await _do(part, field, wish)
                    settled[field] = wish


async def _do(part: Collection, field: str, wish: _Wish) -> None:
    try:
        if wish.schema:
            await part.create_index(field, _schemas.decode(wish.schema))
        elif field in (await part.info()).payload_schema:
            await part.delete_index(field)
    except RequestError as error:
        _log.warning("shard `%s`: payload index `%s`: %s", part.name, field, error)


def _is_schema(told: bytes) -> bool:
    try:
        return not told or _schemas.decode(told) is not None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
