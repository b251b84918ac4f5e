"""What a shard does, however it is reached."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from littoral.errors import InputError, NotFoundError, TooLargeError
from littoral.vectors.collection import as_array
from littoral.vectors.queries import PayloadChange, PayloadSelector, SearchParams
from littoral.vectors.records import IndexInfo, VectorParams

MakeShard = Callable[[VectorParams], Any]
UUID = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture
def shard(make_shard: MakeShard) -> Any:
    return make_shard(VectorParams(4, "Dot"))


def unit(at: int, scale: float = 1.0) -> list[float]:
    return [scale if i == at else 0.0 for i in range(4)]


def test_a_point_comes_back_as_it_went_in(shard: Any) -> None:
    payload = {"text": "naïve ☂", "number": -(2**63), "big": 2**64 - 1, "real": 1.5, "deep": [{"x": None, "y": True}]}
    shard.upsert([2**64 - 1, UUID], [[1, 2, 3, 4], [5, 6, 7, 8]], [payload, None])
    first, second = shard.retrieve([2**64 - 1, UUID], with_vector=True)
    assert (first.id, first.payload) == (2**64 - 1, payload)
    assert as_array(first.vector).tolist() == [1, 2, 3, 4]
    assert (second.id, second.payload) == (UUID, {})
    assert as_array(second.vector).tolist() == [5, 6, 7, 8]


def test_an_upsert_replaces_the_whole_point(shard: Any) -> None:
    shard.upsert([1], [unit(0)], [{"a": 1}])
    shard.upsert([1], [unit(1)])
    (record,) = shard.retrieve([1], with_vector=True)
    assert (record.payload, as_array(record.vector).tolist()) == ({}, unit(1))
    assert shard.count() == 1


def test_the_last_of_two_points_with_one_id_wins(shard: Any) -> None:
    shard.upsert([1, 1], [unit(0), unit(1)], [{"n": 1}, {"n": 2}])
    assert [r.payload for r in shard.retrieve([1])] == [{"n": 2}]


@pytest.mark.parametrize("spelling", [UUID.upper(), UUID.replace("-", ""), f"urn:uuid:{UUID}"])
def test_every_spelling_of_a_uuid_is_the_same_point(shard: Any, spelling: str) -> None:
    shard.upsert([spelling], [unit(0)])
    assert [r.id for r in shard.retrieve([UUID])] == [UUID]
    assert [r.id for r in shard.retrieve([spelling])] == [UUID]


def test_equal_scores_come_in_the_order_of_ids_also_across_the_cut(shard: Any) -> None:
    ids = [*range(40), UUID, UUID.replace("5", "0", 1)]
    shard.upsert(list(reversed(ids)), [unit(0)] * 42)
    shard.upsert([1000], [unit(0, 2.0)])
    assert [h.id for h in shard.search(unit(0), limit=5)] == [1000, 0, 1, 2, 3]
    assert [h.id for h in shard.search(unit(0), limit=3, offset=40)] == [39, UUID.replace("5", "0", 1), UUID]


@pytest.mark.parametrize("distance", ["Euclid", "Manhattan"])
def test_distances_come_lowest_first_and_only_nearer_ones_pass_a_threshold(
    make_shard: MakeShard, distance: Any
) -> None:
    shard = make_shard(VectorParams(4, distance))
    shard.upsert([1, 2, 3], [unit(0, 1), unit(0, 2), unit(0, 4)])
    assert [(h.id, h.score) for h in shard.search([0, 0, 0, 0])] == [(1, 1), (2, 2), (3, 4)]
    assert [h.id for h in shard.search([0, 0, 0, 0], score_threshold=2.5)] == [1, 2]
    assert [h.id for h in shard.search([0, 0, 0, 0], score_threshold=2.0)] == [1]


def test_cosine_vectors_are_normalised_when_written(make_shard: MakeShard) -> None:
    shard = make_shard(VectorParams(4, "Cosine"))
    shard.upsert([1], [[3, 4, 0, 0]])
    (record,) = shard.retrieve([1], with_vector=True)
    assert as_array(record.vector).tolist() == pytest.approx([0.6, 0.8, 0, 0])
    assert shard.search([30, 40, 0, 0])[0].score == pytest.approx(1)


def test_search_gives_what_is_asked_for_and_nothing_else(shard: Any) -> None:
    shard.upsert([1], [unit(0)], [{"a": 1, "b": {"c": 2, "d": 3}}])
    ask = lambda **options: shard.search(unit(0), **options)[0]  # noqa: E731
    assert (ask(with_payload=False).payload, ask(with_payload=False).vector) == (None, None)
    assert ask(with_payload=True).payload == {"a": 1, "b": {"c": 2, "d": 3}}
    assert ask(with_payload=PayloadSelector(include=["b.c"])).payload == {"b": {"c": 2}}
    assert ask(with_payload=PayloadSelector(exclude=["b"])).payload == {"a": 1}
    assert as_array(ask(with_vector=True).vector).tolist() == unit(0)


def test_the_graph_is_asked_as_the_parameters_say(shard: Any) -> None:
    shard.upsert(list(range(50)), np.random.default_rng(0).standard_normal((50, 4)))
    exact = [h.id for h in shard.search(unit(0), params=SearchParams(exact=True))]
    assert [h.id for h in shard.search(unit(0), params=SearchParams(hnsw_ef=64))] == exact
    shard.optimize()
    assert [h.id for h in shard.search(unit(0), params=SearchParams(exact=True))] == exact


def test_what_is_deleted_is_gone(shard: Any) -> None:
    shard.upsert([1, 2, 3, UUID], [unit(0)] * 4, [{"a": 1}, {"a": 2}, {"a": 2}, {"a": 3}])
    shard.delete([1, 77])
    shard.delete_matching({"must": [{"key": "a", "match": {"value": 2}}]})
    assert [r.id for r in shard.scroll()[0]] == [UUID]
    assert [h.id for h in shard.search(unit(0))] == [UUID]


def test_scrolling_visits_every_point_once_in_the_order_of_ids(shard: Any) -> None:
    ids = [3, 1, 2**63 + 1, UUID, 2]
    shard.upsert(ids, [unit(0)] * 5)
    seen, offset = [], None
    while True:
        records, offset = shard.scroll(limit=2, offset=offset, with_payload=False)
        seen += [r.id for r in records]
        if offset is None:
            break
    assert seen == [1, 2, 3, 2**63 + 1, UUID]


def test_payloads_change_as_asked(shard: Any) -> None:
    shard.upsert([1, 2], [unit(0)] * 2, [{"a": 1}, {"a": 2}])
    payload_of = lambda: [r.payload for r in shard.retrieve([1, 2])]  # noqa: E731
    shard.change_payload(PayloadChange("merge", ids=[1], payload={"b": 1}))
    assert payload_of() == [{"a": 1, "b": 1}, {"a": 2}]
    shard.change_payload(PayloadChange("merge", ids=[1], payload={"y": 1}, key="x"))
    assert payload_of()[0] == {"a": 1, "b": 1, "x": {"y": 1}}
    shard.change_payload(PayloadChange("remove", ids=[1], keys=["x", "b"]))
    assert payload_of()[0] == {"a": 1}
    shard.change_payload(PayloadChange("replace", ids=[1, 2], payload={"z": 0}))
    assert payload_of() == [{"z": 0}, {"z": 0}]
    shard.change_payload(PayloadChange("clear", ids=[2]))
    assert payload_of() == [{"z": 0}, {}]


def test_a_payload_change_with_an_unknown_point_changes_nothing(shard: Any) -> None:
    shard.upsert([1], [unit(0)], [{"a": 1}])
    with pytest.raises(NotFoundError, match="no point has the id `9` \\(1 of 2 ids are missing\\)"):
        shard.change_payload(PayloadChange("merge", ids=[1, 9], payload={"a": 2}))
    assert [r.payload for r in shard.retrieve([1])] == [{"a": 1}]


def test_an_index_is_told_and_changes_no_answer(shard: Any) -> None:
    shard.upsert([1, 2], [unit(0)] * 2, [{"text": "The quick fox"}, {"text": "quickly"}])
    quick = {"must": [{"key": "text", "match": {"text": "quick"}}]}
    before = [h.id for h in shard.search(unit(0), matching=quick)]
    shard.create_index("text", "text")
    assert shard.info().payload_schema == {"text": IndexInfo("text", points=2)}
    assert [h.id for h in shard.search(unit(0), matching=quick)] == before == [1]


def test_every_write_raises_the_epoch(shard: Any) -> None:
    epochs = [shard.info().epoch]
    shard.upsert([1], [unit(0)], [{"a": 1}])
    epochs.append(shard.info().epoch)
    shard.change_payload(PayloadChange("clear", ids=[1]))
    epochs.append(shard.info().epoch)
    shard.delete([1])
    epochs.append(shard.info().epoch)
    assert epochs == sorted(set(epochs))


def test_no_points_at_all_is_no_error(shard: Any) -> None:
    shard.upsert([], np.empty((0, 4), np.float32))
    assert (shard.count(), shard.retrieve([]), shard.search(unit(0)), shard.scroll()) == (0, [], [], ([], None))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


BAD_POINTS = {
    "NaN": (7, [0, float("nan"), 0, 0], None, InputError, "point `7`: number 1 of the vector is nan, must be finite"),
    "infinite": (7, [0, 0, 0, float("-inf")], None, InputError, "point `7`: number 3 of the vector is -inf"),
    "beyond float32": (7, [1e39, 0, 0, 0], None, InputError, "point `7`: number 0 of the vector is inf"),
    "too long": (
        7,
        [1e38, 0, 0, 0],
        None,
        InputError,
        "length of the vector is 1e+38, must be at most 1e+18",
    ),
    "too few": (7, [1, 2], None, InputError, "expected"),
    "too many": (7, [1, 2, 3, 4, 5], None, InputError, "expected"),
    "negative id": (
        -1,
        [1, 0, 0, 0],
        None,
        InputError,
        "point id is -1, must be an integer in 0..1844674407370",
    ),
    "huge id": (2**64, [1, 0, 0, 0], None, InputError, "point id is 18446744073709551616, must be"),
    "enormous id": (1 << 20000, [1, 0, 0, 0], None, InputError, "point id is an integer of 20001 bits"),
    "word as id": ("frame-7", [1, 0, 0, 0], None, InputError, "point id is `frame-7`, must be an unsigned integer or"),
    "almost a UUID": (UUID[:-1] + "g", [1, 0, 0, 0], None, InputError, "must be an unsigned integer or a UUID"),
    "bool as id": (True, [1, 0, 0, 0], None, InputError, "point id is of type bool"),
    "float as id": (1.0, [1, 0, 0, 0], None, InputError, "point id is of type float"),
    "deep payload": (7, [1, 0, 0, 0], nested(33), TooLargeError, "point `7`: payload is nested deeper than 32"),
    "big payload": (
        7,
        [1, 0, 0, 0],
        {"a": "x" * (1 << 20)},
        TooLargeError,
        "has 1048584 bytes, at most 1048576",
    ),
    "NaN in payload": (7, [1, 0, 0, 0], {"a": [float("nan")]}, InputError, "point `7`: payload holds nan"),
    "bytes in payload": (7, [1, 0, 0, 0], {"a": b"x"}, InputError, "value of type bytes, must be JSON"),
    "negative integer in payload": (7, [1, 0, 0, 0], {"a": -(2**63) - 1}, InputError, ""),
    "big integer in payload": (7, [1, 0, 0, 0], {"a": 2**64}, InputError, ""),
    "half a character in payload": (7, [1, 0, 0, 0], {"a": "\ud800"}, InputError, ""),
    "number as key in payload": (7, [1, 0, 0, 0], {"a": {1: 2}}, InputError, ""),
}


def test_a_bad_point_is_refused_with_its_whole_batch(shard: Any, subtests: pytest.Subtests) -> None:
    for case, (point_id, vector, payload, error, message) in BAD_POINTS.items():
        is_ragged = len(vector) != 4
        rows: Any = [vector] if is_ragged else [unit(0), vector, unit(1)]
        ids = [point_id] if is_ragged else [1, point_id, 2]
        payloads = [payload] if is_ragged else [None, payload, None]
        with subtests.test(case), pytest.raises(error) as raised:
            shard.upsert(ids, rows, payloads)
        assert message in raised.value.message
        assert shard.count() == 0, case


@pytest.mark.parametrize("distance", ["Cosine", "Dot", "Euclid", "Manhattan"])
def test_only_cosine_refuses_a_vector_without_direction(make_shard: MakeShard, distance: Any) -> None:
    shard = make_shard(VectorParams(4, distance))
    if distance != "Cosine":
        shard.upsert([1], [[0, 0, 0, 0]])
        assert shard.count() == 1
        return
    for short in (0.0, 1e-13):
        with pytest.raises(InputError, match="Cosine needs at least 1e-12"):
            shard.upsert([1], [[short, 0, 0, 0]])
        with pytest.raises(InputError, match="query: length of the vector is"):
            shard.search([short, 0, 0, 0])


BAD_QUERIES: list[tuple[Any, Any, Any, str]] = [
    ([0, float("nan"), 0, 0], {}, InputError, "query: number 1 of the vector is nan"),
    ([1, 2], {}, InputError, "query: vector has 2 numbers, expected 4"),
    ([1e30, 0, 0, 0], {}, InputError, "query: length of the vector is 1e+30"),
    ([1, 0, 0, 0], {"limit": 0}, InputError, "limit is 0, must be at least 1"),
    ([1, 0, 0, 0], {"limit": -1}, InputError, "limit is -1"),
    ([1, 0, 0, 0], {"offset": -1}, InputError, "offset is -1"),
    ([1, 0, 0, 0], {"limit": 16_385}, TooLargeError, "at most 16384"),
    ([1, 0, 0, 0], {"limit": 2**62, "offset": 2**62}, TooLargeError, "at most 16384"),
    ([1, 0, 0, 0], {"score_threshold": float("nan")}, InputError, "score_threshold is NaN"),
    ([1, 0, 0, 0], {"params": SearchParams(hnsw_ef=0)}, InputError, "`hnsw_ef` is 0, must be 1..4096"),
    ([1, 0, 0, 0], {"matching": {"must": [{"key": "a[", "match": {"value": 1}}]}}, InputError, "invalid JSON path"),
    ([1, 0, 0, 0], {"matching": {"must": [{"key": "a", "range": {"gt": "yesterday"}}]}}, InputError, "date-time"),
]


def test_a_bad_query_is_refused(shard: Any, subtests: pytest.Subtests) -> None:
    shard.upsert([1], [unit(0)])
    for vector, options, error, message in BAD_QUERIES:
        with subtests.test(message), pytest.raises(error) as raised:
            shard.search(vector, **options)
        assert message in raised.value.message
