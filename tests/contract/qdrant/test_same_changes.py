"""One script of calls, in memory and against a node: collections, aliases and writes leave the same behind."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import models
from qdrant_client.models import Filter

from points_of_kinds import (
    CONDITIONS,
    PLAIN_SIZE,
    RICH_SPARSE,
    RICH_VECTORS,
    filters,
    numbers,
    on,
    plain_points,
    point_id,
    rich_points,
    rich_vectors,
    sparse,
    tokens,
)
from twins import Twins

OWN = "own"
FILTERS = filters()
PARAMS = models.VectorParams(size=PLAIN_SIZE, distance=models.Distance.COSINE)


@pytest.fixture
def plain(twins: Twins) -> Iterator[Twins]:
    twins.both("create_collection", OWN, vectors_config=PARAMS)
    twins.both("upsert", OWN, plain_points())
    yield twins
    twins.both("delete_collection", OWN)


@pytest.fixture
def rich(twins: Twins) -> Iterator[Twins]:
    twins.both("create_collection", OWN, vectors_config=RICH_VECTORS, sparse_vectors_config=RICH_SPARSE)
    twins.both("upsert", OWN, rich_points())
    yield twins
    twins.both("delete_collection", OWN)


def same_content(twins: Twins) -> None:
    """Every point with everything it has."""
    twins.alike("scroll", OWN, limit=1000, with_payload=True, with_vectors=True)


def selectors() -> list[Any]:
    return [
        [1, 2, point_id(3)],
        FILTERS["keyword"],
        models.FilterSelector(filter=FILTERS["boolean"]),
        models.PointIdsList(points=[8, 9]),
    ]


def test_collections_come_and_go(twins: Twins) -> None:
    twins.alike("collection_exists", "one")
    twins.alike("delete_collection", "one")
    twins.both("create_collection", "one", vectors_config=PARAMS)
    twins.alike("collection_exists", "one")
    twins.alike("get_collections")
    twins.refused("create_collection", "one", vectors_config=PARAMS)
    twins.alike("recreate_collection", "one", vectors_config=PARAMS)
    twins.alike("count", "one")
    twins.alike("delete_collection", "one")
    for call, arguments in (("count", ()), ("get_collection", ()), ("query_points", ([1.0],)), ("retrieve", ([1],))):
        twins.refused(call, "one", *arguments)


CONFIGS: list[dict[str, Any]] = [
    {"vectors_config": PARAMS},
    {"vectors_config": {"a": PARAMS, "b": models.VectorParams(size=3, distance=models.Distance.DOT)}},
    {"vectors_config": RICH_VECTORS, "sparse_vectors_config": RICH_SPARSE},
    {"vectors_config": {}, "sparse_vectors_config": {"only": models.SparseVectorParams()}},
    {"vectors_config": models.VectorParams(size=4, distance=models.Distance.EUCLID, on_disk=True)},
    {"vectors_config": models.VectorParams(size=4, distance=models.Distance.DOT, datatype=models.Datatype.FLOAT16)},
]


@pytest.mark.parametrize("which", range(len(CONFIGS)))
def test_vectors_are_described_as_they_were_made(twins: Twins, which: int) -> None:
    twins.both("create_collection", "made", **CONFIGS[which])
    ours, theirs = (info.config.params for info in twins.outcomes("get_collection", "made"))
    assert ours.vectors == theirs.vectors
    assert ours.sparse_vectors == theirs.sparse_vectors
    twins.both("delete_collection", "made")


def test_aliases(plain: Twins) -> None:
    def change(*actions: Any) -> Any:
        return plain.alike("update_collection_aliases", list(actions))

    def made(alias: str, collection: str = OWN) -> Any:
        return models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=collection, alias_name=alias)
        )

    def renamed(old: str, new: str) -> Any:
        return models.RenameAliasOperation(rename_alias=models.RenameAlias(old_alias_name=old, new_alias_name=new))

    def deleted(alias: str) -> Any:
        return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))

    assert change(made("other"), made("third")) is True
    plain.alike("get_aliases")
    plain.alike("get_collection_aliases", OWN)
    plain.alike("count", "other")
    plain.alike("query_points", "third", numbers(random.Random(1), PLAIN_SIZE), limit=4)
    plain.alike("collection_exists", "other")
    change(renamed("third", "fourth"), deleted("other"))
    plain.alike("get_aliases")
    plain.refused("count", "third")
    change(made("nowhere", "nothing"))
    change(renamed("nothing", "something"))
    plain.alike("get_aliases")
    plain.both("upsert", "fourth", [models.PointStruct(id=900, vector=[1.0] * PLAIN_SIZE)])
    plain.alike("count", OWN)
    change(deleted("fourth"))
    plain.alike("get_aliases")


def test_upserts_replace(plain: Twins) -> None:
    rng = random.Random(2)
    plain.alike("upsert", OWN, [models.PointStruct(id=1, vector=numbers(rng, PLAIN_SIZE), payload={"only": 1})])
    plain.alike("upsert", OWN, [models.PointStruct(id=2, vector=numbers(rng, PLAIN_SIZE))])
    columns = models.Batch(
        ids=[3000, 3001, point_id(7)],
        vectors=[numbers(rng, PLAIN_SIZE) for _ in range(3)],
        payloads=[{"a": 1}, {}, {"b": [1, None, "x"]}],
    )
    plain.alike("upsert", OWN, columns)
    plain.alike("upsert", OWN, models.Batch(ids=[3002], vectors=[numbers(rng, PLAIN_SIZE)]))
    same_content(plain)


def test_upserts_with_conditions(plain: Twins) -> None:
    rng = random.Random(3)
    for mode in (*models.UpdateMode, None):
        points = [
            models.PointStruct(id=i, vector=numbers(rng, PLAIN_SIZE), payload={"mode": str(mode)})
            for i in (4, 5, 6, 8000 + len(str(mode)))
        ]
        plain.alike("upsert", OWN, points, update_mode=mode)
        same_content(plain)
    points = [models.PointStruct(id=i, vector=numbers(rng, PLAIN_SIZE), payload={"new": i}) for i in range(20)]
    plain.alike("upsert", OWN, points, update_filter=FILTERS["boolean"])
    same_content(plain)


def test_uploads(plain: Twins) -> None:
    rng = random.Random(4)
    rows = [numbers(rng, PLAIN_SIZE) for _ in range(150)]
    payloads = [{"row": i} for i in range(150)]
    plain.both("upload_collection", OWN, vectors=rows, payload=payloads, ids=list(range(5000, 5150)), batch_size=40)
    plain.both("upload_points", OWN, [models.PointStruct(id=6000, vector=rows[0])], wait=True)
    plain.alike("count", OWN)
    plain.alike("retrieve", OWN, [5000, 5149, 6000], with_vectors=True)


def test_payloads(plain: Twins) -> None:
    for selector in selectors():
        plain.alike("set_payload", OWN, {"new": {"deep": [1, 2]}, "word": "changed"}, points=selector)
        plain.alike("set_payload", OWN, {"inner": 1}, points=selector, key="deep.er")
        same_content(plain)
        plain.alike("delete_payload", OWN, keys=["tags", "deep.er.value", "nothing"], points=selector)
        same_content(plain)
    plain.alike("overwrite_payload", OWN, {"only": True}, points=[5, 6])
    plain.alike("clear_payload", OWN, points_selector=[point_id(11)])
    plain.alike("clear_payload", OWN, points_selector=FILTERS["integer"])
    same_content(plain)


def test_deletions(plain: Twins) -> None:
    for selector in (*selectors(), [4000]):
        plain.alike("delete", OWN, selector)
        plain.alike("count", OWN)
    same_content(plain)


def test_several_operations_at_once(plain: Twins) -> None:
    rng = random.Random(5)
    operations = [
        models.UpsertOperation(
            upsert=models.PointsList(points=[models.PointStruct(id=7000, vector=numbers(rng, PLAIN_SIZE))])
        ),
        models.UpsertOperation(
            upsert=models.PointsBatch(batch=models.Batch(ids=[7001], vectors=[numbers(rng, PLAIN_SIZE)]))
        ),
        models.SetPayloadOperation(set_payload=models.SetPayload(payload={"a": 1, "b": 2}, points=[7000, 7001])),
        models.DeletePayloadOperation(delete_payload=models.DeletePayload(keys=["b"], points=[7000])),
        models.OverwritePayloadOperation(
            overwrite_payload=models.SetPayload(payload={"c": 3}, filter=FILTERS["keyword"])
        ),
        models.ClearPayloadOperation(clear_payload=models.PointIdsList(points=[5])),
        models.UpdateVectorsOperation(
            update_vectors=models.UpdateVectors(points=[models.PointVectors(id=7001, vector=[1.0] * PLAIN_SIZE)])
        ),
        models.DeleteOperation(delete=models.PointIdsList(points=[1, 2])),
    ]
    plain.alike("batch_update_points", OWN, operations)
    same_content(plain)


# --- vectors of several kinds ---


def test_rich_upserts_replace(rich: Twins) -> None:
    rng = random.Random(6)
    rich.alike("upsert", OWN, [models.PointStruct(id=1, vector={"text": numbers(rng, 6)}, payload={"x": 1})])
    rich.alike("upsert", OWN, [models.PointStruct(id=2, vector={})])
    rich.alike("upsert", OWN, [models.PointStruct(id=8001, vector=rich_vectors(rng))])
    columns = models.Batch(
        ids=[8002, 8003],
        vectors={"text": [numbers(rng, 6) for _ in range(2)], "words": [sparse(rng), sparse(rng)]},
        payloads=[{"a": 1}, {"b": 2}],
    )
    rich.alike("upsert", OWN, columns)
    unsorted = models.SparseVector(indices=[9, 2, 5], values=[0.25, 0.5, 0.75])
    rich.alike("upsert", OWN, [models.PointStruct(id=8004, vector={"words": unsorted})])
    same_content(rich)


def test_vectors_change(rich: Twins) -> None:
    rng = random.Random(7)
    changes = [
        models.PointVectors(id=1, vector={"text": numbers(rng, 6), "words": sparse(rng)}),
        models.PointVectors(id=2, vector={"tokens": tokens(rng)}),
        models.PointVectors(id=point_id(3), vector={"image": numbers(rng, 4)}),
    ]
    rich.alike("update_vectors", OWN, changes)
    same_content(rich)
    rich.alike("delete_vectors", OWN, ["text"], points=[1, 4])
    rich.alike("delete_vectors", OWN, ["words", "tokens"], points=FILTERS["keyword"])
    same_content(rich)
    rich.alike("count", OWN, count_filter=Filter(must=[models.HasVectorCondition(has_vector="text")]))
    rich.alike("query_points", OWN, numbers(rng, 6), using="text", limit=50)
    rich.refused("update_vectors", OWN, [models.PointVectors(id=4000, vector={"text": numbers(rng, 6)})])


def test_vectors_are_added_and_taken(rich: Twins) -> None:
    rng = random.Random(8)
    added = models.DenseVectorNameConfig(dense=models.DenseVectorConfig(size=2, distance=models.Distance.DOT))
    rich.alike("create_vector_name", OWN, "added", added)
    rich.alike("create_vector_name", OWN, "bag", models.SparseVectorNameConfig(sparse=models.SparseVectorConfig()))
    rich.alike("update_vectors", OWN, [models.PointVectors(id=1, vector={"added": [1.0, 2.0], "bag": sparse(rng)})])
    same_content(rich)
    rich.alike("query_points", OWN, [1.0, 1.0], using="added", limit=5)
    rich.alike("delete_vector_name", OWN, "added")
    rich.alike("delete_vector_name", OWN, "words")
    same_content(rich)
    rich.refused("query_points", OWN, [1.0, 1.0], using="added", limit=5)
    params = [info.config.params for info in rich.outcomes("get_collection", OWN)]
    assert set(params[0].vectors) == set(params[1].vectors)
    assert set(params[0].sparse_vectors) == set(params[1].sparse_vectors)


# --- refusals ---


def wrong_upserts() -> dict[str, Any]:
    right = [1.0] * PLAIN_SIZE

    def one(**parts: Any) -> list[models.PointStruct]:
        return [models.PointStruct(**({"id": 1, "vector": right} | parts))]

    return {
        "too short": one(vector=[1.0, 2.0]),
        "too long": one(vector=[1.0] * (PLAIN_SIZE + 1)),
        "empty": one(vector=[]),
        "an unknown name": one(vector={"other": right}),
        "sparse": one(vector={"": models.SparseVector(indices=[1], values=[1.0])}),
        "several": one(vector=[right, right]),
        "an id that is no uuid": one(id="word"),
        "columns of different lengths": models.Batch(ids=[1, 2], vectors=[right]),
        "nothing": [],
    }


@pytest.mark.parametrize("name", wrong_upserts())
def test_wrong_points_are_refused(plain: Twins, name: str) -> None:
    plain.refused("upsert", OWN, wrong_upserts()[name])
    same_content(plain)


def test_wrong_rich_points_are_refused(rich: Twins) -> None:
    rng = random.Random(9)
    for vector in (
        numbers(rng, 6),
        {"text": numbers(rng, 5)},
        {"other": numbers(rng, 6)},
        {"text": sparse(rng)},
        {"words": numbers(rng, 6)},
        {"tokens": [[1.0, 2.0]]},
        {"words": models.SparseVector(indices=[1, 1], values=[1.0, 2.0])},
        {"words": models.SparseVector(indices=[1, 2], values=[1.0])},
    ):
        rich.refused("upsert", OWN, [models.PointStruct(id=1, vector=vector)])
    rich.refused("delete_vectors", OWN, ["other"], points=[1])
    rich.refused("update_vectors", OWN, [models.PointVectors(id=1, vector={"other": [1.0]})])
    same_content(rich)


def wrong_queries() -> dict[str, dict[str, Any]]:
    vector = numbers(random.Random(10), PLAIN_SIZE)
    prefetch = models.Prefetch(query=vector, limit=5)
    fusion = models.FusionQuery(fusion=models.Fusion.RRF)
    recommend = models.RecommendInput(positive=[], negative=[5])
    return {
        "too short": {"query": [1.0, 2.0]},
        "an unknown id": {"query": 4000},
        "an unknown vector": {"query": vector, "using": "other"},
        "limit of none": {"query": vector, "limit": 0},
        "offset below none": {"query": vector, "offset": -1},
        "fusion of nothing": {"query": fusion},
        "fusion with a vector's name": {"query": fusion, "prefetch": prefetch, "using": "other"},
        "prefetch for nothing": {"prefetch": prefetch},
        "rank constant of none": {"query": models.RrfQuery(rrf=models.Rrf(k=0)), "prefetch": prefetch},
        "threshold for nothing": {"score_threshold": 0.5},
        "threshold for an order": {"query": models.OrderByQuery(order_by="second"), "score_threshold": 0.5},
        "average of nothing": {"query": models.RecommendQuery(recommend=recommend)},
        "formula of nothing": {"query": models.FormulaQuery(formula="$score")},
        "sparse": {"query": models.SparseVector(indices=[1], values=[1.0])},
        "diversity beyond all": {
            "query": models.NearestQuery.model_construct(
                nearest=vector, mmr=models.Mmr.model_construct(diversity=1.5, candidates_limit=None)
            )
        },
        "too many candidates": {
            "query": models.NearestQuery(nearest=vector, mmr=models.Mmr(candidates_limit=1_000_000))
        },
        "an empty prefetch": {"query": vector, "prefetch": models.Prefetch(query=vector, limit=0)},
        "a formula that divides by nothing": {
            "query": models.FormulaQuery(formula=models.DivExpression(div=models.DivParams(left=1.0, right=0.0))),
            "prefetch": prefetch,
        },
        "a formula of a missing field": {
            "query": models.FormulaQuery(formula=models.SumExpression(sum=["second", "nothing"])),
            "prefetch": prefetch,
        },
    }


@pytest.mark.parametrize("name", wrong_queries())
def test_wrong_queries_are_refused(plain: Twins, name: str) -> None:
    plain.refused("query_points", OWN, **wrong_queries()[name])


def test_other_wrong_calls_are_refused(plain: Twins) -> None:
    plain.refused("query_points_groups", OWN, "word", query=[1.0])
    plain.refused("query_points_groups", OWN, "word", query=4000)
    plain.refused("query_points_groups", OWN, "word", query=4, with_lookup="nothing")
    plain.refused("scroll", OWN, order_by="second", offset=5)
    plain.refused("search_matrix_pairs", OWN, sample=1)
    plain.refused("search_matrix_pairs", OWN, limit=0)
    plain.refused("upsert", "nothing", plain_points()[:1])
    plain.refused("set_payload", "nothing", {"a": 1}, points=[1])
    both = Filter(must=[on("second", range=models.Range(gte=1)), CONDITIONS["keyword"]])
    plain.alike("count", OWN, count_filter=both)
