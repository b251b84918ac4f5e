"""What is written to a spread collection while it has two generations: nothing that one of them alone could have."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec

from littoral.errors import ConflictError
from littoral.node.federation.generations import Embed
from littoral.node.migration.sources import Source
from littoral.vectors import frames
from littoral.vectors.collection import Collection
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import PointBatch, PointVectors, vectors_of

__all__ = ["Write", "guarded", "made_anew"]

Write = Callable[[frames.Write, float], Awaitable[int]]


def guarded(collection: Collection, other: Collection, sources: Mapping[str, Source]) -> Write:
    """Writes of the generation that is read. other: of the other model. sources: of the vectors that are embedded anew.
    Raises ConflictError.
    """
    is_single = collection.config.is_single

    async def write(request: frames.Write, deadline_s: float) -> int:
        match request:
            case frames.Upsert():
                for source in sources.values():
                    source.check(request.points, collection.name)
            case frames.UpdateVectors() if is_single or _brings(request.points, sources):
                raise _alone(collection.name, type(request).__name__)
            case frames.DeleteVectors() if is_single:
                raise _alone(collection.name, type(request).__name__)
            case frames.ChangePayload():
                _check_kept(collection.name, request.change, sources)
            case frames.CreateIndex() | frames.DeleteIndex():
                await other.write_here(msgspec.structs.replace(request), deadline_s)
        return await collection.write_here(request, deadline_s)

    return write


def made_anew(
    name: str,
    current: Callable[[], Collection],
    embeds: Callable[[], Mapping[str, Embed]],
    sources: Mapping[str, Source],
) -> Write:
    """Writes of who embedded by the model before: embedded by the one that answers now. sources: by vector."""

    async def write(request: frames.Write, deadline_s: float) -> int:
        collection = current()
        if isinstance(request, frames.Upsert):
            for source in sources.values():
                source.check(request.points, name)
            request = msgspec.structs.replace(request, points=await _embedded(request.points, embeds()))
        if collection.instead is not None:
            return await collection.instead(request, deadline_s)
        return await collection.write_here(request, deadline_s)

    return write


async def _embedded(points: PointBatch, embeds: Mapping[str, Embed]) -> PointBatch:
    payloads = points.payloads or [None] * len(points.ids)
    if isinstance(points.vectors, bytes):
        return PointBatch(points.ids, b"".join([await embeds[""](one) for one in payloads]), points.payloads)
    rows: list[PointVectors] = []
    for row, payload in zip(points.vectors, payloads, strict=True):
        named = row if isinstance(row, dict) else {"": row}
        rows.append({**named, **{name: await embed(payload) for name, embed in embeds.items() if name in named}})
    return PointBatch(points.ids, rows, points.payloads)


def _brings(points: PointBatch, vectors: Iterable[str]) -> bool:
    """Whether one of the points has one of these."""
    return any(vector is not None for name in vectors for vector in vectors_of(points, name))


def _check_kept(name: str, change: PayloadChange, sources: Mapping[str, Source]) -> None:
    for source in sources.values():
        if _takes(change, source.key):
            raise ConflictError(
                f"collection `{name}` has two generations: the payload would lose what is embedded, `{source.key}`",
                hint="write whole points, or let the migration end: `littoral collections migrate NAME --drop`",
            )


def _takes(change: PayloadChange, key: str) -> bool:
    """Whether it may take from the payload what was embedded."""
    if change.how in ("clear", "remove"):
        return change.how == "clear" or key in (change.keys or [])
    if change.key is not None:
        return change.key.partition(".")[0].partition("[")[0] == key
    if change.how == "merge" and key not in (change.payload or {}):
        return False
    text = (change.payload or {}).get(key)
    return not isinstance(text, str) or not text


def _alone(name: str, what: str) -> ConflictError:
    return ConflictError(
        f"collection `{name}` has two generations: `{what}` would change one of them alone",
        hint="upsert whole points, or let the migration end: `littoral collections migrate NAME --drop`",
    )
