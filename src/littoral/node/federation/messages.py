"""What nodes ask each other for: requests as shard hosts take them, with the shards they are for."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from littoral.errors import InputError
from littoral.vectors import frames
from littoral.vectors.replication.hybrid_clock import TIME_MAX
from littoral.vectors.replication.stamps import APART, At

__all__ = ["READ", "WRITE", "Ask", "Part", "PartTold", "Told", "decode_ask", "decode_told", "decoded", "encode"]

READ = "federated-read"
WRITE = "federated-write"
SHARD_COUNT_MAX = 256

_T = TypeVar("_T")

Shard = Annotated[int, Meta(ge=0, lt=1 << 31)]


class Part(msgspec.Struct, array_like=True):
    """One request to some shards of one node."""

    shards: Annotated[list[Shard], Meta(min_length=1, max_length=SHARD_COUNT_MAX)]
    request: frames.Request


class Ask(msgspec.Struct, array_like=True):
    """map_number, model: what the caller goes by. deadline_s: the caller waits no longer. holders: that must have a
    write. time: hybrid time of a write, the same for all shards. is_told: not the leaving of a point that goes to
    another shard, which is told by that one. seen, may_stray, apart: as in `stamps.At`.
    """

    collection: str
    map_number: int
    model: str
    deadline_s: Annotated[float, Meta(gt=0, le=3600)]
    parts: Annotated[list[Part], Meta(min_length=1, max_length=2 * SHARD_COUNT_MAX)]
    holders: Annotated[int, Meta(ge=1, le=64)] = 1
    time: Annotated[int, Meta(ge=0, lt=TIME_MAX)] = 0
    is_told: bool = True
    seen: Annotated[int, Meta(ge=0, lt=TIME_MAX)] = 0
    may_stray: bool = False
    apart: Annotated[int, Meta(ge=0, le=APART)] = APART

    @property
    def at(self) -> At:
        return At(self.time, self.is_told, self.seen, self.may_stray, self.apart)


class PartTold(msgspec.Struct, array_like=True):
    """answers: each with the shards it is for. failures: of the others. late: shards that have something later than
    the write, and the latest time that they know. behind: shards of which the replica that answered may lack writes
    that were acknowledged. left_s: how long ago a point left one of them.
    """

    answers: list[tuple[list[int], frames.Answer]]
    failures: list[tuple[int, frames.Failure]]
    late: dict[int, int] = {}
    behind: list[int] = []
    left_s: float | None = None


class Told(msgspec.Struct, array_like=True):
    """map_number: what the teller goes by. parts: as asked; none where the teller knows that the shards asked for are
    no longer those to ask.
    """

    map_number: int
    parts: list[PartTold]
    has_moved: bool = False


_ask_decoder = msgspec.msgpack.Decoder(Ask)
_told_decoder = msgspec.msgpack.Decoder(Told)
encode = msgspec.msgpack.Encoder().encode


def decode_ask(body: bytes, caller: str) -> Ask:
    """Raises InputError."""
    return decoded(_ask_decoder, body, f"request of `{caller}`, {len(body)} bytes")


def decode_told(body: bytes, teller: str) -> Told:
    """Raises InputError."""
    return decoded(_told_decoder, body, f"answer of `{teller}`, {len(body)} bytes")


def decoded(decoder: msgspec.msgpack.Decoder[_T], body: bytes, what: str) -> _T:
    """What another node sent. Raises InputError, which begins with `what`."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{what}: {error}") from error
