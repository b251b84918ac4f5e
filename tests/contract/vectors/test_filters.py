"""Filters as JSON: what is taken, and what is said about what is not."""

from typing import Any

import msgspec
import pytest

from littoral.errors import InputError, TooLargeError
from littoral.vectors.filters import Filter, parse_filter
from littoral.vectors.queries import PayloadSelector, SearchParams, parse_params, parse_selector

ONE = {"key": "a", "match": {"value": 1}}


def must(*conditions: Any) -> dict[str, Any]:
    return {"must": list(conditions)}


def deep(levels: int) -> dict[str, Any]:
    found = must(ONE)
    for _ in range(levels):
        found = must(found)
    return found


BAD = {
    "unknown clause": ({"musst": []}, "unknown field `musst`"),
    "unknown test": (must({"key": "a", "matches": {}}), "`must[0]`: object contains unknown field `matches`"),
    "unknown match": (must({"key": "a", "match": {"regex": "x"}}), "`must[0].match`"),
    "two matches": (
        must({"key": "a", "match": {"value": 1, "text": "b"}}),
        "filter.must[0].match: needs exactly one of",
    ),
    "no match": (must({"key": "a", "match": {}}), "filter.must[0].match: needs exactly one of"),
    "real number to match": (must({"key": "a", "match": {"value": 1.5}}), "`must[0].match.value`: expected"),
    "any of two kinds": (must({"key": "a", "match": {"any": [1, "b"]}}), "integers and texts, must be of one kind"),
    "key alone": (must({"key": "a"}), "filter.must[0]: a condition with `key` needs exactly one of match, range"),
    "two tests": (must(ONE | {"range": {"gt": 1}}), "filter.must[0]: a condition with `key` needs exactly one of"),
    "test without key": (must({"match": {"value": 1}}), "filter.must[0]: `match` needs a `key`"),
    "key and clause": (must(ONE | must(ONE)), "filter.must[0]: a condition with `key` needs exactly one of"),
    "test and clause": (must({"has_id": [1]} | must(ONE)), "filter.must[0]: must be"),
    "empty condition": (must({}), "filter.must[0]: must be a condition with `key`"),
    "deep inside": ({"should": [must(ONE, {"key": "b"})]}, "filter.should[0].must[1]: a condition with `key` needs"),
    "inside nested": (must({"nested": {"key": "a", "filter": must({})}}), "filter.must[0].nested.filter.must[0]"),
    "inside min_should": ({"min_should": {"conditions": [{}], "min_count": 1}}, "filter.min_should.conditions[0]"),
    "radius below zero": (
        must({"key": "a", "geo_radius": {"center": {"lon": 1, "lat": 2}, "radius": -5e9}}),
        "`radius` is -5e+09, must not be negative",
    ),
    "mixed range": (must({"key": "a", "range": {"gt": 1, "lt": "2026-01-01T00:00:00Z"}}), "must be of one kind"),
    "is_empty without key": (must({"is_empty": True}), "filter.must[0].is_empty: write"),
    "is_empty with two keys": (must({"key": "a", "is_empty": {"key": "b"}}), "filter.must[0].is_empty: write"),
    "word as id": (must({"has_id": ["seven"]}), "point id is `seven`"),
    "negative id": (must({"has_id": [-7]}), "point id is -7"),
    "list instead of object": ([], "`filter`: expected `object`, got `array`"),
    "text instead of list": ({"must": "a"}, "`must`: expected"),
    "too deep": (deep(16), "filter: nested deeper than 16"),
    "far too deep": (deep(5000), "filter: nested deeper than 16"),
    "too many": (must(*[ONE] * 1025), "filter: more than 1024 conditions"),
    "too long a list": (must({"key": "a", "match": {"any": list(range(16_385))}}), "16385 values, at most 16384"),
    "too many ids": (must({"has_id": list(range(16_385))}), "filter.must[0].has_id: 16385 values, at most 16384"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_filter_is_refused_with_its_path(case: str) -> None:
    json, message = BAD[case]
    with pytest.raises((InputError, TooLargeError)) as raised:
        parse_filter(json)
    assert message in raised.value.message


@pytest.mark.parametrize("json", [must(*[ONE] * 1024), deep(15), {"must": ONE}, {"must": None, "should": [ONE]}, {}])
def test_the_largest_and_the_laxest_are_taken(json: Any) -> None:
    assert isinstance(parse_filter(json), Filter)


def test_no_filter_stays_none() -> None:
    assert parse_filter(None) is None


def test_a_filter_travels_unchanged() -> None:
    parsed = parse_filter(
        {"must": [ONE, {"has_id": [1]}, {"nested": {"key": "a", "filter": must(ONE)}}], "should": ONE}
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(parsed), type=Filter) == parsed


@pytest.mark.parametrize(
    ("json", "wanted"),
    [
        (None, False),
        (True, True),
        (["a"], PayloadSelector(include=["a"])),
        ({"include": ["a"]}, PayloadSelector(include=["a"])),
        ({"exclude": []}, PayloadSelector(exclude=[])),
    ],
)
def test_payload_selectors(json: Any, wanted: Any) -> None:
    assert parse_selector(json) == wanted


@pytest.mark.parametrize("json", [1, "a", [1], {}, {"include": ["a"], "exclude": ["b"]}, {"only": ["a"]}])
def test_a_wrong_selector_is_refused(json: Any) -> None:
    with pytest.raises(InputError, match="with_payload: "):
        parse_selector(json)


def test_search_parameters() -> None:
    assert parse_params(None) == SearchParams()
    assert parse_params({"hnsw_ef": 64, "exact": True, "quantization": None}) == SearchParams(64, exact=True)


@pytest.mark.parametrize(
    ("json", "message"),
    [
        ({"quantization": {"rescored": True}}, "unknown field `rescored`"),
        ({"idf": "corpus"}, "`idf` must be `global`"),
        ({"ef": 64}, "unknown field `ef`"),
        ({"hnsw_ef": "64"}, "params: Expected `int"),
    ],
)
def test_wrong_search_parameters_are_refused(json: Any, message: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_params(json)
    assert message in raised.value.message
