"""Seeded points with vectors and payloads of every kind, and questions to them."""

import random
import uuid
from typing import Any

from qdrant_client import models
from qdrant_client.models import FieldCondition, Filter

COUNT = 70
PLAIN_SIZE = 8
WORDS = ("north", "south", "east", "west")
DISTANCES = tuple(models.Distance)

RICH_VECTORS = {
    "text": models.VectorParams(size=6, distance=models.Distance.COSINE),
    "image": models.VectorParams(size=4, distance=models.Distance.EUCLID),
    "dots": models.VectorParams(size=5, distance=models.Distance.DOT),
    "steps": models.VectorParams(size=3, distance=models.Distance.MANHATTAN),
    "tokens": models.VectorParams(
        size=3,
        distance=models.Distance.COSINE,
        multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
    ),
}
RICH_SPARSE = {"words": models.SparseVectorParams(), "rare": models.SparseVectorParams(modifier=models.Modifier.IDF)}
DENSE_NAMES = ("text", "image", "dots", "steps")


def point_id(i: int) -> int | str:
    return str(uuid.UUID(int=(i + 1) * 7919)) if i % 4 == 3 else i


def numbers(rng: random.Random, size: int) -> list[float]:
    return [rng.uniform(-1, 1) for _ in range(size)]


def sparse(rng: random.Random, count: int = 4) -> models.SparseVector:
    indices = rng.sample(range(30), count)
    return models.SparseVector(indices=sorted(indices), values=[rng.uniform(0.1, 1) for _ in indices])


def tokens(rng: random.Random) -> list[list[float]]:
    return [numbers(rng, 3) for _ in range(rng.randrange(1, 4))]


def payload(rng: random.Random, i: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "word": rng.choice(WORDS),
        "second": i,
        "shelf": i % 5,
        "price": rng.choice([0.5, 1.25, 7.0, 9.75]),
        "night": rng.random() < 0.4,
        "tags": rng.sample(WORDS, rng.randrange(4)),
        "at": f"2026-11-{rng.randrange(1, 29):02d}T12:00:00Z",
        "place": {"lon": 5 + rng.random(), "lat": 50 + rng.random()},
        "boxes": [{"label": rng.choice(WORDS), "area": rng.randrange(9)} for _ in range(rng.randrange(3))],
        "note": f"a {rng.choice(WORDS)} wind from the {rng.choice(WORDS)}",
        "owner": str(uuid.UUID(int=i % 3 + 1)),
        "deep": {"er": {"value": i % 7}},
    }
    if i % 7 == 0:
        made["tags"] = None
    if i % 6 == 0:
        del made["second"]
    return made


def plain_points(seed: int = 1) -> list[models.PointStruct]:
    rng = random.Random(seed)
    return [
        models.PointStruct(id=point_id(i), vector=numbers(rng, PLAIN_SIZE), payload=payload(rng, i))
        for i in range(COUNT)
    ]


def rich_vectors(rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {name: numbers(rng, RICH_VECTORS[name].size) for name in DENSE_NAMES}
    return made | {"tokens": tokens(rng), "words": sparse(rng), "rare": sparse(rng)}


def rich_points(seed: int = 2) -> list[models.PointStruct]:
    """Each eighth point lacks one of its vectors."""
    rng = random.Random(seed)
    points = []
    for i in range(COUNT):
        vectors = rich_vectors(rng)
        if i % 8 == 5:
            del vectors[rng.choice(list(vectors))]
        points.append(models.PointStruct(id=point_id(i), vector=vectors, payload=payload(rng, i)))
    return points


INDEXES: dict[str, Any] = {
    "word": models.PayloadSchemaType.KEYWORD,
    "tags": models.KeywordIndexParams(type="keyword", is_tenant=False, on_disk=False),
    "second": models.IntegerIndexParams(type="integer", lookup=True, range=True),
    "shelf": models.PayloadSchemaType.INTEGER,
    "price": models.FloatIndexParams(type="float", on_disk=True),
    "night": models.PayloadSchemaType.BOOL,
    "at": models.DatetimeIndexParams(type="datetime"),
    "place": models.PayloadSchemaType.GEO,
    "owner": models.UuidIndexParams(type="uuid"),
    "note": models.TextIndexParams(
        type="text", tokenizer=models.TokenizerType.WORD, min_token_len=1, max_token_len=20, lowercase=True
    ),
}


def on(key: str, **test: Any) -> FieldCondition:
    return FieldCondition(key=key, **test)


def _ring(*corners: tuple[float, float]) -> models.GeoLineString:
    return models.GeoLineString(points=[models.GeoPoint(lon=lon, lat=lat) for lon, lat in (*corners, corners[0])])


CORNERS = ((5.1, 50.1), (5.9, 50.1), (5.9, 50.9), (5.1, 50.9))
HOLE = ((5.4, 50.4), (5.6, 50.4), (5.6, 50.6), (5.4, 50.6))
CENTRE = models.GeoPoint(lon=5.5, lat=50.5)

CONDITIONS: dict[str, Any] = {
    "keyword": on("word", match=models.MatchValue(value="north")),
    "integer": on("second", match=models.MatchValue(value=4)),
    "boolean": on("night", match=models.MatchValue(value=True)),
    "in a list": on("tags", match=models.MatchValue(value="south")),
    "uuid": on("owner", match=models.MatchValue(value=str(uuid.UUID(int=2)))),
    "deep": on("deep.er.value", match=models.MatchValue(value=3)),
    "any": on("word", match=models.MatchAny(any=["north", "west"])),
    "any integer": on("shelf", match=models.MatchAny(any=[1, 4])),
    "any of none": on("word", match=models.MatchAny(any=[])),
    "except": on("word", match=models.MatchExcept(**{"except": ["north", "west"]})),
    "text": on("note", match=models.MatchText(text="north")),
    "text of two": on("note", match=models.MatchText(text="north wind")),
    "text any": on("note", match=models.MatchTextAny(text_any="north south")),
    "range": on("second", range=models.Range(gte=20, lt=40)),
    "range of reals": on("price", range=models.Range(gt=0.5, lte=7)),
    "range of lists": on("boxes[].area", range=models.Range(gte=5)),
    "times": on("at", range=models.DatetimeRange(gte="2026-11-10T00:00:00Z", lt="2026-11-20T00:00:00Z")),
    "radius": on("place", geo_radius=models.GeoRadius(center=CENTRE, radius=30_000.0)),
    "box": on(
        "place",
        geo_bounding_box=models.GeoBoundingBox(
            top_left=models.GeoPoint(lon=5.2, lat=50.8), bottom_right=models.GeoPoint(lon=5.8, lat=50.2)
        ),
    ),
    "polygon": on("place", geo_polygon=models.GeoPolygon(exterior=_ring(*CORNERS), interiors=[_ring(*HOLE)])),
    "count of values": on("tags", values_count=models.ValuesCount(gte=2)),
    "empty": models.IsEmptyCondition(is_empty=models.PayloadField(key="second")),
    "null": models.IsNullCondition(is_null=models.PayloadField(key="tags")),
    "ids": models.HasIdCondition(has_id=[1, 2, point_id(3), 5, 4000]),
    "nested": models.NestedCondition(
        nested=models.Nested(
            key="boxes",
            filter=Filter(
                must=[on("label", match=models.MatchValue(value="east")), on("area", range=models.Range(gte=3))]
            ),
        )
    ),
    "inner filter": Filter(
        should=[on("shelf", match=models.MatchValue(value=1)), on("night", match=models.MatchValue(value=True))]
    ),
}


def filters(seed: int = 3) -> dict[str, Filter]:
    """Each condition alone and denied, and mixtures of them."""
    rng = random.Random(seed)
    made = {name: Filter(must=[condition]) for name, condition in CONDITIONS.items()}
    made |= {f"not {name}": Filter(must_not=[condition]) for name, condition in CONDITIONS.items()}
    conditions = list(CONDITIONS.values())
    for i in range(12):
        parts = rng.sample(conditions, 6)
        made[f"mixture {i}"] = Filter(
            must=parts[:1] if i % 2 else None,
            should=parts[1:4],
            must_not=parts[4:5] if i % 3 else None,
            min_should=models.MinShould(conditions=parts[2:], min_count=2) if i % 4 == 0 else None,
        )
    return made
