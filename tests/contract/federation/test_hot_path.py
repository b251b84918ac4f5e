"""What every federated search goes through: done once where that is enough; the short way gives what the long does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.node.federation import merging
from littoral.node.federation.coverage import Coverage
from littoral.node.federation.links import Links
from littoral.vectors.queries import SearchQuery
from littoral.vectors.records import LOW_FIRST, CollectionConfig, Distance, Hit, VectorParams
from spread_nodes import spread_nodes, spread_table

SIZE, COUNT = 4, 60
NAMES = ("a", "b", "c")
PATIENT_MS = 60_000
SCORES = {"distinct": 10_000, "alike": 5}


async def test_a_search_looks_whom_to_ask_once_and_once_more_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[dict[str, list[int]]] = []
    plain = Coverage.next_asks

    def counted(coverage: Coverage) -> dict[str, list[int]]:
        looked.append(plain(coverage))
        return looked[-1]

    tables = {"points": spread_table(SIZE, shards=3, replicas=1)}
    async with spread_nodes(tmp_path, NAMES, tables, deadline_ms=PATIENT_MS) as nodes:
        vectors = np.random.default_rng(1).standard_normal((COUNT, SIZE)).astype("<f4")
        await nodes["a"]["points"].upsert(range(COUNT), vectors)
        monkeypatch.setattr(Coverage, "next_asks", counted)
        monkeypatch.setattr(Links, "hedge_s", lambda *_: PATIENT_MS / 1000)
        count = await nodes["a"]["points"].count(deadline_s=PATIENT_MS / 1000)
    assert count == COUNT
    assert [sorted(some) for some in looked] == [list(NAMES), []]


async def test_what_is_known_of_a_collection_is_made_once_for_each_map(tmp_path: Path) -> None:
    tables = {"points": spread_table(SIZE, shards=3, replicas=1)}
    async with spread_nodes(tmp_path, NAMES, tables, deadline_ms=PATIENT_MS) as nodes:
        federation = nodes["a"].federation
        before = federation.target("points")
        assert federation.target("points") is before
        spread = federation.map.spreads["points"]
        federation.keeper.write({"points": spread})
        after = federation.target("points")
        assert after is not before
        assert after.map_number == before.map_number + 1


@pytest.mark.parametrize("distance", ["Cosine", "Euclid"])
@pytest.mark.parametrize("score_count", SCORES.values(), ids=SCORES)
def test_hits_are_merged_alike_whether_scores_are_distinct_or_not(distance: Distance, score_count: int) -> None:
    rng = np.random.default_rng(score_count)
    config = CollectionConfig(VectorParams(SIZE, distance))
    for _ in range(50):
        ids = rng.permutation(80)[:40]
        scores = rng.integers(0, score_count, 40) / score_count
        hits = [Hit(id=int(number), version=1, score=float(score)) for number, score in zip(ids, scores, strict=True)]
        found = [hits[:15], hits[15:20], hits[10:]]
        query = SearchQuery(bytes(4 * SIZE), limit=7, offset=2)
        merged = merging.merged_hits(query, found, config)
        assert merged == expected(hits, distance)[:9]
        apart = merging.merged_hits(query, [hits[:15], hits[15:]], config)
        assert apart == merged


def expected(hits: list[Hit], distance: Distance) -> list[Hit]:
    sign = 1 if distance in LOW_FIRST else -1

    def order(hit: Hit) -> Any:
        return sign * hit.score, hit.id

    return sorted(hits, key=order)
