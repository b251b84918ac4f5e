"""Rendezvous hashing: of all names, an id belongs to that with which it makes the highest number.

A name more takes an equal share from each of the others and moves nothing else; a name less gives its ids to all the
others. Integers only, so every process and machine comes to the same. Mixing: splitmix64 (Steele, Lea, Flood 2014).
"""

import hashlib
import uuid
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from littoral.vectors.partition.points import Ints
from littoral.vectors.records import PointId

__all__ = ["Keys", "chosen", "keys", "name_key", "ranked"]

Keys = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ROUNDS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
LAST = np.uint64(31)
HALF = 2**64 - 1


def keys(ids: Sequence[PointId]) -> Keys:
    """uint64[n]: evenly spread, equal for equal ids. ids: as `checks.checked_id` gives them."""
    numbers = [one if isinstance(one, int) else uuid.UUID(one).int for one in ids]
    low = np.array([number & HALF for number in numbers], np.uint64)
    high = np.array([number >> 64 for number in numbers], np.uint64)
    return _mixed(_mixed(low) ^ high)


def name_key(name: str) -> int:
    """A number for a name (of a node), to be chosen among."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def chosen(of: Keys, among: Sequence[int]) -> Ints:
    """int64[n]: for each key the number in `among` that it belongs to."""
    found: Ints = np.array(among, np.int64)[_weights(of, among).argmax(axis=1)]
    return found


def ranked(key: int, among: Sequence[int]) -> list[int]:
    """Places in `among`, the one the key belongs to first, then where it goes without that one, and so on."""
    weights = _weights(np.array([key], np.uint64), among)[0]
    return [int(place) for place in np.argsort(~weights, kind="stable")]


def _weights(of: Keys, among: Sequence[int]) -> Keys:
    """uint64[keys, names]."""
    names = _mixed(np.array(among, np.uint64))
    return _mixed(of[:, None] ^ names[None, :])


def _mixed(numbers: Keys) -> Keys:
    mixed = numbers + GOLDEN
    for shift, factor in ROUNDS:
        mixed = (mixed ^ (mixed >> shift)) * factor
    return mixed ^ (mixed >> LAST)
