"""What a filter rules out is not there, whatever was written since; what it takes in bytes is bounded."""

from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from littoral.vectors.filters import Condition, Filter, parse_filter
from littoral.vectors.payload_paths import values_at
from littoral.vectors.records import FieldSchema, IndexInfo, Payload
from littoral.vectors.routing.payload_summary import KEYS_MAX, KeyValues, keys_of, may_match, summed_up, widened_by

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS: dict[str, FieldSchema] = {
    "tenant": "keyword",
    "n": "integer",
    "share": "float",
    "is_open": "bool",
    "at": "datetime",
    "tags": "keyword",
}
BYTES_MAX = 5000


def random_payload(rng: Random) -> Payload:
    found: Payload = {
        "tenant": f"t{rng.randrange(12)}",
        "n": rng.randrange(-20, 20),
        "share": rng.random() * 4,
        "is_open": rng.random() < 0.9,
        "at": f"2026-11-{rng.randrange(1, 29):02d}T10:00:00Z",
        "tags": [rng.choice("abcdefgh") for _ in range(rng.randrange(3))],
    }
    return {key: value for key, value in found.items() if rng.random() < 0.8}


def random_condition(rng: Random) -> dict[str, Any]:
    makers: list[Callable[[], dict[str, Any]]] = [
        lambda: {"key": "tenant", "match": {"value": f"t{rng.randrange(16)}"}},
        lambda: {"key": "tenant", "match": {"any": [f"t{rng.randrange(16)}" for _ in range(2)]}},
        lambda: {"key": "tenant", "match": {"except": ["t1"]}},
        lambda: {"key": "n", "match": {"value": rng.randrange(-25, 25)}},
        lambda: {"key": "n", "range": {"gte": rng.randrange(-30, 30), "lt": rng.randrange(-30, 30)}},
        lambda: {"key": "share", "range": {"gt": rng.random() * 6}},
        lambda: {"key": "is_open", "match": {"value": rng.random() < 0.5}},
        lambda: {"key": "at", "range": {"lte": f"2026-11-{rng.randrange(1, 29):02d}T10:00:00Z"}},
        lambda: {"key": "tags", "match": {"value": rng.choice("abcdefghijk")}},
        lambda: {"key": "nobody knows", "match": {"value": 1}},
    ]
    return rng.choice(makers)()


def random_filter(rng: Random, depth: int = 2) -> dict[str, Any]:
    def some(count: int) -> list[dict[str, Any]]:
        return [
            random_filter(rng, depth - 1) if depth and rng.random() < 0.3 else random_condition(rng)
            for _ in range(count)
        ]

    found: dict[str, Any] = {}
    if rng.random() < 0.7:
        found["must"] = some(rng.randrange(1, 3))
    if rng.random() < 0.3:
        found["should"] = some(rng.randrange(1, 3))
    if rng.random() < 0.3:
        found["must_not"] = some(1)
    if rng.random() < 0.2:
        found["min_should"] = {"conditions": some(3), "min_count": 2}
    return found or {"must": some(1)}


def passes(payload: Payload, matching: Filter | Condition) -> bool:
    """As the store has it, for the conditions above."""
    if isinstance(matching, Condition) and matching.key is not None:
        return any(is_found(value, matching) for value in values_at(payload, f'"{matching.key}"'))
    clauses = [getattr(matching, name) or [] for name in ("must", "should", "must_not")]
    must, should, must_not = ([passes(payload, one) for one in clause] for clause in clauses)
    enough = True
    if matching.min_should is not None:
        enough = sum(passes(payload, one) for one in matching.min_should.conditions) >= matching.min_should.min_count
    return all(must) and (not should or any(should)) and not any(must_not) and enough


def is_found(value: Any, condition: Condition) -> bool:
    if (match := condition.match) is not None:
        if match.except_ is not None:
            return value not in match.except_
        wanted = match.any if match.any is not None else [match.value]
        return any(type(one) is type(value) and one == value for one in wanted)
    bounds = condition.range
    assert bounds is not None
    return (
        (bounds.gt is None or value > bounds.gt)
        and (bounds.gte is None or value >= bounds.gte)
        and (bounds.lt is None or value < bounds.lt)
        and (bounds.lte is None or value <= bounds.lte)
    )


@pytest.mark.parametrize("seed", range(20))
def test_what_is_ruled_out_is_not_there(seed: int) -> None:
    """Through writes, overwritten payloads and deletions: against every point by itself."""
    rng = Random(seed)
    points = {i: random_payload(rng) for i in range(rng.randrange(6))}
    known = summed_up(KEYS, list(points.values()))
    ruled_out = right = 0
    for _ in range(150):
        match rng.randrange(4):
            case 0:
                fresh = {rng.randrange(12): random_payload(rng) for _ in range(2)}
                points |= fresh
                known = widened_by(known, list(fresh.values()))
            case 1 if points:
                points.pop(rng.choice(list(points)))
            case 2 if points:
                changed = {"tenant": f"t{rng.randrange(12)}"}
                points[rng.choice(list(points))] |= changed
                known = widened_by(known, [changed])
        matching = parse_filter(random_filter(rng))
        assert matching is not None
        has_some = any(passes(payload, matching) for payload in points.values())
        right += not has_some
        if not may_match(known, matching):
            ruled_out += 1
            assert not has_some, msgspec.to_builtins(matching)
    assert ruled_out > 0
    assert right >= ruled_out


def test_what_says_nothing_new_leaves_it_as_it_is() -> None:
    known = summed_up(KEYS, [{"tenant": "t1", "n": 1}, {"tenant": "t2", "n": 5, "at": "2026-11-22T10:00:00Z"}])
    assert widened_by(known, [{"tenant": "t2", "n": 1, "other": "x"}, None, {}]) == known
    assert widened_by(known, [{"tenant": "t3"}]) != known
    assert widened_by(known, [{"n": 6}]) != known


def widenings(kind: FieldSchema, values: list[Any]) -> int:
    """How often others have to be told, with one more value at a time."""
    known, count = summed_up({"k": kind}, [{"k": value} for value in values[:2]]), 0
    for value in values:
        before, known = known, widened_by(known, [{"k": value}])
        count += known != before
        assert may_match(known, Condition(key="k", match=parse_match(value)))
    return count


def test_ever_new_values_are_told_of_a_few_times_only() -> None:
    """A counter, a measure, a time that passes, a name for each point."""
    assert widenings("integer", list(range(1000))) < 32
    assert widenings("keyword", [f"name {i}" for i in range(1000)]) < 20
    assert widenings("datetime", [f"2026-11-22T{i // 60:02d}:{i % 60:02d}:00Z" for i in range(1000)]) < 16
    known, count = summed_up({"k": "float"}, [{"k": 0.5}]), 0
    for i in range(1000):
        before, known = known, widened_by(known, [{"k": i * 0.37}])
        count += known != before
    assert count < 16


def test_bytes_are_bounded_however_many_values_there_are() -> None:
    """Digests become a Bloom filter, and that says nothing in the end; nothing that is there is ruled out."""
    kinds = set()
    for count in (10, 500, 600, 3000, 20_000):
        payloads = [{"tenant": f"t{i}"} for i in range(count)] * 3
        known = summed_up({"tenant": "keyword"}, payloads)  # type: ignore[arg-type]
        kinds.add(known["tenant"].kind)
        assert len(msgspec.msgpack.encode(known)) < BYTES_MAX
        for i in range(0, count, 7):
            assert may_match(known, Condition(key="tenant", match=parse_match(f"t{i}")))
    assert kinds == {"digests", "bloom", "any"}


def parse_match(value: Any) -> Any:
    found = parse_filter({"must": [{"key": "k", "match": {"value": value}}]})
    assert found is not None
    return found.must[0].match  # type: ignore[index, union-attr]


def test_a_bloom_filter_rules_most_of_the_rest_out() -> None:
    known = summed_up({"tenant": "keyword"}, [{"tenant": f"in {i}"} for i in range(2000)] * 2)
    assert known["tenant"].kind == "bloom"
    passed = sum(may_match(known, Condition(key="tenant", match=parse_match(f"out {i}"))) for i in range(2000))
    assert passed < 200


@pytest.mark.parametrize(
    ("value", "condition", "expected"),
    [
        (2**63 - 1, {"range": {"gte": float(2**63)}}, True),
        (10**400, {"range": {"gte": 1e308}}, True),
        (5, {"range": {"gte": 5.9}}, True),  # an index of integers may take this for 5
        (5, {"range": {"gte": 7}}, False),
        (True, {"match": {"value": 1}}, False),
        (3.0, {"match": {"value": 3}}, True),
        ("2026-11-22", {"range": {"gte": "2030-01-01T00:00:00Z"}}, True),  # may be a time
        ("2026-11-22T10:00:00+02:00", {"range": {"gte": "2026-11-22T09:00:00Z"}}, False),
        ("2026-11-22T10:00:00+02:00", {"range": {"gte": "2026-11-22T08:00:00Z"}}, True),
        ("2026-11-22T10:00:00.5Z", {"range": {"lt": "2026-11-22"}}, True),
        ("550E8400-E29B-41D4-A716-446655440000", {"match": {"value": "550e8400e29b41d4a716446655440000"}}, True),
        ([["x"]], {"match": {"value": "y"}}, True),
        ({"a": 1}, {"match": {"value": "y"}}, False),
        (None, {"range": {"lt": 3}}, False),
        ("x", {"match": {"text": "x"}}, True),
        ("x", {"values_count": {"gt": 3}}, True),
        ("x", {"is_empty": True}, True),
    ],
)
def test_of_two_readings_the_one_that_rules_nothing_out_is_taken(value: Any, condition: Any, expected: bool) -> None:
    known = summed_up({"k": "keyword"}, [{"k": value}])
    matching = parse_filter({"must": [{"key": "k"} | condition]})
    assert matching is not None
    assert may_match(known, matching) == expected


def test_keys_are_plain_ones_of_indexes_that_compare() -> None:
    kinds: dict[str, FieldSchema] = {
        "tenant": "keyword",
        "body": "text",
        "where": "geo",
        "a.b": "integer",
        "n": "float",
    }
    assert keys_of({key: IndexInfo(kind, 1) for key, kind in kinds.items()}) == {"n": "float", "tenant": "keyword"}
    assert len(keys_of({f"k{i}": IndexInfo("bool", 1) for i in range(40)})) == KEYS_MAX


def test_a_key_without_a_word_in_it_says_nothing() -> None:
    matching = parse_filter({"must": [{"key": "k", "match": {"value": "x"}}]})
    assert matching is not None
    assert may_match({}, matching)
    assert not may_match({"k": KeyValues()}, matching)
