"""What stands in the log: one JSON object an entry, without spaces, its keys in the order of `Entry`."""

from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

from littoral.errors import TrustError

__all__ = [
    "CLOSED",
    "DROPPED",
    "OPENED",
    "PRUNED",
    "RESTORED",
    "Entry",
    "Searched",
    "decode_entry",
    "digest_of",
    "encode_entry",
    "encode_searched",
]

MODEL_SETS_MAX = 256

OPENED, CLOSED = "opened", "closed"
DROPPED, PRUNED, RESTORED = "dropped", "pruned", "restored"
"""What the log says of itself."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """at_s: Unix seconds. did: such as `query`, `insert`, `delete`, `deploy`, `tokens`. who: a token by name and id, a
    peer, an MQTT route, `node` for what the node does by itself, `anybody` where no token is asked for.

    on: the collection, model or file. count: of points or of entries. digest: SHA-256 in hex; of: what it was made
    from: `vector` (float32, little-endian), `body` (of the request), `file`. model: whose embeddings these are.
    failed: it was refused or broke off, and may have been done in part. detail: whatever else belongs to it.
    """

    at_s: float
    did: str
    who: str
    on: str = ""
    count: int = 0
    digest: str = ""
    of: str = ""
    model: str = ""
    failed: str = ""
    detail: dict[str, Any] = {}


class Searched(msgspec.Struct, frozen=True, gc=False):
    """A search by one vector, as it is noted where it ran, and hashed and encoded later. did: as an entry's.

    vector: float32, little-endian. models: whose embeddings these are, as `str` tells each.
    """

    at_s: float
    did: str
    who: str
    on: str
    vector: bytes
    models: tuple[object, ...]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    return _encoder.encode(entry)


def encode_searched(searched: Searched) -> bytes:
    """Its entry."""
    at_s, did, who, on = searched.at_s, searched.did, searched.who, searched.on
    model = _joined(searched.models) if searched.models else ""
    return _encoder.encode(Entry(at_s, did, who, on, 1, sha256(searched.vector).hexdigest(), "vector", model))


@lru_cache(MODEL_SETS_MAX)
def _joined(models: tuple[object, ...]) -> str:
    return ",".join(map(str, models))


def decode_entry(data: bytes, index: int) -> Entry:
    """index: for messages. Raises TrustError for what is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError(f"entry {index}: {error}") from error


def digest_of(data: bytes) -> str:
    """As entries have it."""
    return sha256(data).hexdigest()
