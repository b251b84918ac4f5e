"""The Merkle tree of RFC 6962: hashes, roots, proofs of inclusion and of consistency, and their checks.

A node of the tree is (level, index): the complete subtree of 2^level leaves that begins at leaf index·2^level. Proofs
are lists of hashes in RFC 6962's order, those of Go's `sumdb/tlog`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from hashlib import sha256

from littoral.errors import InputError

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "HashAt",
    "consistency_proof",
    "folded",
    "inclusion_proof",
    "is_consistent",
    "is_included",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "parents",
    "root",
]

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
LEAF, NODE = b"\x00", b"\x01"

HashAt = Callable[[int, int], bytes]
"""The hash of a complete subtree, by its level and its index in that level."""


def leaf_hash(entry: bytes) -> bytes:
    return sha256(LEAF + entry).digest()


def leaf_hashes(entries: Sequence[bytes]) -> bytes:
    """Of all of them, joined."""
    return b"".join([sha256(LEAF + entry).digest() for entry in entries])


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(NODE + left + right).digest()


def parents(hashes: bytes) -> bytes:
    """The level above: an even number of hashes, joined, in pairs."""
    pair = 2 * HASH_BYTES
    return b"".join([sha256(NODE + hashes[at : at + pair]).digest() for at in range(0, len(hashes), pair)])


def folded(subtrees: Sequence[bytes]) -> bytes:
    """The root over complete subtrees, each smaller than the one before it."""
    if not subtrees:
        return EMPTY_ROOT
    return reduce(lambda right, left: node_hash(left, right), reversed(subtrees))


def root(size: int, hash_at: HashAt) -> bytes:
    """Of the first `size` leaves."""
    return _range_root(0, size, hash_at)


def inclusion_proof(index: int, size: int, hash_at: HashAt) -> list[bytes]:
    """That leaf `index` is in the tree of `size` leaves. Raises InputError for a leaf that is not."""
    if not 0 <= index < size:
        raise InputError(f"entry {index}: the tree has {size}")
    proof, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_root(middle, end, hash_at))
            end = middle
        else:
            proof.append(_range_root(start, middle, hash_at))
            start = middle
    return proof[::-1]


def consistency_proof(old_size: int, size: int, hash_at: HashAt) -> list[bytes]:
    """That the tree of `old_size` leaves is the beginning of that of `size`. Raises InputError for what cannot be."""
    if not 0 <= old_size <= size:
        raise InputError(f"tree of {old_size} entries: must be the beginning of one of {size}")
    if old_size in (0, size):
        return []
    proof, start, end = [], 0, size
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            proof.append(_range_root(middle, end, hash_at))
            end = middle
        else:
            proof.append(_range_root(start, middle, hash_at))
            start = middle
    if start:
        proof.append(_range_root(start, end, hash_at))
    return proof[::-1]


def is_included(index: int, size: int, leaf: bytes, proof: Sequence[bytes], wanted: bytes) -> bool:
    """Whether the proof leads from the leaf's hash to the root `wanted` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    found, at, last = leaf, index, size - 1
    for sibling in proof:
        if not last:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            at, last = _up_to_left(at, last)
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return not last and found == wanted


def is_consistent(old_size: int, size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof leads to both roots (RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == new_root
    if not old_size:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old_found = new_found = path[0]
    for sibling in path[1:]:
        if not last:
            return False
        if at & 1 or at == last:
            old_found, new_found = node_hash(sibling, old_found), node_hash(sibling, new_found)
            at, last = _up_to_left(at, last)
        else:
            new_found = node_hash(new_found, sibling)
        at, last = at >> 1, last >> 1
    return not last and old_found == old_root and new_found == new_root


def _up_to_left(at: int, last: int) -> tuple[int, int]:
    """On a right edge that has no sibling, up to where there is one on the left."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _split(count: int) -> int:
    """The largest power of two below."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_root(start: int, end: int, hash_at: HashAt) -> bytes:
    return folded([hash_at(level, index) for level, index in _subtrees(start, end)])


def _subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Complete ones from left to right; start: a multiple of the first one's size."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level
