"""What one replica takes over from another where their digests differ. Pure.

A point that only one of them has was written there, unless the other has seen that write: then it was deleted since.
As long as the deletion is remembered that needs no thought, it is a version like any other. A replica that was away
for longer than deletions are kept lacks some that the other has forgotten; there the second rule decides.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from littoral.errors import InputError
from littoral.vectors.replication.entries import Vector, Version, covers

__all__ = ["Knowledge", "Plan", "decode_versions", "encode_versions", "plan"]


class Knowledge(NamedTuple):
    """Of one replica. vector: what it knows of each origin; floor: up to where it has forgotten deletions."""

    vector: Vector
    floor: Vector


class Plan(NamedTuple):
    """wanted: keys to ask the other for. dropped: own points that are to be deleted, at the version they have."""

    wanted: list[bytes]
    dropped: dict[bytes, Version]


def plan(own: Mapping[bytes, Version], theirs: Mapping[bytes, Version], here: Knowledge, there: Knowledge) -> Plan:
    """own, theirs: versions of all points in the same buckets. What `here` does about `there`."""
    they_were_away, we_were_away = not covers(there.vector, here.floor), not covers(here.vector, there.floor)
    wanted = []
    for key, version in theirs.items():
        known = own.get(key)
        is_deleted_here = known is None and they_were_away and _has_seen(here.vector, version)
        if version.beats(known) and not is_deleted_here:
            wanted.append(key)
    dropped = {}
    if we_were_away:
        dropped = {
            key: version
            for key, version in own.items()
            if key not in theirs and not version.is_gone and _has_seen(there.vector, version)
        }
    return Plan(wanted, dropped)


def _has_seen(vector: Vector, version: Version) -> bool:
    return vector.get(version.origin, 0) >= version.number


_decoder = msgspec.msgpack.Decoder(tuple[dict[bytes, tuple[int, str, int, bool]], dict[str, int]])


def encode_versions(versions: Mapping[bytes, Version], floor: Vector) -> bytes:
    """For another replica. floor: of the same moment as the versions."""
    return msgspec.msgpack.encode((versions, floor))


def decode_versions(body: bytes) -> tuple[dict[bytes, Version], dict[str, int]]:
    """Raises InputError."""
    try:
        versions, floor = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"versions of {len(body)} bytes: {error}") from error
    return {key: Version(*version) for key, version in versions.items()}, floor
