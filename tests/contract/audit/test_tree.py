"""The tree of RFC 6962: known roots, and every proof of every small tree, right and wrong."""

from collections.abc import Callable

import pytest

from littoral.audit.tree import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    root,
)
from littoral.errors import InputError

LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Of the first n leaves: the vectors of Certificate Transparency's own tests."""

SIZE_MAX = 40


def tree(leaves: list[bytes]) -> Callable[[int, int], bytes]:
    def hash_at(level: int, index: int) -> bytes:
        if not level:
            return leaf_hash(leaves[index])
        return node_hash(hash_at(level - 1, 2 * index), hash_at(level - 1, 2 * index + 1))

    return hash_at


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size: int) -> None:
    assert root(size, tree(LEAVES)).hex() == ROOTS[size]


def test_every_leaf_of_every_small_tree_is_proven() -> None:
    leaves = [bytes([number]) for number in range(SIZE_MAX)]
    hash_at = tree(leaves)
    for size in range(1, SIZE_MAX + 1):
        wanted = root(size, hash_at)
        for index in range(size):
            proof = inclusion_proof(index, size, hash_at)
            leaf = leaf_hash(leaves[index])
            assert is_included(index, size, leaf, proof, wanted)
            assert not is_included(index ^ 1, size, leaf, proof, wanted) or size == 1
            assert not is_included(index, size, leaf_hash(b"other"), proof, wanted)
            assert not is_included(index, size, leaf, [*proof, wanted], wanted)
            if proof:
                assert not is_included(index, size, leaf, proof[:-1], wanted)
                assert not is_included(index, size, leaf, [wanted, *proof[1:]], wanted)


def test_every_small_tree_goes_on_from_every_smaller_one() -> None:
    hash_at = tree([bytes([number]) for number in range(SIZE_MAX)])
    roots = [root(size, hash_at) for size in range(SIZE_MAX + 1)]
    for size in range(SIZE_MAX + 1):
        for old_size in range(size + 1):
            proof = consistency_proof(old_size, size, hash_at)
            assert is_consistent(old_size, size, roots[old_size], roots[size], proof)
            assert not is_consistent(old_size, size, roots[old_size], b"x" * 32, proof) or not old_size
            if old_size:
                assert not is_consistent(old_size, size, b"x" * 32, roots[size], proof)
                assert not is_consistent(old_size, size, roots[old_size], roots[size], [*proof, roots[1]])
            if proof:
                assert not is_consistent(old_size, size, roots[old_size], roots[size], proof[:-1])
                changed = [bytes(32), *proof[1:]]
                assert not is_consistent(old_size, size, roots[old_size], roots[size], changed)


def test_what_cannot_be_proven_is_said() -> None:
    hash_at = tree(LEAVES)
    with pytest.raises(InputError, match="entry 8: the tree has 8"):
        inclusion_proof(8, 8, hash_at)
    with pytest.raises(InputError, match="tree of 9 entries: must be the beginning of one of 8"):
        consistency_proof(9, 8, hash_at)
    assert not is_included(3, 2, leaf_hash(b""), [], EMPTY_ROOT)
    assert not is_consistent(3, 2, EMPTY_ROOT, EMPTY_ROOT, [])
