"""The real `qdrant-client` against a node, and beside it its own in-memory mode, which must say the same."""

import contextlib
import random
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from littoral import settings
from node_fixture import Served, node_in_thread
from supervised import short_folder

SIZE = 8
COUNT = 60
DISTANCES = {name: models.Distance(name) for name in ("Cosine", "Dot", "Euclid")}
WORDS = ("north", "south", "east", "west")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder) as served,
    ):
        yield served


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[QdrantClient]:
    """Warnings are errors: its check of the server's version must be content."""
    client = QdrantClient(url=served.url, timeout=60)
    yield client
    client.close()


@pytest.fixture(scope="module")
def memory() -> Iterator[QdrantClient]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = QdrantClient(":memory:")
        yield client
        client.close()


def points(seed: int = 0) -> list[models.PointStruct]:
    rng = random.Random(seed)
    return [
        models.PointStruct(
            id=i if i % 3 else str(uuid.UUID(int=i + 1)),
            vector=[rng.uniform(-1, 1) for _ in range(SIZE)],
            payload={"word": rng.choice(WORDS), "second": i, "tags": rng.sample(WORDS, 2)},
        )
        for i in range(COUNT)
    ]


Pair = tuple[QdrantClient, ...]


@contextlib.contextmanager
def filled(pair: Pair, name: str, distance: str) -> Iterator[Pair]:
    """A collection with the same points on both sides."""
    for one in pair:
        assert one.create_collection(name, vectors_config=models.VectorParams(size=SIZE, distance=DISTANCES[distance]))
        one.upsert(name, points(), wait=True)
    yield pair
    for one in pair:
        assert one.delete_collection(name)


@pytest.fixture(scope="module", params=DISTANCES)
def both(request: pytest.FixtureRequest, client: QdrantClient, memory: QdrantClient) -> Iterator[Pair]:
    """For tests that read."""
    with filled((client, memory), "both", request.param) as pair:
        yield pair


@pytest.fixture
def own(client: QdrantClient, memory: QdrantClient) -> Iterator[Pair]:
    """For tests that write."""
    with filled((client, memory), "own", "Cosine") as pair:
        yield pair


def same(ours: Any, theirs: Any) -> bool:
    """The same points in the same order, with scores that differ by rounding only."""
    rows, others = (getattr(found, "points", found) for found in (ours, theirs))
    scores = [row.score for row in rows] == pytest.approx([row.score for row in others], abs=1e-4)
    return scores and [(row.id, row.payload) for row in rows] == [(row.id, row.payload) for row in others]


FILTERS = [
    None,
    models.Filter(must=[models.FieldCondition(key="word", match=models.MatchValue(value="north"))]),
    models.Filter(must_not=[models.FieldCondition(key="second", range=models.Range(gte=20))]),
    models.Filter(should=[models.HasIdCondition(has_id=[1, 2]), models.HasIdCondition(has_id=[4])]),
]


@pytest.mark.parametrize("which", range(len(FILTERS)))
def test_queries_say_the_same(both: Pair, which: int) -> None:
    rng = random.Random(which)
    for offset in (0, 3):
        vector = [rng.uniform(-1, 1) for _ in range(SIZE)]
        options: dict[str, Any] = {"query_filter": FILTERS[which], "limit": 7, "offset": offset}
        ours, theirs = (one.query_points("both", vector, with_payload=True, **options) for one in both)
        assert same(ours, theirs)


def test_a_point_can_be_asked_with(both: Pair) -> None:
    ours, theirs = (one.query_points("both", 4, limit=5, with_payload=["word"]) for one in both)
    assert same(ours, theirs)
    assert 4 not in [point.id for point in ours.points]


def test_a_batch_of_queries_says_the_same(both: Pair) -> None:
    requests = [models.QueryRequest(query=points()[i].vector, limit=3, with_payload=True) for i in range(4)]
    ours, theirs = (one.query_batch_points("both", requests) for one in both)
    assert all(same(*pair) for pair in zip(ours, theirs, strict=True))


def test_counts_say_the_same(both: Pair) -> None:
    for matching in FILTERS:
        ours, theirs = (one.count("both", count_filter=matching).count for one in both)
        assert ours == theirs


def test_a_scroll_gives_every_point_once(both: Pair) -> None:
    client, _ = both
    found: list[Any] = []
    offset: Any = None
    while True:
        page, offset = client.scroll("both", limit=17, offset=offset, with_payload=False)
        found += [point.id for point in page]
        if offset is None:
            break
    assert len(found) == len(set(found)) == COUNT


def test_records_are_what_was_written(both: Pair) -> None:
    ours, theirs = (one.retrieve("both", [4, 7, 4000], with_payload=True, with_vectors=True) for one in both)
    assert [(r.id, r.payload) for r in ours] == [(r.id, r.payload) for r in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.vector == pytest.approx(other.vector, abs=1e-6)


def test_payloads_change_the_same(own: Pair) -> None:
    for one in own:
        one.set_payload("own", {"new": 1}, points=[1, 2], wait=True)
        one.overwrite_payload("own", {"only": True}, points=[4], wait=True)
        one.delete_payload("own", ["tags"], points=[5], wait=True)
        one.clear_payload("own", points_selector=[7], wait=True)
        one.set_payload("own", {"late": 1}, points=FILTERS[2], wait=True)
    ours, theirs = (one.retrieve("own", list(range(1, 9)), with_payload=True) for one in own)
    assert {r.id: r.payload or {} for r in ours} == {r.id: r.payload or {} for r in theirs}


def test_deletions_do_the_same(own: Pair) -> None:
    for one in own:
        one.delete("own", [1, 2, 99_999], wait=True)
        one.delete("own", models.FilterSelector(filter=FILTERS[1]), wait=True)
    ours, theirs = (one.count("own").count for one in own)
    assert ours == theirs < COUNT


def test_operations_in_a_row(own: Pair) -> None:
    operations = [
        models.UpsertOperation(upsert=models.PointsList(points=[models.PointStruct(id=500, vector=[1.0] * SIZE)])),
        models.SetPayloadOperation(set_payload=models.SetPayload(payload={"a": 1}, points=[500])),
        models.DeleteOperation(delete=models.PointIdsList(points=[1])),
    ]
    results = [one.batch_update_points("own", operations, wait=True) for one in own]
    assert [result.status for result in results[0]] == [models.UpdateStatus.COMPLETED] * 3
    ours, theirs = (one.retrieve("own", [1, 500]) for one in own)
    assert [(r.id, r.payload) for r in ours] == [(r.id, r.payload) for r in theirs] == [(500, {"a": 1})]


# --- what has no twin in memory ---


@pytest.fixture
def frames(client: QdrantClient) -> Iterator[str]:
    client.create_collection("few", vectors_config=models.VectorParams(size=SIZE, distance=models.Distance.COSINE))
    yield "few"
    client.delete_collection("few")


def test_a_collection_is_described(client: QdrantClient, frames: str) -> None:
    assert client.collection_exists(frames)
    assert not client.collection_exists("nothing")
    assert frames in [found.name for found in client.get_collections().collections]
    client.upsert(frames, points(), wait=True)
    client.create_payload_index(frames, "word", models.PayloadSchemaType.KEYWORD, wait=True)
    info = client.get_collection(frames)
    assert (info.status, info.points_count) == (models.CollectionStatus.GREEN, COUNT)
    assert info.config.params.vectors == models.VectorParams(size=SIZE, distance=models.Distance.COSINE)
    assert info.payload_schema["word"].data_type == models.PayloadSchemaType.KEYWORD
    client.delete_payload_index(frames, "word", wait=True)
    assert client.get_collection(frames).payload_schema == {}


def test_acknowledgements(client: QdrantClient, frames: str) -> None:
    assert client.upsert(frames, points(), wait=True).status == models.UpdateStatus.COMPLETED
    assert client.upsert(frames, points(), wait=False).status == models.UpdateStatus.ACKNOWLEDGED
    assert client.count(frames).count == COUNT


def test_bulk_upload(client: QdrantClient, frames: str) -> None:
    rows = [[float(i + j) for j in range(SIZE)] for i in range(300)]
    client.upload_collection(
        frames, vectors=rows, payload=[{"i": i} for i in range(300)], ids=range(300), batch_size=50
    )
    assert client.count(frames).count == 300
    client.upsert(frames, models.Batch(ids=[1000, 1001], vectors=rows[:2], payloads=[{"b": 1}, {"b": 2}]), wait=True)
    assert client.retrieve(frames, [1001])[0].payload == {"b": 2}


def test_a_collection_that_is_gone_can_be_deleted_again(client: QdrantClient) -> None:
    assert client.delete_collection("nothing") is False


def test_refusals_reach_the_caller_in_words(client: QdrantClient, frames: str) -> None:
    params = models.VectorParams(size=SIZE, distance=models.Distance.DOT)
    client.upsert(frames, points(), wait=True)
    for status, words, work in (
        (404, "collection `nothing` does not exist", lambda: client.count("nothing")),
        (409, "exists already", lambda: client.create_collection(frames, vectors_config=params)),
        (400, "vector has 2 numbers, expected 8", lambda: client.query_points(frames, [1.0, 2.0])),
        (
            400,
            "point id is `word`",
            lambda: client.upsert(frames, [models.PointStruct(id="word", vector=[1.0] * SIZE)]),
        ),
        (400, "No appropriate index for faceting: `word`", lambda: client.facet(frames, "word")),
        (501, "`shard_number` is 2", lambda: client.create_collection("x", vectors_config=params, shard_number=2)),
        (
            501,
            "this node is in no mesh",
            lambda: client.create_collection("x", vectors_config=params, metadata={"littoral": {"spread": {}}}),
        ),
        (501, "`POST /collections/{collection}/cluster`", lambda: replicated(client, frames)),
        (501, "inference is not offered", lambda: embedded(client, frames)),
    ):
        with pytest.raises(UnexpectedResponse) as refused:
            work()
        assert refused.value.status_code == status
        assert words in refused.value.content.decode()


def test_a_node_in_no_mesh_is_no_cluster_and_its_collections_have_one_shard(client: QdrantClient) -> None:
    assert client.http.distributed_api.cluster_status().result == models.ClusterStatusOneOf(status="disabled")
    with filled((client,), "alone", "Dot"):
        told = client.collection_cluster_info("alone")
        (shard,) = told.local_shards
        assert (shard.shard_id, shard.points_count, shard.state) == (0, COUNT, models.ReplicaState.ACTIVE)
        assert (told.shard_count, told.remote_shards, told.shard_transfers) == (1, [], [])


def replicated(client: QdrantClient, name: str) -> bool:
    move = models.MoveShard(shard_id=0, from_peer_id=1, to_peer_id=2)
    return client.cluster_collection_update(name, models.MoveShardOperation(move_shard=move))


def embedded(client: QdrantClient, name: str) -> Any:
    nearest = models.NearestQuery(nearest=models.Document(text="a fox", model="any"))
    return client.http.search_api.query_points(name, query_request=models.QueryRequest(query=nearest))
