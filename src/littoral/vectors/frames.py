"""Messages between a node and its shard hosts: a length (u32, little-endian), then one msgpack array.

Every request has a `call` number that its answer repeats; answers come in any order. A frame that declares more than
16 MiB is refused before a byte of it is read. Vectors are float32 bytes: no list of numbers on this path.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from littoral.errors import (
    ConflictError,
    FullDiskError,
    InputError,
    LittoralError,
    NotFoundError,
    NotOfferedError,
    ShardError,
    TooLargeError,
    UnavailableError,
)
from littoral.vectors.asks import OrderBy
from littoral.vectors.filters import Filter
from littoral.vectors.indexes import IndexParams
from littoral.vectors.queries import PayloadChange, PayloadSelector, SearchQuery
from littoral.vectors.records import (
    Acknowledge,
    CollectionConfig,
    FacetValue,
    FieldSchema,
    Hit,
    HitGroup,
    PointBatch,
    PointId,
    Record,
    ScoredPair,
    ShardInfo,
    UpdateMode,
    VectorParams,
)
from littoral.vectors.tuning import SparseParams

__all__ = ["Answer", "Frames", "Request", "decode_answer", "decode_request", "encode", "error_of", "failure"]

FRAME_BYTES_MAX = 16 << 20
LENGTH_BYTES = 4


class _Message(msgspec.Struct, array_like=True, tag=True):
    """On the wire: [tag, call, fields …]."""

    call: int


class Upsert(_Message, tag="upsert"):
    points: PointBatch
    acknowledge: Acknowledge = "durable"
    mode: UpdateMode = "upsert"
    condition: Filter | None = None


class UpdateVectors(_Message, tag="update_vectors"):
    points: PointBatch
    acknowledge: Acknowledge = "durable"
    condition: Filter | None = None


class DeleteVectors(_Message, tag="delete_vectors"):
    """Exactly one of ids, filter."""

    names: list[str]
    ids: list[PointId] | None = None
    filter: Filter | None = None
    acknowledge: Acknowledge = "durable"


class Delete(_Message, tag="delete"):
    """Exactly one of ids, filter."""

    ids: list[PointId] | None = None
    filter: Filter | None = None
    acknowledge: Acknowledge = "durable"


class ChangePayload(_Message, tag="payload"):
    change: PayloadChange
    acknowledge: Acknowledge = "durable"


class CreateIndex(_Message, tag="create_index"):
    field: str
    schema: FieldSchema | IndexParams
    acknowledge: Acknowledge = "durable"


class DeleteIndex(_Message, tag="delete_index"):
    field: str
    acknowledge: Acknowledge = "durable"


class AddVector(_Message, tag="add_vector"):
    """Exactly one of dense, sparse."""

    name: str
    dense: VectorParams | None = None
    sparse: SparseParams | None = None
    acknowledge: Acknowledge = "durable"


class DropVector(_Message, tag="drop_vector"):
    name: str
    acknowledge: Acknowledge = "durable"


class Configure(_Message, tag="configure"):
    """The same vectors, other options."""

    config: CollectionConfig
    acknowledge: Acknowledge = "durable"


class Pack(_Message, tag="pack"):
    """Writes a snapshot to a file that is not there yet."""

    target: str
    acknowledge: Acknowledge = "durable"


class Optimize(_Message, tag="optimize"):
    """Blocks the host until it is done."""

    acknowledge: Acknowledge = "durable"


class Search(_Message, tag="search"):
    """as_json: the answer is `Told`; for queries that ask for no vectors."""

    queries: list[SearchQuery]
    as_json: bool = False


class Group(_Message, tag="group"):
    """by: path of the payload's value that groups. size: hits of a group; `query.limit` groups."""

    query: SearchQuery
    by: str
    size: int = 3


class Facet(_Message, tag="facet"):
    key: str
    limit: int = 10
    exact: bool = False
    filter: Filter | None = None


class Pairs(_Message, tag="pairs"):
    sample: int = 10
    limit: int = 3
    using: str = ""
    filter: Filter | None = None


class Retrieve(_Message, tag="retrieve"):
    ids: list[PointId]
    with_payload: bool | PayloadSelector = True
    with_vector: bool | list[str] = False


class Scroll(_Message, tag="scroll"):
    limit: int = 10
    offset: PointId | None = None
    filter: Filter | None = None
    with_payload: bool | PayloadSelector = True
    with_vector: bool | list[str] = False
    order: OrderBy | None = None


class Count(_Message, tag="count"):
    filter: Filter | None = None
    exact: bool = True


class Info(_Message, tag="info"):
    pass


class AskStatistics(_Message, tag="statistics"):
    pass


class Written(_Message, tag="written"):
    """A write is done, to the level asked for. `changed` is false where an optimize had nothing to do."""

    epoch: int
    changed: bool = True


class Found(_Message, tag="found"):
    epoch: int
    hits: list[list[Hit]]


class Told(_Message, tag="told"):
    """hits: of each query, a JSON list."""

    epoch: int
    hits: list[bytes]


class Grouped(_Message, tag="grouped"):
    epoch: int
    groups: list[HitGroup]


class Faceted(_Message, tag="faceted"):
    epoch: int
    values: list[FacetValue]


class Paired(_Message, tag="paired"):
    epoch: int
    pairs: list[ScoredPair]


class Records(_Message, tag="records"):
    epoch: int
    records: list[Record]
    following: PointId | None = None


class Counted(_Message, tag="counted"):
    epoch: int
    count: int


class Informed(_Message, tag="informed"):
    info: ShardInfo


class Statistics(msgspec.Struct):
    """Counters since the host started. `service_count` holds, per kind, how many took up to each of BUCKETS_S."""

    uptime_s: float = 0.0
    connection_count: int = 0
    request_count: dict[str, int] = {}
    failure_count: int = 0
    refused_count: int = 0
    dropped_connection_count: int = 0
    point_count: int = 0
    flush_count: int = 0
    flush_s: float = 0.0
    flush_acknowledged_max: int = 0
    query_batch_max: int = 0
    backlog_count: int = 0
    backlog_bytes: int = 0
    service_count: dict[str, list[int]] = {}
    service_s: dict[str, float] = {}


class Measured(_Message, tag="measured"):
    statistics: Statistics


class Failure(_Message, tag="failure"):
    """An error of our tree, by the name of its class."""

    kind: str
    message: str
    hint: str | None = None


PointWrite = Upsert | UpdateVectors | Delete | DeleteVectors | ChangePayload
Write = PointWrite | CreateIndex | DeleteIndex | AddVector | DropVector | Configure | Pack | Optimize
Read = Search | Group | Facet | Pairs | Retrieve | Scroll | Count | Info | AskStatistics
Request = Write | Read
Answer = Written | Found | Told | Grouped | Faceted | Paired | Records | Counted | Informed | Measured | Failure

BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

_KINDS = {
    kind.__name__: kind
    for kind in (
        ConflictError,
        FullDiskError,
        InputError,
        NotFoundError,
        NotOfferedError,
        ShardError,
        TooLargeError,
        UnavailableError,
    )
}

_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
_T = TypeVar("_T")


def encode(message: Any) -> bytearray:
    """One frame. Raises TooLargeError over 16 MiB, InputError for what is no msgpack (an integer beyond 64 bits)."""
    frame = bytearray(LENGTH_BYTES)
    try:
        _encoder.encode_into(message, frame, LENGTH_BYTES)
    except (OverflowError, TypeError, UnicodeEncodeError, RecursionError) as error:
        raise InputError(f"message cannot be sent: {error}") from error
    if (size := len(frame) - LENGTH_BYTES) > FRAME_BYTES_MAX:
        raise TooLargeError(f"message of {size} bytes, at most {FRAME_BYTES_MAX}", hint="ask for less at a time")
    frame[:LENGTH_BYTES] = size.to_bytes(LENGTH_BYTES, "little")
    return frame


def decode_request(body: bytes) -> Request:
    """Raises InputError."""
    return _decode(_request_decoder, body)


def decode_answer(body: bytes) -> Answer:
    """Raises InputError."""
    return _decode(_answer_decoder, body)


def _decode(decoder: msgspec.msgpack.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"message of {len(body)} bytes: {error}") from error


def call_of(body: bytes) -> int | None:
    """Number of a request that could not be decoded; None if it has none."""
    try:
        message = msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    match message:
        case [str(), int() as call, *_]:
            return call
    return None


def frame_length(prefix: bytes | bytearray) -> int:
    """Length that the four bytes declare. Raises TooLargeError over 16 MiB."""
    size = int.from_bytes(prefix[:LENGTH_BYTES], "little")
    if size > FRAME_BYTES_MAX:
        raise TooLargeError(f"frame declares {size} bytes, at most {FRAME_BYTES_MAX}")
    return size


class Frames:
    """Cuts a stream of bytes into frames; holds at most one unfinished one."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Bodies that are complete now. Raises TooLargeError; the stream cannot be followed any more then."""
        if not self._pending and len(data) > LENGTH_BYTES and LENGTH_BYTES + frame_length(data) == len(data):
            yield data[LENGTH_BYTES:]  # most often one whole frame
            return
        self._pending += data
        while len(self._pending) >= LENGTH_BYTES:
            end = LENGTH_BYTES + frame_length(self._pending)
            if len(self._pending) < end:
                return
            body = bytes(memoryview(self._pending)[LENGTH_BYTES:end])
            del self._pending[:end]
            yield body


def failure(call: int, error: LittoralError) -> Failure:
    """The error as a message."""
    return Failure(call=call, kind=type(error).__name__, message=error.message, hint=error.hint)


def error_of(answer: Failure) -> LittoralError:
    """The message as the error it was; a kind we do not know is a ShardError."""
    return _KINDS.get(answer.kind, ShardError)(answer.message, hint=answer.hint)
