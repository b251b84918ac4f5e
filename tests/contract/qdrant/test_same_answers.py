"""One script of calls, in memory and against a node: points, filters, queries, groups and facets say the same."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import models
from qdrant_client.models import Filter

from points_of_kinds import (
    CONDITIONS,
    DENSE_NAMES,
    DISTANCES,
    INDEXES,
    PLAIN_SIZE,
    RICH_SPARSE,
    RICH_VECTORS,
    filters,
    numbers,
    on,
    plain_points,
    point_id,
    rich_points,
    sparse,
    tokens,
)
from twins import Twins

PLAIN = "plain"
RICH = "rich"
FILTERS = filters()


@pytest.fixture(scope="module", params=[distance.value for distance in DISTANCES])
def plain(request: pytest.FixtureRequest, twins: Twins) -> Iterator[Twins]:
    distance = models.Distance(request.param)
    twins.both("create_collection", PLAIN, vectors_config=models.VectorParams(size=PLAIN_SIZE, distance=distance))
    twins.both("upsert", PLAIN, plain_points())
    for field, schema in INDEXES.items():
        twins.both("create_payload_index", PLAIN, field, schema)
    yield twins
    twins.both("delete_collection", PLAIN)


@pytest.fixture(scope="module")
def rich(twins: Twins) -> Iterator[Twins]:
    twins.both("create_collection", RICH, vectors_config=RICH_VECTORS, sparse_vectors_config=RICH_SPARSE)
    twins.both("upsert", RICH, rich_points())
    for field, schema in INDEXES.items():
        twins.both("create_payload_index", RICH, field, schema)
    yield twins
    twins.both("delete_collection", RICH)


def test_points_are_given_back(plain: Twins) -> None:
    ids = [point_id(i) for i in (3, 5, 0, 69)]
    plain.alike("retrieve", PLAIN, ids, with_payload=True, with_vectors=True)
    plain.alike("retrieve", PLAIN, [4000], with_payload=True)
    plain.alike("retrieve", PLAIN, [], with_payload=True)
    for selector in (["word", "deep.er"], models.PayloadSelectorExclude(exclude=["word", "boxes[].area"]), False):
        plain.alike("retrieve", PLAIN, ids, with_payload=selector)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_find_the_same(plain: Twins, name: str) -> None:
    matching = FILTERS[name]
    plain.alike("count", PLAIN, count_filter=matching, exact=True)
    vector = numbers(random.Random(name), PLAIN_SIZE)
    plain.alike("query_points", PLAIN, vector, query_filter=matching, limit=9, with_payload=["word"])
    plain.alike("scroll", PLAIN, scroll_filter=matching, limit=12, with_payload=False)


def test_pages(plain: Twins) -> None:
    offset: Any = None
    for _ in range(9):
        _, offset = plain.alike("scroll", PLAIN, limit=11, offset=offset, with_payload=["second"])
    vector = numbers(random.Random(4), PLAIN_SIZE)
    for limit, skipped in ((1, 0), (10, 5), (100, 0), (5, 100)):
        plain.alike("query_points", PLAIN, vector, limit=limit, offset=skipped)


@pytest.mark.parametrize("key", ["second", "price", "at", "shelf"])
def test_orders_by_payload(plain: Twins, key: str) -> None:
    start: dict[str, Any] = {"second": 30, "price": 1.25, "at": "2026-11-14T12:00:00Z", "shelf": 2}
    for direction in models.Direction:
        for start_from in (None, start[key]):
            order = models.OrderBy(key=key, direction=direction, start_from=start_from)
            found = plain.alike_values(PLAIN, order, key)
            assert found


def test_thresholds(plain: Twins) -> None:
    vector = numbers(random.Random(5), PLAIN_SIZE)
    scores = [hit.score for hit in plain.ours.query_points(PLAIN, vector, limit=20).points]
    for a, b in ((0, 1), (7, 8), (18, 19)):
        plain.alike("query_points", PLAIN, vector, limit=30, score_threshold=(scores[a] + scores[b]) / 2)


@pytest.mark.parametrize("exact", [True, False])
def test_facets(plain: Twins, exact: bool) -> None:
    for key in ("word", "tags", "shelf", "night", "owner"):
        plain.alike("facet", PLAIN, key, exact=exact, limit=20)
        plain.alike("facet", PLAIN, key, facet_filter=FILTERS["range"], exact=exact)
    plain.alike("facet", PLAIN, "word", exact=exact, limit=2)


def test_batches(plain: Twins) -> None:
    rng = random.Random(6)
    requests = [
        models.QueryRequest(query=numbers(rng, PLAIN_SIZE), limit=4, filter=FILTERS["keyword"], with_payload=True),
        models.QueryRequest(query=5, limit=3),
        models.QueryRequest(limit=3, with_payload=["word"]),
        models.QueryRequest(query=models.RecommendQuery(recommend=models.RecommendInput(positive=[1, 2])), limit=3),
        models.QueryRequest(query=models.OrderByQuery(order_by="second"), limit=3),
    ]
    plain.alike("query_batch_points", PLAIN, requests)


STRATEGIES = (None, *models.RecommendStrategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_recommendations(plain: Twins, strategy: models.RecommendStrategy | None) -> None:
    rng = random.Random(7)
    vector = numbers(rng, PLAIN_SIZE)
    for positive, negative in (([1, 2], []), ([1, vector], [9]), ([point_id(3)], [5, vector]), ([], [5]), ([], [])):
        given = models.RecommendInput(positive=positive, negative=negative, strategy=strategy)
        for matching in (None, FILTERS["range"]):
            query = models.RecommendQuery(recommend=given)
            plain.alike("query_points", PLAIN, query, limit=8, query_filter=matching)


def test_discoveries(plain: Twins) -> None:
    vector = numbers(random.Random(8), PLAIN_SIZE)
    pairs = [models.ContextPair(positive=1, negative=9), models.ContextPair(positive=vector, negative=point_id(7))]
    for context in (pairs, pairs[0], []):
        for target in (4, vector, point_id(11)):
            query = models.DiscoverQuery(discover=models.DiscoverInput(target=target, context=context))
            plain.alike("query_points", PLAIN, query, limit=8)
    plain.alike("query_points", PLAIN, models.ContextQuery(context=pairs), limit=20)
    plain.alike("query_points", PLAIN, models.ContextQuery(context=pairs[0]), limit=20)


def test_relevance_feedback(plain: Twins) -> None:
    strategy = models.NaiveFeedbackStrategy(naive=models.NaiveFeedbackStrategyParams(a=0.1, b=0.6, c=0.3))
    given = models.RelevanceFeedbackInput(
        target=4,
        feedback=[models.FeedbackItem(example=5, score=0.9), models.FeedbackItem(example=9, score=0.1)],
        strategy=strategy,
    )
    plain.alike("query_points", PLAIN, models.RelevanceFeedbackQuery(relevance_feedback=given), limit=8)


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.9])
def test_diverse_answers(plain: Twins, diversity: float) -> None:
    vector = numbers(random.Random(9), PLAIN_SIZE)
    for limit in (None, 30):
        mmr = models.Mmr(diversity=diversity, candidates_limit=limit)
        plain.alike_ids("query_points", PLAIN, models.NearestQuery(nearest=vector, mmr=mmr), limit=6)


def prefetches(seed: int = 10) -> list[models.Prefetch]:
    rng = random.Random(seed)
    return [
        models.Prefetch(query=numbers(rng, PLAIN_SIZE), limit=20),
        models.Prefetch(query=numbers(rng, PLAIN_SIZE), limit=20, filter=FILTERS["range"]),
        models.Prefetch(query=numbers(rng, PLAIN_SIZE), limit=10, filter=FILTERS["not keyword"]),
    ]


FUSIONS = (
    models.FusionQuery(fusion=models.Fusion.RRF),
    models.FusionQuery(fusion=models.Fusion.DBSF),
    models.RrfQuery(rrf=models.Rrf(k=60)),
    models.RrfQuery(rrf=models.Rrf(k=2, weights=[3.0, 1.0, 0.5])),
)


@pytest.mark.parametrize("which", range(len(FUSIONS)))
def test_fusions(plain: Twins, which: int) -> None:
    for matching in (None, FILTERS["integer"], FILTERS["any"]):
        for limit, offset in ((7, 0), (5, 3)):
            plain.alike(
                "query_points",
                PLAIN,
                FUSIONS[which],
                prefetch=prefetches(),
                query_filter=matching,
                limit=limit,
                offset=offset,
                with_payload=True,
            )


def test_a_query_orders_a_prefetch_anew(plain: Twins) -> None:
    rng = random.Random(11)
    inner = models.Prefetch(prefetch=prefetches(), query=numbers(rng, PLAIN_SIZE), limit=15)
    for prefetch in (prefetches()[0], prefetches(), inner):
        plain.alike("query_points", PLAIN, numbers(rng, PLAIN_SIZE), prefetch=prefetch, limit=6, with_vectors=True)
        plain.alike("query_points", PLAIN, 8, prefetch=prefetch, limit=6)


FORMULAS: dict[str, Any] = {
    "score": "$score",
    "sum": models.SumExpression(sum=["$score", "price", 2.5]),
    "product": models.MultExpression(mult=["$score[0]", models.NegExpression(neg="price")]),
    "extremes": models.MaxExpression(max=["price", models.MinExpression(min=["shelf", 3.0])]),
    "condition": models.SumExpression(
        sum=["$score", models.MultExpression(mult=[0.5, on("word", match=models.MatchValue(value="north"))])]
    ),
    "filter": models.SumExpression(sum=["$score", Filter(must=[CONDITIONS["range"]])]),
    "division": models.DivExpression(div=models.DivParams(left="price", right="shelf", by_zero_default=9.0)),
    "power": models.PowExpression(pow=models.PowParams(base="price", exponent=2.0)),
    "roots": models.SqrtExpression(sqrt=models.AbsExpression(abs=models.SumExpression(sum=["price", -3.0]))),
    "logs": models.SumExpression(
        sum=[models.LnExpression(ln="price"), models.Log10Expression(log10="price"), models.ExpExpression(exp="shelf")]
    ),
    "distance": models.NegExpression(
        neg=models.GeoDistance(geo_distance=models.GeoDistanceParams(origin=models.GeoPoint(lon=5, lat=50), to="place"))
    ),
    "decay": models.GaussDecayExpression(
        gauss_decay=models.DecayParamsExpression(x="price", target=3.0, scale=2.0, midpoint=0.4)
    ),
    "decay of time": models.LinDecayExpression(
        lin_decay=models.DecayParamsExpression(
            x=models.DatetimeKeyExpression(datetime_key="at"),
            target=models.DatetimeExpression(datetime="2026-11-15T00:00:00Z"),
            scale=864_000.0,
        )
    ),
    "default": models.SumExpression(sum=["second", "$score"]),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(plain: Twins, name: str) -> None:
    query = models.FormulaQuery(formula=FORMULAS[name], defaults={"second": 1.0})
    plain.alike("query_points", PLAIN, query, prefetch=prefetches(), limit=10, with_payload=True)


def test_groups(plain: Twins) -> None:
    vector = numbers(random.Random(12), PLAIN_SIZE)
    for by in ("word", "shelf", "tags", "deep.er.value", "boxes[].label", "price", "nothing"):
        for limit, size in ((3, 2), (10, 4)):
            plain.alike("query_points_groups", PLAIN, by, query=vector, limit=limit, group_size=size)
    plain.alike(
        "query_points_groups", PLAIN, "word", query=vector, query_filter=FILTERS["range"], with_payload=["second"]
    )
    plain.alike("query_points_groups", PLAIN, "shelf", query=FUSIONS[0], prefetch=prefetches(), with_vectors=True)
    plain.alike("query_points_groups", PLAIN, "shelf", query=5, with_lookup=PLAIN, limit=4)
    lookup = models.WithLookup(collection=PLAIN, with_payload=["word"], with_vectors=True)
    plain.alike("query_points_groups", PLAIN, "shelf", query=5, with_lookup=lookup, limit=4)


def test_distances_between_points(plain: Twins) -> None:
    matching = Filter(must=[models.HasIdCondition(has_id=[1, 2, 4, 5, 6, 8])])
    ours, theirs = plain.outcomes("search_matrix_pairs", PLAIN, query_filter=matching, sample=20, limit=3)
    assert pairs_of(ours) == pytest.approx(pairs_of(theirs), abs=1e-4)
    offsets = plain.ours.search_matrix_offsets(PLAIN, query_filter=matching, sample=20, limit=3)
    assert len(offsets.offsets_row) == len(offsets.offsets_col) == len(offsets.scores) == len(ours.pairs)


def pairs_of(found: Any) -> dict[tuple[Any, Any], float]:
    return {(pair.a, pair.b): pair.score for pair in found.pairs}


def test_samples(plain: Twins) -> None:
    query = models.SampleQuery(sample=models.Sample.RANDOM)
    for found in plain.outcomes("query_points", PLAIN, query, limit=200, query_filter=FILTERS["keyword"]):
        assert {hit.score for hit in found.points} == {1.0}
        assert len(found.points) == plain.theirs.count(PLAIN, FILTERS["keyword"]).count
    assert len(plain.ours.query_points(PLAIN, query, limit=5).points) == 5


# --- vectors of several kinds ---


def test_rich_points_are_given_back(rich: Twins) -> None:
    ids = [point_id(i) for i in range(20)]
    for wanted in (True, False, [], ["text"], ["tokens", "words"], list(RICH_VECTORS)):
        rich.alike("retrieve", RICH, ids, with_vectors=wanted)
    rich.alike("scroll", RICH, limit=20, with_vectors=["rare"])


def question(name: str, rng: random.Random) -> Any:
    if name in RICH_SPARSE:
        return sparse(rng)
    return tokens(rng) if name == "tokens" else numbers(rng, RICH_VECTORS[name].size)


@pytest.mark.parametrize("name", [*RICH_VECTORS, *RICH_SPARSE])
def test_each_vector_is_searched(rich: Twins, name: str) -> None:
    rng = random.Random(name)
    for matching in (None, FILTERS["range"], FILTERS["not keyword"]):
        options: dict[str, Any] = {"using": name, "limit": 8, "query_filter": matching}
        rich.alike("query_points", RICH, question(name, rng), with_vectors=[name], **options)
        rich.alike("query_points", RICH, 4, **options)
        rich.alike("query_points", RICH, point_id(7), **options)
    rich.alike("query_points_groups", RICH, "word", query=question(name, rng), using=name, group_size=2)
    has_vector = Filter(must=[models.HasVectorCondition(has_vector=name)])
    rich.alike("count", RICH, count_filter=has_vector)


@pytest.mark.parametrize("name", [*RICH_VECTORS, *RICH_SPARSE])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_vector_recommends(rich: Twins, name: str, strategy: models.RecommendStrategy | None) -> None:
    rng = random.Random(f"{name} {strategy}")
    for positive, negative in (([1, 2], []), ([1, question(name, rng)], [9]), ([4], [question(name, rng), 6])):
        given = models.RecommendInput(positive=positive, negative=negative, strategy=strategy)
        rich.alike("query_points", RICH, models.RecommendQuery(recommend=given), using=name, limit=8)


@pytest.mark.parametrize("name", DENSE_NAMES)
def test_each_vector_discovers(rich: Twins, name: str) -> None:
    rng = random.Random(name)
    pairs = [models.ContextPair(positive=1, negative=9), models.ContextPair(positive=question(name, rng), negative=6)]
    discover = models.DiscoverInput(target=question(name, rng), context=pairs)
    rich.alike("query_points", RICH, models.DiscoverQuery(discover=discover), using=name, limit=8)
    rich.alike("query_points", RICH, models.ContextQuery(context=pairs), using=name, limit=20)


def test_hybrid_searches(rich: Twins) -> None:
    rng = random.Random(13)
    prefetch = [
        models.Prefetch(query=question("text", rng), using="text", limit=15),
        models.Prefetch(query=question("words", rng), using="words", limit=15, filter=FILTERS["not keyword"]),
        models.Prefetch(query=question("rare", rng), using="rare", limit=15),
    ]
    for fusion in FUSIONS:
        rich.alike("query_points", RICH, fusion, prefetch=prefetch, limit=9, with_payload=True)
    rich.alike("query_points", RICH, question("tokens", rng), using="tokens", prefetch=prefetch, limit=9)


def test_vectors_of_another_collection(plain: Twins, rich: Twins) -> None:
    lookup = models.LookupLocation(collection=RICH, vector="text")
    twins = rich
    twins.both(
        "create_collection",
        "texts",
        vectors_config=models.VectorParams(size=6, distance=models.Distance.COSINE),
    )
    rng = random.Random(14)
    texts = [models.PointStruct(id=i, vector=numbers(rng, 6)) for i in range(30)]
    twins.both("upsert", "texts", texts)
    twins.alike("query_points", "texts", 4, lookup_from=lookup, limit=8)
    given = models.RecommendInput(positive=[1, 2], negative=[6])
    twins.alike("query_points", "texts", models.RecommendQuery(recommend=given), lookup_from=lookup, limit=8)
    own = models.LookupLocation(collection="texts")
    twins.alike("query_points", RICH, 4, using="text", lookup_from=own, limit=8)
    same = models.LookupLocation(collection="texts", vector="")
    twins.alike("query_points", "texts", 4, lookup_from=same, limit=8)
    prefetch = models.Prefetch(query=3, lookup_from=lookup, limit=12)
    twins.alike("query_points", "texts", 4, prefetch=prefetch, limit=8)
    twins.refused("query_points", "texts", 4, lookup_from=models.LookupLocation(collection="nothing"))
    twins.refused("query_points", "texts", 4, lookup_from=models.LookupLocation(collection=RICH, vector="nothing"))
    twins.refused("query_points", "texts", 4000, lookup_from=lookup)
    twins.both("delete_collection", "texts")
