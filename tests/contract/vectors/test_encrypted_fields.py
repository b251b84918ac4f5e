"""Fields that lie sealed: conditions find the same points as over plain values, and what was written comes back.

Both collections are real, with hosts of their own; random payloads, changes and filters from one seed.
"""

import base64
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.errors import InputError, NotFoundError, TooLargeError, TrustError
from littoral.node.supervisor import embedded
from littoral.node.supervisor_link import SupervisorLink
from littoral.vault import Key, KeyRing
from littoral.vectors import frames
from littoral.vectors.asks import Formula, OrderBy, TextMatch
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.encrypted.fields import SealedFields
from littoral.vectors.encrypted.shard import SealedShard
from littoral.vectors.filters import parse_filter
from littoral.vectors.indexes import parse_schema
from littoral.vectors.queries import PayloadChange, PayloadSelector, Prefetch, SearchQuery
from littoral.vectors.records import CollectionConfig, PointId, VectorParams

CONFIG = CollectionConfig(VectorParams(2, "Dot"))
FIELDS = ("customer", "plate")
OLD, NEW = Key(bytes(range(32))), Key(bytes(range(1, 33)))
VALUES: list[Any] = [
    "a", "b", "B", "", "1", "true", "~", "ü", 1, 0, -7, 2**40, True, False, 1.0, 2.5, None, [], {"a": 1}, {}, [["a"]],
    ["a", "b"], ["b", "b"], [1, "a", None, 2.5], [True, {"x": 2}],
]  # fmt: skip
MATCHED: list[Any] = [value for value in VALUES if isinstance(value, str | int | bool)]
KEYS = ("customer", "plate", "customer[]", "open")
IDS: list[PointId] = [*range(1, 12), "00000000-0000-4000-8000-000000000007"]


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[SupervisorLink]:
    with embedded(tmp_path) as link:
        async with link:
            yield link


def fields(*keys: Key, collection: str = "sealed") -> SealedFields:
    return SealedFields(collection, FIELDS, KeyRing(keys or (OLD,)))


async def both(folder: Path, link: SupervisorLink) -> tuple[Collections, Collection, Collection]:
    collections = await Collections.open(folder, link, encrypted={"sealed": fields()})
    return collections, await collections.create("plain", CONFIG), await collections.create("sealed", CONFIG)


def payload(rng: random.Random) -> dict[str, Any]:
    return {key: rng.choice(VALUES) for key in ("customer", "plate", "open") if rng.random() < 0.8}


def condition(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    key = rng.choice(KEYS)
    kind = rng.choice(["value", "any", "except", "is_empty", "is_null", "count", "id", "clauses", "clauses"])
    several = [rng.choice([one for one in MATCHED if isinstance(one, str)]) for _ in range(rng.randint(0, 3))]
    match kind:
        case "value":
            return {"key": key, "match": {"value": rng.choice(MATCHED)}}
        case "any" | "except":
            numbers = [rng.choice([1, 0, -7, 2**40, 5]) for _ in range(rng.randint(1, 3))]
            return {"key": key, "match": {kind: rng.choice([several, numbers])}}
        case "is_empty" | "is_null":
            return {kind: {"key": key}}
        case "count":
            return {"key": key, "values_count": {rng.choice(["gt", "lte"]): rng.randint(0, 2)}}
        case "clauses" if depth < 3:
            return filter_json(rng, depth + 1)
    return {"has_id": rng.sample(IDS, 4)}


def filter_json(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: [condition(rng, depth) for _ in range(rng.randint(1, 2))]
        for name in ("must", "should", "must_not")
        if rng.random() < 0.4
    }
    if rng.random() < 0.15:
        found["min_should"] = {"conditions": [condition(rng, depth) for _ in range(3)], "min_count": 2}
    return found or {"must": [condition(rng, depth)]}


def change(rng: random.Random) -> PayloadChange:
    how: Any = rng.choice(["merge", "merge", "replace", "remove", "clear"])
    meant: dict[str, Any] = (
        {"filter": parse_filter(filter_json(rng))} if rng.random() < 0.5 else {"ids": rng.sample(IDS, 3)}
    )
    given: dict[str, Any] = {"payload": payload(rng)} if how in ("merge", "replace") else {}
    if how == "remove":
        given = {"keys": rng.sample(["customer", "plate", "open"], 2)}
    elif how == "merge" and rng.random() < 0.2:
        given["key"] = "inner"
    return PayloadChange(how, **meant, **given)


async def content(collection: Collection, **options: Any) -> dict[PointId, Any]:
    records, following = await collection.scroll(limit=1000, **options)
    assert following is None
    return {record.id: record.payload or {} for record in records}


@pytest.mark.parametrize("has_index", [False, True], ids=["scanned", "indexed"])
async def test_conditions_and_changes_do_what_they_do_on_plain_values(
    tmp_path: Path, link: SupervisorLink, has_index: bool
) -> None:
    rng = random.Random(7 + has_index)
    collections, plain, sealed = await both(tmp_path, link)
    if has_index:
        for field in FIELDS:
            await sealed.create_index(field, "keyword")
    for turn in range(40):
        rows = [payload(rng) for _ in IDS]
        for one in (plain, sealed):
            if turn % 20 == 0:
                await one.upsert(IDS, np.ones((len(IDS), 2)), rows, acknowledge="applied")
        wanted = change(rng)
        for one in (plain, sealed):
            await one.change_payload(wanted, acknowledge="applied")
        assert await content(sealed) == await content(plain), (turn, wanted)
        for _ in range(8):
            matching = filter_json(rng)
            found = await content(plain, matching=matching)
            assert await content(sealed, matching=matching) == found, (turn, matching)
            assert await sealed.count(matching) == len(found)
    await collections.close()


async def test_a_search_gives_values_and_finds_by_them(tmp_path: Path, link: SupervisorLink) -> None:
    collections, _, sealed = await both(tmp_path, link)
    rows = [{"customer": f"c{at % 3}", "plate": {"city": "B", "no": at}, "open": at} for at in range(9)]
    await sealed.upsert(range(9), np.arange(18).reshape(9, 2), rows)
    hits = await sealed.search(np.ones(2), limit=9)
    assert [hit.payload for hit in hits] == [rows[int(hit.id)] for hit in hits]
    query = sealed.query(np.ones(2), matching={"must": [{"key": "customer", "match": {"value": "c1"}}]})
    told = (await sealed.search_told([query]))[0]
    assert b'"customer":"c1"' in told
    assert b"__sealed" not in told
    chosen = PayloadSelector(include=["customer"])
    assert (await sealed.retrieve([4], with_payload=chosen))[0].payload == {"customer": "c1"}
    others = PayloadSelector(exclude=["customer"])
    assert (await sealed.retrieve([4], with_payload=others))[0].payload == {"plate": rows[4]["plate"], "open": 4}
    groups = await sealed.group(query, "open", size=1)
    assert {group.hits[0].payload["customer"] for group in groups if group.hits[0].payload} == {"c1"}
    formula = {"sum": ["$score", {"key": "customer", "match": {"value": "c2"}}]}
    boosted = SearchQuery(
        Formula(formula), limit=1, with_payload=True, prefetch=[Prefetch(sealed.query(np.ones(2)).ask, limit=9)]
    )
    boosted.prefetch[0].ask = None
    assert (await sealed.search_batch([boosted]))[0]
    await sealed.delete_matching({"must": [{"key": "customer", "match": {"any": ["c0", "c2"]}}]})
    assert set(await content(sealed)) == {1, 4, 7}
    await collections.close()


REFUSED = {
    "range": frames.Count(0, parse_filter({"must": [{"key": "customer", "range": {"gt": 1}}]})),
    "text": frames.Count(0, parse_filter({"must_not": [{"key": "customer", "match": {"text": "a"}}]})),
    "prefix": frames.Count(0, parse_filter({"should": [{"key": "plate", "match": {"prefix": "B-"}}]})),
    "inside": frames.Count(0, parse_filter({"must": [{"key": "customer.name", "match": {"value": "a"}}]})),
    "place": frames.Count(0, parse_filter({"must": [{"key": "customer[0]", "match": {"value": "a"}}]})),
    "nested": frames.Count(0, parse_filter({"must": [{"nested": {"key": "customer", "filter": {}}}]})),
    "sealed value": frames.Count(0, parse_filter({"must": [{"key": "customer__sealed", "match": {"value": "a"}}]})),
    "geo": frames.Count(
        0, parse_filter({"must": [{"key": "plate", "geo_radius": {"center": {"lon": 0, "lat": 0}, "radius": 1}}]})
    ),
    "facet": frames.Facet(0, "customer"),
    "group": frames.Group(0, SearchQuery(None), "customer"),
    "order": frames.Scroll(0, order=OrderBy("customer")),
    "ordered query": frames.Search(0, [SearchQuery(OrderBy("plate"))]),
    "words": frames.Search(0, [SearchQuery(TextMatch("a"), using="customer")]),
    "words of a prefetch": frames.Search(0, [SearchQuery(None, prefetch=[Prefetch(TextMatch("a"), "customer")])]),
    "formula": frames.Search(0, [SearchQuery(Formula({"mult": [2, "customer"]}), prefetch=[Prefetch()])]),
    "condition of a formula": frames.Search(
        0, [SearchQuery(Formula({"sum": [{"key": "plate", "range": {"lt": 2}}]}), prefetch=[Prefetch()])]
    ),
    "part of a value": frames.Retrieve(0, [1], PayloadSelector(include=["customer.name"])),
    "index of words": frames.CreateIndex(0, "customer", "text"),
    "index of ranges": frames.CreateIndex(0, "plate", parse_schema({"type": "integer", "range": True})),
    "change within": frames.ChangePayload(0, PayloadChange("merge", ids=[1], payload={"a": 1}, key="customer")),
    "removal within": frames.ChangePayload(0, PayloadChange("remove", ids=[1], keys=["customer.name"])),
    "forged": frames.ChangePayload(0, PayloadChange("merge", ids=[1], payload={"customer__sealed": "AAAA"})),
    "not finite": frames.ChangePayload(0, PayloadChange("merge", ids=[1], payload={"customer": float("nan")})),
}


async def refusal(collection: Collection, request: frames.Request) -> str:
    try:
        await collection.ask(request)
    except InputError as error:
        return str(error)
    return "done"


async def test_what_needs_more_than_equality_is_refused(tmp_path: Path, link: SupervisorLink) -> None:
    collections, _, sealed = await both(tmp_path, link)
    await sealed.upsert([1], np.ones((1, 2)), [{"customer": "a"}])
    for what, request in REFUSED.items():
        assert re.search(r"is encrypted: no |where the sealed value|must be finite", await refusal(sealed, request)), (
            what
        )
    many = {"must": [{"key": "customer", "match": {"any": [f"v{at}" for at in range(9000)]}}]}
    collections_of_two = SealedShard(sealed.shard._client, fields(NEW, OLD))  # type: ignore[attr-defined]
    with pytest.raises(TooLargeError, match="18000, at most"):
        await collections_of_two.ask(frames.Count(0, parse_filter(many)), 5)
    with pytest.raises(NotFoundError, match="no point has the id `3`"):
        await sealed.change_payload(PayloadChange("merge", ids=[1, 3], payload={"customer": "b"}))
    assert await content(sealed) == {1: {"customer": "a"}}
    nobody = parse_filter({"must": [{"key": "customer", "match": {"value": "x"}}]})
    await sealed.change_payload(PayloadChange("merge", filter=nobody, payload={"customer": "b"}))
    assert await content(sealed) == {1: {"customer": "a"}}
    await collections.close()


def of(sealed: Collection, *keys: Key, collection: str = "sealed") -> Collection:
    """The same points, as one who has these keys sees them."""
    client = sealed.shard._client  # type: ignore[attr-defined]
    return Collection("sealed", CONFIG, SealedShard(client, fields(*keys, collection=collection)))


async def test_equality_goes_on_over_a_change_of_keys(tmp_path: Path, link: SupervisorLink) -> None:
    collections, _, old = await both(tmp_path, link)
    await old.upsert(
        range(600), np.ones((600, 2)), [{"customer": f"c{at % 5}", "plate": [at, "x"]} for at in range(600)]
    )
    await of(old).ask(frames.Info(0))
    unsealed = Collection("sealed", CONFIG, old.shard._client)  # type: ignore[attr-defined]
    await unsealed.upsert([600], np.ones((1, 2)), [{"customer": "c1", "plate": {"from": "before"}}])
    later = of(old, NEW, OLD)
    await later.upsert([601], np.ones((1, 2)), [{"customer": "c1"}])
    same = {"must": [{"key": "customer", "match": {"value": "c1"}}]}
    assert await later.count(same) == 121
    with pytest.raises(TrustError, match=f"is sealed by key {NEW.id.hex()}"):
        await old.retrieve([601])
    assert isinstance(later.shard, SealedShard)
    done = await later.shard.renew(20)
    assert (done.points, done.values, done.lost) == (602, 1202, 0)
    assert (await later.shard.renew(20)).values == 0
    new = of(old, NEW)
    assert await new.count(same) == 122
    assert (await content(new))[600] == {"customer": "c1", "plate": {"from": "before"}}
    assert (await content(new))[7] == {"customer": "c2", "plate": [7, "x"]}
    lost = of(old, OLD)
    assert isinstance(lost.shard, SealedShard)
    assert (await lost.shard.renew(20)).lost == 602
    await collections.close()


async def test_a_value_opens_at_its_own_place_only(tmp_path: Path, link: SupervisorLink) -> None:
    collections, _, sealed = await both(tmp_path, link)
    await sealed.upsert([1, 2], np.ones((2, 2)), [{"customer": "a", "plate": "a"}, {"customer": "a"}])
    stored = Collection("sealed", CONFIG, sealed.shard._client)  # type: ignore[attr-defined]
    one, two = (await content(stored)).values()
    assert one["customer"] == two["customer"] != one["plate"]
    assert len({one["customer__sealed"], two["customer__sealed"], one["plate__sealed"]}) == 3
    data = bytearray(base64.urlsafe_b64decode(one["customer__sealed"] + "=="))
    data[-1] ^= 1
    changed = base64.urlsafe_b64encode(data).decode().rstrip("=")
    for forged in (two["customer__sealed"], one["plate__sealed"], changed, "no base64!", "", 7):
        await stored.change_payload(PayloadChange("merge", ids=[1], payload={"customer__sealed": forged}))
        with pytest.raises(TrustError, match="field `customer` of point `1`"):
            await sealed.retrieve([1])
    await stored.change_payload(PayloadChange("replace", ids=[1], payload=one))
    assert (await sealed.retrieve([1]))[0].payload == {"customer": "a", "plate": "a"}
    with pytest.raises(TrustError) as refused:
        await of(sealed, OLD, collection="other").retrieve([1])
    assert "belongs to another point or collection" in str(refused.value)
    await collections.close()
