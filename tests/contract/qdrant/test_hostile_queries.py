"""Queries made of right and wrong parts at random: each is answered, or refused as the caller's fault."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from littoral.errors import RequestError
from littoral.node.qdrant_bodies import QueryBody, QueryGroupsBody
from littoral.node.qdrant_queries import query_of
from littoral.vectors import frames
from littoral.vectors.indexes import parse_schema
from littoral.vectors.packing import packed_point
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.requests import answer_to
from littoral.vectors.shard import Shard
from littoral.vectors.tuning import MultiVector, SparseParams
from points_of_kinds import CONDITIONS, INDEXES, plain_points

SIZES = {"": 8, "image": 4, "tokens": 3}
CONFIG = CollectionConfig(
    VectorParams(8, "Cosine"),
    named={
        "image": VectorParams(4, "Euclid"),
        "tokens": VectorParams(3, "Dot", multivector_config=MultiVector(comparator="max_sim")),
    },
    sparse={"words": SparseParams(modifier="idf")},
)
KEYS = ("word", "second", "price", "at", "place", "note", "deep.er.value", "boxes[].area", "a.b[", "", "[]", "$score")
NUMBERS = (0, 1, -1, 2.5, 1e30, 1e39, 5e-324, 2**63, 2**64 - 1, 10**30, 16_385)


class Questions:
    """Makes them; `using` is the vector that one is about."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.using = ""

    def one_of(self, *makers: Callable[[], Any]) -> Any:
        return self.rng.choice(makers)()

    def number(self) -> float:
        return self.rng.choice(NUMBERS) if self.rng.random() < 0.3 else round(self.rng.uniform(-2, 2), 3)

    def vector(self) -> Any:
        rng = self.rng
        if rng.random() < 0.2:
            return rng.choice([4, 5, 900, [], [1.0], [[1.0]], [1e39] * 8, {"indices": [1, 1], "values": [1.0, 2.0]}])
        if self.using == "words":
            return {"indices": rng.sample(range(30), 3), "values": [0.5, -1.0, 2.0]}
        row = [rng.uniform(-1, 1) for _ in range(SIZES.get(self.using, 8))]
        return [row, row] if self.using == "tokens" else row

    def vectors(self) -> list[Any]:
        return [self.vector() for _ in range(self.rng.randrange(3))]

    def pairs(self) -> list[Any]:
        return [{"positive": self.vector(), "negative": self.vector()} for _ in range(self.rng.randrange(3))]

    def condition(self) -> Any:
        if self.rng.random() < 0.5:
            condition = self.rng.choice(list(CONDITIONS.values()))
            return condition.model_dump(exclude_none=True, mode="json", by_alias=True)
        key, number = self.rng.choice(KEYS), self.number()
        point = {"lon": number, "lat": number}
        return self.one_of(
            lambda: {"key": key, "range": {"gt": number, "lt": self.rng.choice([number, "2026-11-10T00:00:00Z", "x"])}},
            lambda: {"key": key, "geo_radius": {"center": point, "radius": number}},
            lambda: {"key": key, "values_count": {"gt": -1}},
            lambda: {"key": key, "match": {"text": "north"}},
            lambda: {"nested": {"key": key, "filter": self.filter()}},
            lambda: {"has_vector": "nothing"},
            self.filter,
        )

    def filter(self) -> Any:
        clauses = self.rng.sample(["must", "should", "must_not"], self.rng.randrange(3))
        return {clause: [self.condition()] for clause in clauses}

    def expression(self, depth: int = 0) -> Any:
        if depth > 3:
            return self.rng.choice(["$score", "price", self.number()])

        def inner() -> Any:
            return self.expression(depth + 1)

        return self.one_of(
            lambda: self.rng.choice(["$score", "price", "second", "$score[5]", "$", ""]),
            lambda: {self.rng.choice(["sum", "mult", "max", "min"]): [inner() for _ in range(self.rng.randrange(3))]},
            lambda: {self.rng.choice(["neg", "abs", "sqrt", "exp", "log10", "ln", "acosh"]): inner()},
            lambda: {"div": {"left": inner(), "right": inner(), "by_zero_default": self.rng.choice([None, 1.0])}},
            lambda: {"pow": {"base": inner(), "exponent": inner()}},
            lambda: {"gauss_decay": {"x": inner(), "scale": self.number(), "midpoint": self.number()}},
            lambda: {"datetime_key": self.rng.choice(KEYS)},
            self.condition,
        )

    def ask(self) -> Any:
        rng = self.rng
        return self.one_of(
            self.vector,
            lambda: {"nearest": self.vector(), "mmr": {"diversity": rng.choice([0.5, 2]), "candidates_limit": 9}},
            lambda: {
                "recommend": {
                    "positive": self.vectors(),
                    "negative": self.vectors(),
                    "strategy": rng.choice([None, "best_score", "sum_scores"]),
                }
            },
            lambda: {"discover": {"target": self.vector(), "context": self.pairs()}},
            lambda: {"context": self.pairs()},
            lambda: {"order_by": {"key": rng.choice(KEYS), "start_from": rng.choice([None, self.number(), "x"])}},
            lambda: {"fusion": rng.choice(["rrf", "dbsf"])},
            lambda: {"rrf": {"k": rng.choice([None, 0, 60]), "weights": rng.choice([None, [1.0], [-1.0, 1e39]])}},
            lambda: {"formula": self.expression(), "defaults": {"second": rng.choice([1.0, "x"])}},
            lambda: {"text": "north wind"},
            lambda: None,
        )

    def body(self, depth: int = 0) -> dict[str, Any]:
        rng = self.rng
        self.using = rng.choice(["", "", "image", "tokens", "words", "nothing", "note"])
        made: dict[str, Any] = {"query": self.ask(), "limit": rng.choice([None, 3, 0])}
        made |= {"using": self.using} if self.using else {}
        made |= {"filter": self.filter()} if rng.random() < 0.3 else {}
        made |= {"params": {"acorn": {"enable": True}, "idf": {"corpus": self.filter()}}} if rng.random() < 0.1 else {}
        if depth < 2 and rng.random() < 0.4:
            made["prefetch"] = [self.body(depth + 1) for _ in range(rng.randrange(3))]
        return made


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shard]:
    with Shard.open(tmp_path_factory.mktemp("hostile"), CONFIG, create=True) as shard:
        fill(shard)
        yield shard


def fill(shard: Shard) -> None:
    points = plain_points()
    rng = random.Random(1)
    vectors = [
        {
            "": point.vector,
            "image": [rng.uniform(-1, 1) for _ in range(4)],
            "tokens": [[rng.uniform(-1, 1) for _ in range(3)] for _ in range(2)],
            "words": {"indices": rng.sample(range(30), 3), "values": [0.5, 1.0, 2.0]},
        }
        for point in points
    ]
    packed = [packed_point(vector, "point") for vector in vectors]
    shard.upsert(PointBatch([point.id for point in points], packed, [point.payload for point in points]))
    for field in ("word", "second", "price", "at", "place"):
        schema = INDEXES[field]
        json = schema.model_dump(exclude_none=True, mode="json") if hasattr(schema, "model_dump") else schema.value
        shard.create_index(field, parse_schema(json))
    shard.create_index("note", parse_schema({"type": "text", "scoring": True}))


def never(_: str) -> Any:
    raise AssertionError("no other collection is asked for")


@pytest.mark.parametrize("seed", range(6))
async def test_each_is_answered_or_refused(shard: Shard, seed: int) -> None:
    questions, answered = Questions(seed), 0
    for _ in range(120):
        body = questions.body()
        try:
            answered += await asked(shard, body)
        except RequestError:
            continue
    assert answered > 5


async def asked(shard: Shard, body: dict[str, Any]) -> bool:
    """As a node does, through both encodings."""
    try:
        query = msgspec.json.decode(msgspec.json.encode(body), type=QueryBody)
    except (msgspec.ValidationError, OverflowError):
        return False
    wanted = await query_of(shard, query, never, 1.0)  # type: ignore[arg-type]
    sent = frames.encode(frames.Search(call=1, queries=[wanted]))
    answer = answer_to(frames.decode_request(bytes(sent[4:])), shard, frames.Statistics)  # type: ignore[arg-type]
    frames.decode_answer(bytes(frames.encode(answer)[4:]))
    grouped = QueryGroupsBody(query=query.query, group_by="word", using=query.using, filter=query.filter)
    frames.encode(
        answer_to(
            frames.Group(call=2, query=await query_of(shard, grouped, never, 1.0), by="word"),  # type: ignore[arg-type]
            shard,
            frames.Statistics,
        )
    )
    return True
