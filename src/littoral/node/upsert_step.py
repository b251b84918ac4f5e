"""The step `{ upsert = … }`: one vector in, a durable point of a collection out; a message sent twice is one point."""

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from littoral.errors import InputError
from littoral.node.origin import Origin, origin
from littoral.runtime.edges import HITS, EdgeType, Fit, TensorsType, Value, fit_tensors, tensors_of
from littoral.runtime.step import How
from littoral.tensors import TensorSpec
from littoral.vectors.collection import Collection
from littoral.vectors.records import PointId

if TYPE_CHECKING:
    from littoral.node.audit.trail import Trail

__all__ = ["UpsertStage", "UpsertStep", "payload_of", "point_id"]

ID_MAX = 2**64
INPUT_BYTES_MAX = 64 << 10
_PLACE = re.compile(r"\{([a-z]+|[1-9])\}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class UpsertStep:
    """size: numbers of a vector. vector: its name, "" = the one without. find: gives the collection for each request,
    since one may be deleted and made again.

    is_by_message: the point's id is that of the message, where it has one; else that of its content. first: awaited
    before each write. trail: told each write.
    """

    def __init__(
        self,
        find: Callable[[], Collection],
        *,
        size: int,
        vector: str = "",
        is_by_message: bool = True,
        payload: Mapping[str, Any] | None = None,
        name: str = "upsert",
        first: Callable[[], Awaitable[None]] | None = None,
        trail: "Trail | None" = None,
    ) -> None:
        self.name = name
        self._find = find
        self._size = size
        self._vector = vector
        self._is_by_message = is_by_message
        self._payload = dict(payload or {})
        self._first = first
        self._trail = trail

    @property
    def takes(self) -> EdgeType:
        return TensorsType((TensorSpec("vector", "float32", (1, self._size)),))

    def bind(self, given: EdgeType) -> "UpsertStage":
        wanted = TensorSpec("vector", "float32", (1, self._size))
        fit = fit_tensors(given, [wanted])[0]
        return UpsertStage(
            fit, self._size, self._find, self._is_by_message, self._payload, self._first, self._trail, self._vector
        )


class UpsertStage(NamedTuple):
    fit: Fit
    size: int
    find: Callable[[], Collection]
    is_by_message: bool
    payload: Mapping[str, Any]
    first: Callable[[], Awaitable[None]] | None = None
    trail: "Trail | None" = None
    vector: str = ""

    @property
    def gives(self) -> EdgeType:
        return HITS

    async def run(self, value: Value, _how: How) -> Value:
        """The point, once it is durable. Raises NotFoundError where the collection was deleted, InputError for another
        size or a vector that is not finite, UnavailableError while its host is away for too long."""
        vectors = self.fit.of(tensors_of(value))
        if vectors.shape != (1, self.size):
            raise InputError(f"step `upsert`: vector of shape {list(vectors.shape)}, expected [1, {self.size}]")
        where = origin()
        point = point_id(where, is_by_message=self.is_by_message)
        payload = payload_of(self.payload, where)
        if self.first is not None:
            await self.first()
        if self.trail is None:
            epoch = await self.find().upsert([point], vectors, [payload], vector=self.vector, acknowledge="durable")
        else:
            epoch = await self.trail.upserting(self.find(), point, vectors, payload, self.vector)
        return [{"id": point, "epoch": epoch, "payload": payload}]


def point_id(where: Origin, *, is_by_message: bool) -> PointId:
    """A number or UUID that the message calls itself stays what it is; any other name, and content, become a UUID."""
    name = where.id if is_by_message else ""
    if not name:
        return str(uuid.UUID(hex=where.digest[:32], version=5))
    if name.isascii() and name.isdecimal() and len(name) <= 20 and int(name) < ID_MAX:
        return int(name)
    return name.lower() if _UUID.fullmatch(name) else str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def payload_of(template: Mapping[str, Any], where: Origin) -> dict[str, Any]:
    """The template with its places filled. A text that is `{time}` alone becomes the number."""
    return {key: _filled(value, where) if isinstance(value, str) else value for key, value in template.items()}


def _filled(text: str, where: Origin) -> str | float:
    if text == "{time}":
        return where.at
    return _PLACE.sub(lambda place: _value(place[1], where), text)


def _value(name: str, where: Origin) -> str:
    if name.isdecimal():
        return where.wildcards[int(name) - 1] if int(name) <= len(where.wildcards) else ""
    if name == "input":
        return _text(where.data)
    return {"id": where.id, "digest": where.digest, "topic": where.topic, "time": f"{where.at:.3f}"}[name]


def _text(data: bytes) -> str:
    if len(data) > INPUT_BYTES_MAX:
        raise InputError(
            f"step `upsert`: `{{input}}` has {len(data)} bytes, at most {INPUT_BYTES_MAX} go into a payload"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"step `upsert`: `{{input}}` is no UTF-8 text at byte {error.start}") from error
