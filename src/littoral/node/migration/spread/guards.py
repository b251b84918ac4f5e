"""What is written to a spread collection while it has two generations: nothing that one of them alone could have."""

from collections.abc import Awaitable, Callable

import msgspec

from littoral.errors import ConflictError
from littoral.node.migration.sources import Source
from littoral.vectors import frames
from littoral.vectors.collection import Collection
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import Payload, PointBatch

__all__ = ["Write", "guarded", "made_anew"]

Write = Callable[[frames.Write, float], Awaitable[int]]


def guarded(collection: Collection, other: Collection, source: Source) -> Write:
    """Writes of the generation that is read. other: of the other model. Raises ConflictError."""

    async def write(request: frames.Write, deadline_s: float) -> int:
        match request:
            case frames.Upsert():
                source.check(request.points, collection.name)
            case frames.UpdateVectors() | frames.DeleteVectors():
                raise _alone(collection.name, type(request).__name__)
            case frames.ChangePayload() if _takes(request.change, source.key):
                raise ConflictError(
                    f"collection `{collection.name}` has two generations: the payload would lose what is embedded, "
                    f"`{source.key}`",
                    hint="write whole points, or let the migration end: `littoral collections migrate NAME --drop`",
                )
            case frames.CreateIndex() | frames.DeleteIndex():
                await other.write_here(msgspec.structs.replace(request), deadline_s)
        return await collection.write_here(request, deadline_s)

    return write


def made_anew(
    name: str, current: Callable[[], Collection], embed: Callable[[Payload | None], Awaitable[bytes]], source: Source
) -> Write:
    """Writes of who embedded by the model before: embedded by the one that answers now."""

    async def write(request: frames.Write, deadline_s: float) -> int:
        collection = current()
        if isinstance(request, frames.Upsert):
            source.check(request.points, name)
            points = request.points
            vectors = [await embed(payload) for payload in points.payloads or []]
            request = msgspec.structs.replace(
                request, points=PointBatch(points.ids, b"".join(vectors), points.payloads)
            )
        if collection.instead is not None:
            return await collection.instead(request, deadline_s)
        return await collection.write_here(request, deadline_s)

    return write


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
