"""Hits of shards merged are those of one shard with all points."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import PeerError
from littoral.vectors.records import Distance, Hit
from littoral.vectors.routing.merge import Part, merged, same_model

UUIDS = ["0b1c0000-0000-4000-8000-000000000001", "f00d0000-0000-4000-8000-000000000002"]


@given(
    st.sampled_from(get_args(Distance)),
    st.lists(st.sampled_from([0.0, 0.25, 0.5, -1.0]), min_size=1, max_size=20),
    st.integers(1, 6),
    st.integers(0, 4),
    st.integers(0, 999),
)
def test_merged_is_as_one_shard(distance: Distance, scores: list[float], limit: int, offset: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = [int(i) if i < 15 else f"{UUIDS[0][:-2]}{i:02d}" for i in rng.permutation(len(scores))]
    hits = [Hit(point, score, 0) for point, score in zip(ids, scores, strict=True)]
    sign = 1 if distance in ("Euclid", "Manhattan") else -1
    hits.sort(key=lambda hit: (sign * hit.score, isinstance(hit.id, str), hit.id))
    copies = [rng.integers(0, 3, rng.integers(1, 4)) for _ in hits]
    parts = [[hit for hit, held in zip(hits, copies, strict=True) if shard in held] for shard in range(3)]
    parts = [part[: limit + offset] for part in parts]
    assert merged(parts, distance, limit, offset) == hits[offset : limit + offset]


def test_numbers_come_before_uuids_and_nothing_is_needed() -> None:
    hits = [Hit(UUIDS[1], 1.0, 0), Hit(7, 1.0, 0), Hit(UUIDS[0], 1.0, 0)]
    assert [hit.id for hit in merged([hits], "Cosine", 3)] == [7, *UUIDS]
    assert merged([], "Cosine", 3) == []
    assert merged([hits], "Cosine", 0) == []


def test_two_models_are_not_mixed() -> None:
    same_model("v1", [Part("gw-1", "v1", ())])
    with pytest.raises(PeerError, match="peer `gw-2`: its vectors are of model `v2`, the collection's of `v1`"):
        same_model("v1", [Part("gw-1", "v1", ()), Part("gw-2", "v2", ())])
