"""What every role's metadata has in common: versions, times, signatures, and what a snapshot says of the others."""

import datetime as dt
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from securesystemslib.signer import Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from littoral.clock import Clock
from littoral.errors import TrustError

__all__ = [
    "EXPIRIES",
    "Expiries",
    "Pending",
    "half_is_over",
    "later",
    "meta_of",
    "packed",
    "read_metadata",
    "sign_all",
    "stamped",
]

DAY_S = 86400.0

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)


class Expiries(NamedTuple):
    """How long what is signed is good for, in days.

    timestamp: the longest outage of the orchestrator after which nodes still install what they have heard of, and how
    long a stick is valid. root, targets: signed by people, so until they meet again.
    """

    root_days: float = 365.0
    targets_days: float = 180.0
    snapshot_days: float = 30.0
    timestamp_days: float = 7.0
    director_days: float = 30.0


EXPIRIES = Expiries()


class Pending(NamedTuple):
    """A version that waits for signatures. signed_by, may_sign: ids of keys. missing: signatures until it counts.

    dropped: signatures that an earlier draft had and this one, which says something else, has not.
    """

    role: str
    version: int
    signed_by: tuple[str, ...]
    may_sign: tuple[str, ...]
    wanted: int
    missing: int
    dropped: int = 0


def later(clock: Clock, days: float) -> dt.datetime:
    """So many days from now."""
    return dt.datetime.fromtimestamp(clock.wall() + days * DAY_S, dt.UTC)


def half_is_over(signed: Root | Timestamp | Snapshot | Targets, clock: Clock, days: float) -> bool:
    """Whether less than half the life of what was signed is left."""
    return signed.expires.timestamp() - clock.wall() < days * DAY_S / 2


def sign_all(metadata: Metadata[Any], signers: Iterable[Signer]) -> bytes:
    """By all of them, and as the bytes that are served. Raises TrustError for a signer that fails."""
    metadata.signatures.clear()
    try:
        for signer in signers:
            metadata.sign(signer, append=True)
    except UnsignedMetadataError as error:
        raise TrustError(f"{metadata.signed.type} v{metadata.signed.version}: {error}") from error
    return packed(metadata)


def packed(metadata: Metadata[Any]) -> bytes:
    """As the bytes that are served."""
    return metadata.to_bytes()


def read_metadata(kind: type[_T], data: bytes, where: str) -> Metadata[_T]:
    """Raises TrustError for what is damaged, or of another role."""
    try:
        found = Metadata[_T].from_bytes(data)
    except DeserializationError as error:
        raise TrustError(f"`{where}` is no metadata: {error.__cause__ or error}") from error
    if not isinstance(found.signed, kind):
        raise TrustError(f"`{where}` is metadata of {found.signed.type}, expected {kind.type}")
    return found


def meta_of(version: int, data: bytes) -> MetaFile:
    """With length and SHA-256: a version alone would let the key of one role replace its own signed metadata."""
    return MetaFile(version, len(data), {"sha256": sha256(data).hexdigest()})


def stamped(version: int, expires: dt.datetime, snapshot: MetaFile) -> Metadata[Timestamp]:
    """A timestamp that is not signed yet."""
    return Metadata(Timestamp(version, None, expires, snapshot))
