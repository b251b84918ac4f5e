"""Beside single answers: freshness, the older routes, options that last, and who speaks another protocol."""

import random
import socket
from typing import Any

import httpx
import pytest
from grpc import RpcError
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException

from node_fixture import Served
from points_of_kinds import PLAIN_SIZE, filters, numbers, plain_points
from twins import Twins, plain, unlike

NAME = "wire"


@pytest.fixture
def twins(twins: Twins) -> Any:
    twins.both(
        "create_collection",
        NAME,
        vectors_config=models.VectorParams(size=PLAIN_SIZE, distance=models.Distance.COSINE),
    )
    twins.both("upsert", NAME, plain_points())
    yield twins
    twins.both("delete_collection", NAME)


@pytest.mark.parametrize("wait", [True, False])
def test_what_is_written_is_found_by_the_next_search(twins: Twins, wait: bool) -> None:
    rng = random.Random(77)
    for i in range(40):
        vector = numbers(rng, PLAIN_SIZE)
        done = twins.ours.upsert(NAME, [models.PointStruct(id=10_000 + i, vector=vector)], wait=wait)
        assert done.status == (models.UpdateStatus.COMPLETED if wait else models.UpdateStatus.ACKNOWLEDGED)
        assert twins.ours.query_points(NAME, vector, limit=1).points[0].id == 10_000 + i
        twins.ours.delete(NAME, [10_000 + i], wait=wait)
        assert twins.ours.query_points(NAME, vector, limit=1).points[0].id != 10_000 + i


OLDER: dict[str, tuple[dict[str, Any], Any]] = {
    "search": ({"vector": [1.0] * PLAIN_SIZE}, [1.0] * PLAIN_SIZE),
    "recommend": (
        {"positive": [1, 2], "negative": [5], "strategy": "best_score"},
        models.RecommendQuery(
            recommend=models.RecommendInput(positive=[1, 2], negative=[5], strategy=models.RecommendStrategy.BEST_SCORE)
        ),
    ),
    "discover": (
        {"target": 1, "context": [{"positive": 2, "negative": 5}]},
        models.DiscoverQuery(
            discover=models.DiscoverInput(target=1, context=[models.ContextPair(positive=2, negative=5)])
        ),
    ),
}


@pytest.mark.parametrize("route", OLDER)
def test_older_routes_say_what_today_s_say(served: Served, twins: Twins, route: str) -> None:
    body, query = OLDER[route]
    matching = filters()["range"]
    terms = {"limit": 7, "with_payload": True, "filter": matching.model_dump(exclude_none=True)}
    wanted = plain(twins.theirs.query_points(NAME, query, limit=7, query_filter=matching).points)

    def asked(path: str, json: Any) -> Any:
        answer = httpx.post(f"{served.url}/collections/{NAME}/points/{path}", json=json)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def same(hits: list[dict[str, Any]]) -> None:
        told = [models.ScoredPoint.model_validate(hit) for hit in hits]
        assert unlike(plain(told), wanted, route) is None

    same(asked(route, body | terms))
    for hits in asked(f"{route}/batch", {"searches": [body | terms] * 2}):
        same(hits)
    if route != "discover":
        groups = asked(f"{route}/groups", body | terms | {"group_by": "shelf", "group_size": 2, "limit": 3})["groups"]
        ours = twins.ours.query_points_groups(
            NAME, "shelf", query=query, query_filter=matching, group_size=2, limit=3
        ).groups
        assert [group["id"] for group in groups] == [group.id for group in ours]


def test_a_named_vector_may_be_the_one_without_a_name(served: Served, twins: Twins) -> None:
    body = {"vector": {"name": "", "vector": [1.0] * PLAIN_SIZE}, "limit": 3}
    answer = httpx.post(f"{served.url}/collections/{NAME}/points/search", json=body)
    wanted = twins.ours.query_points(NAME, [1.0] * PLAIN_SIZE, limit=3).points
    assert [hit["id"] for hit in answer.json()["result"]] == [hit.id for hit in wanted]


def test_options_can_be_changed(twins: Twins) -> None:
    client = twins.ours
    scalar = models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    )
    assert client.update_collection(
        NAME,
        hnsw_config=models.HnswConfigDiff(m=24, ef_construct=60),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=100),
        quantization_config=scalar,
        metadata={"owner": "shop 12"},
    )
    config = client.get_collection(NAME).config
    assert (config.hnsw_config.m, config.hnsw_config.ef_construct) == (24, 60)
    assert config.optimizer_config.indexing_threshold == 100
    assert config.quantization_config == scalar
    assert config.metadata == {"owner": "shop 12"}
    twins.alike("query_points", NAME, [1.0] * PLAIN_SIZE, limit=5)
    client.update_collection(
        NAME, quantization_config=models.Disabled.DISABLED, vectors_config={"": models.VectorParamsDiff(on_disk=True)}
    )
    config = client.get_collection(NAME).config
    assert config.quantization_config is None
    assert config.params.vectors.on_disk is True
    assert config.hnsw_config.m == 24


KINDS: list[Any] = [
    models.ProductQuantization(product=models.ProductQuantizationConfig(compression=models.CompressionRatio.X16)),
    models.BinaryQuantization(
        binary=models.BinaryQuantizationConfig(encoding=models.BinaryQuantizationEncoding.ONE_AND_HALF_BITS)
    ),
    models.TurboQuantization(
        turbo=models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4, always_ram=True)
    ),
]


@pytest.mark.parametrize("which", range(len(KINDS)))
def test_quantisation_is_told_as_it_was_given(twins: Twins, which: int) -> None:
    params = models.VectorParams(size=PLAIN_SIZE, distance=models.Distance.COSINE, on_disk=True)
    client = twins.ours
    client.create_collection("small", vectors_config=params, quantization_config=KINDS[which])
    client.upsert("small", plain_points())
    assert client.get_collection("small").config.quantization_config == KINDS[which]
    exact = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True, oversampling=4.0))
    found = client.query_points("small", [1.0] * PLAIN_SIZE, limit=5, search_params=exact).points
    wanted = client.query_points(NAME, [1.0] * PLAIN_SIZE, limit=5).points
    assert [hit.id for hit in found] == [hit.id for hit in wanted]
    client.delete_collection("small")


def test_indexes_are_told_as_they_were_made(twins: Twins) -> None:
    client = twins.ours
    text = models.TextIndexParams(
        type=models.TextIndexType.TEXT,
        tokenizer=models.TokenizerType.WORD,
        min_token_len=2,
        lowercase=True,
        phrase_matching=True,
        stopwords=models.StopwordsSet(languages=[models.Language.ENGLISH], custom=["wind"]),
        stemmer=models.SnowballParams(type=models.Snowball.SNOWBALL, language=models.SnowballLanguage.ENGLISH),
    )
    client.create_payload_index(NAME, "note", text)
    client.create_payload_index(NAME, "word", models.KeywordIndexParams(type="keyword", is_tenant=True))
    told = client.get_collection(NAME).payload_schema
    assert told["note"].params == text
    assert told["word"].params.is_tenant is True
    assert told["word"].points == len(plain_points())
    client.delete_payload_index(NAME, "note")
    assert "note" not in client.get_collection(NAME).payload_schema


def test_a_grpc_client_is_refused_at_once(served: Served) -> None:
    """The first bytes of HTTP/2 with prior knowledge, which is what gRPC without TLS begins with."""
    host, _, port = served.url.removeprefix("http://").partition(":")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(preface)
        answer = b""
        while part := connection.recv(4096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400")
    assert "begins as HTTP/2 · hint: this port speaks HTTP/1.1; gRPC has a port of its own" in answer.decode()
    client = QdrantClient(host=host, grpc_port=int(port), prefer_grpc=True, timeout=60, check_compatibility=False)
    with pytest.raises((RpcError, ResponseHandlingException)):
        client.get_collections()
    client.close()


def test_a_request_says_how_much_is_enough_in_a_header_or_as_a_parameter(served: Served, twins: Twins) -> None:
    asked = {"query": [0.5] * PLAIN_SIZE, "limit": 3}
    route = f"{served.url}/collections/{NAME}/points/query"
    with_header = QdrantClient(url=served.url, timeout=60, headers={"littoral-recall": "0.95"})
    assert len(with_header.query_points(NAME, asked["query"], limit=3).points) == 3
    with_header.close()
    assert httpx.post(f"{route}?recall=1", json=asked).status_code == 200
    for wrong in ("0.2", "1.01", "nan", "much"):
        reply = httpx.post(f"{route}?recall={wrong}", json=asked)
        told = f"parameter `recall` is `{wrong}`, must be 0.5..1"
        assert (reply.status_code, reply.json()["status"]["error"]) == (400, told)
