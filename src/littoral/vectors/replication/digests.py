"""Digests of what a replica holds, so that two can find where they differ in three questions.

Points lie in 4096 buckets by their ids. A bucket's digest is the exclusive or of those of its points' versions, so
that a write changes it without reading the others; the tree above it has sixteen children a node (Merkle, 1987).
The nodes of the tree have numbers: 0 is the root, 1 … 16 its children, up to 4096 buckets in the last row.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from littoral.errors import InputError

__all__ = ["BUCKET_COUNT", "FIRST_BUCKET", "Digests", "below", "bucket_of", "children", "differing", "digest_of"]

FAN_OUT = 16
BUCKET_COUNT = FAN_OUT**3
FIRST_BUCKET = (BUCKET_COUNT - 1) // (FAN_OUT - 1)
"""Number of the node that is bucket 0."""

DIGEST_BYTES = 16


def bucket_of(key: bytes) -> int:
    """Where the point lies."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=2).digest(), "big") % BUCKET_COUNT


def digest_of(key: bytes, time: int, origin: str, is_gone: bool) -> int:
    """Of one version of a point."""
    told = b"%d %d %b %b" % (time, is_gone, key, origin.encode())
    return int.from_bytes(hashlib.blake2b(told, digest_size=DIGEST_BYTES).digest(), "big")


def children(node: int) -> range:
    """Numbers of the nodes below; none below a bucket."""
    return range(FAN_OUT * node + 1, FAN_OUT * node + FAN_OUT + 1) if node < FIRST_BUCKET else range(0)


class Digests:
    """Of one replica. What is above a bucket is counted again when it is asked for, and only if the bucket changed."""

    def __init__(self) -> None:
        self._buckets = [0] * BUCKET_COUNT
        self._above: dict[int, bytes] = {}

    def toggle(self, bucket: int, digest: int) -> None:
        """A version of a point comes, or goes."""
        self._buckets[bucket] ^= digest
        node = FIRST_BUCKET + bucket
        while node:
            node = (node - 1) // FAN_OUT
            self._above.pop(node, None)

    def of(self, nodes: Sequence[int]) -> list[bytes]:
        """The digest of each node. Raises InputError for a number that none has."""
        if wrong := [node for node in nodes if not 0 <= node < FIRST_BUCKET + BUCKET_COUNT]:
            raise InputError(f"node {wrong[0]} of the digests, must be in 0..{FIRST_BUCKET + BUCKET_COUNT - 1}")
        return [self._digest(node) for node in nodes]

    def _digest(self, node: int) -> bytes:
        if node >= FIRST_BUCKET:
            return self._buckets[node - FIRST_BUCKET].to_bytes(DIGEST_BYTES, "big")
        if (found := self._above.get(node)) is None:
            under = b"".join(self._digest(child) for child in children(node))
            found = self._above[node] = hashlib.blake2b(under, digest_size=DIGEST_BYTES).digest()
        return found


def differing(own: Digests, other: Mapping[int, bytes]) -> list[int]:
    """Which of another's nodes are not as here, in order."""
    nodes = sorted(other)
    return [node for node, digest in zip(nodes, own.of(nodes), strict=True) if digest != other[node]]


def below(nodes: Iterable[int]) -> list[int]:
    """All children of these nodes."""
    return [child for node in nodes for child in children(node)]
