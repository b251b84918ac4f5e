"""What replicas of a shard ask each other, as msgpack arrays, and the services that answer."""

from typing import Any, TypeVar

import msgspec

from littoral.errors import InputError

__all__ = [
    "DIGESTS",
    "PULL",
    "PUSH",
    "STATES",
    "VERSIONS",
    "AskDigests",
    "AskStates",
    "AskVersions",
    "Digests",
    "Pull",
    "Pulled",
    "Push",
    "Pushed",
    "decode",
    "encode",
]

PULL = "replica-pull"
PUSH = "replica-push"
DIGESTS = "replica-digests"
VERSIONS = "replica-versions"
STATES = "replica-states"

NODE_COUNT_MAX = 4096
KEY_COUNT_MAX = 256

_T = TypeVar("_T")


class Pull(msgspec.Struct, array_like=True):
    """What is there beyond this vector? The asking replica has all of it on its disk. settled: what its searches find
    too, if that is known.
    """

    shard: str
    vector: dict[str, int]
    bytes_max: int
    settled: dict[str, int] | None = None


class Pulled(msgspec.Struct, array_like=True):
    """vector: of the answering replica before it looked. is_gapped: some of what was asked for is no longer there."""

    entries: list[bytes]
    is_gapped: bool
    vector: dict[str, int]


class Push(msgspec.Struct, array_like=True):
    shard: str
    entries: list[bytes]


class Pushed(msgspec.Struct, array_like=True):
    """vector: what the replica has on its disk now."""

    vector: dict[str, int]


class AskDigests(msgspec.Struct, array_like=True):
    shard: str
    nodes: list[int]


class Digests(msgspec.Struct, array_like=True):
    """vector, floor: from before the digests were taken."""

    digests: list[bytes]
    vector: dict[str, int]
    floor: dict[str, int]


class AskVersions(msgspec.Struct, array_like=True):
    shard: str
    nodes: list[int]


class AskStates(msgspec.Struct, array_like=True):
    shard: str
    keys: list[bytes]
    bytes_max: int


_encoder = msgspec.msgpack.Encoder()


def encode(message: Any) -> bytes:
    """One body."""
    return _encoder.encode(message)


def decode(body: bytes, kind: type[_T]) -> _T:
    """Raises InputError."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{kind.__name__} of {len(body)} bytes: {error}") from error
