"""Searches that share a calibration are alike, and there are never many classes of them."""

from typing import Any

import pytest

from littoral.node.federation.query_classes import FILTER_KINDS_MAX, SHARE_SAMPLES, Classes, keys_of
from littoral.vectors.filters import parse_filter
from littoral.vectors.queries import SearchParams, SearchQuery

EXACT = SearchParams(exact=True)


def query(matching: dict[str, Any] | None = None, **more: Any) -> SearchQuery:
    return SearchQuery(b"", filter=parse_filter(matching), params=more.pop("params", EXACT), **more)


def match(key: str, value: Any = 1) -> dict[str, Any]:
    return {"key": key, "match": {"value": value}}


def names(classes: Classes) -> list[str]:
    return sorted(name.told for name, _ in classes.items())


@pytest.mark.parametrize(
    ("matching", "keys"),
    [
        ({"must": [match("a"), {"should": [match("b"), {"must_not": match("c")}]}]}, {"a", "b", "c"}),
        ({"min_should": {"conditions": [match("a"), match("b")], "min_count": 1}}, {"a", "b"}),
        ({"must": [{"has_id": [1]}, {"is_empty": {"key": "d"}}]}, {"has_id", "d"}),
        ({"must": [{"nested": {"key": "e", "filter": {"must": [match("f")]}}}]}, {"e"}),
    ],
)
def test_a_filter_is_of_the_class_of_its_keys(matching: dict[str, Any], keys: set[str]) -> None:
    parsed = parse_filter(matching)
    assert parsed is not None
    assert keys_of(parsed) == keys


def test_a_class_does_not_depend_on_the_values_of_a_filter() -> None:
    classes = Classes()
    one = classes.of("c", "hash", 1, query({"must": [match("tenant", "a")]}), 0.9)
    assert one is classes.of("c", "hash", 1, query({"must": [match("tenant", "b")]}), 0.9)
    assert names(classes) == ["c/hash/10/tenant/exact/1/0.9"]


def test_each_vector_has_classes_of_its_own() -> None:
    classes = Classes()
    found = [classes.of("c", "metric", 1, query(using=name), 0.9) for name in ("", "image", "text", "image")]
    assert found[1] is found[3]
    assert len({id(one) for one in found}) == 3
    assert names(classes) == [f"c/metric/10/none/exact/1/0.9{name}" for name in ("", "/image", "/text")]


def test_filter_threshold_graph_and_target_make_classes_of_their_own() -> None:
    classes = Classes()
    queries = [query(), query({"must": [match("a")]}), query(score_threshold=0.5), query(params=SearchParams())]
    found = {id(classes.of("c", "hash", 1, one, target)) for one in queries for target in (0.9, 0.95)}
    assert len(found) == 8
    assert classes.of("c", "hash", 1, query(), 0.941) is classes.of("c", "hash", 1, query(), 0.95)
    assert classes.of("c", "hash", 1, query(), 1.0) is None


def test_filters_by_many_keys_share_a_class_and_another_epoch_begins_anew() -> None:
    classes = Classes()
    for at in range(10 * FILTER_KINDS_MAX):
        classes.of("c", "hash", 1, query({"must": [match(f"key-{at}")]}), 0.9)
    assert len(names(classes)) == FILTER_KINDS_MAX + 1
    classes.of("c", "hash", 2, query(), 0.9)
    assert names(classes) == ["c/hash/10/none/exact/2/0.9"]


def test_what_a_filter_lets_through_is_measured_first_and_then_stays() -> None:
    kind = Classes().of("c", "hash", 1, query({"must": [match("a")]}), 0.9)
    assert kind is not None
    assert (kind.share, kind.wants_share) == (1.0, True)
    for _ in range(SHARE_SAMPLES):
        kind.measured(0.25)
    kind.measured(0.9)
    assert (kind.share, kind.wants_share) == (0.25, False)
