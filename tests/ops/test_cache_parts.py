"""Parts of the caches by themselves: what is kept within its bytes, and a file that anything may have happened to."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.node.caches import Caches
from littoral.node.site_tables import CacheTable
from littoral.vectors import result_cache
from littoral.vectors.byte_lru import ENTRY_BYTES, ByteLru
from littoral.vectors.cache_journal import CacheJournal
from littoral.vectors.cache_records import MAGIC
from littoral.vectors.embedding_cache import Embedding, EmbeddingCache, embedding_key
from littoral.vectors.records import Hit
from littoral.vectors.result_cache import ResultCache, Scope, question_key

RNG = np.random.default_rng(3)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 900), st.booleans()), max_size=200))
def test_what_is_kept_stays_within_its_bytes_and_the_latest_stay(steps: list[tuple[int, int, bool]]) -> None:
    left: dict[int, int] = {}
    cache: ByteLru[int, int] = ByteLru(5000, left=lambda key, value: left.update({key: value}))
    model: dict[int, int] = {}
    for key, size, is_kept in steps:
        if is_kept:
            assert cache.keep(key, size, size) == (4 * (size + ENTRY_BYTES) <= 5000)
            if 4 * (size + ENTRY_BYTES) <= 5000:
                model.pop(key, None)
                model[key] = size
        elif (found := cache.find(key)) is not None:
            assert found == model[key]
            model[key] = model.pop(key)
        while sum(size + ENTRY_BYTES for size in model.values()) > 5000:
            model.pop(next(iter(model)))
        assert dict(cache.items()) == model
        assert cache.statistics().bytes <= 5000
    assert left.keys() >= {key for key, _, is_kept in steps if is_kept and key not in model and left.get(key)}


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache: ByteLru[str, int] = ByteLru(0)
    assert not cache.keep("a", 1, 0)
    assert cache.find("a") is None


def test_keys_tell_tenants_contents_and_sources_apart() -> None:
    keys = {
        embedding_key(tenant, source, content)
        for tenant in ("", "a", "ab")
        for source in (b"1" * 32, b"2" * 32)
        for content in (b"", b"b", b"text b", b"ids [1]")
    }
    assert len(keys) == 24


def entries(count: int, seed: int = 0) -> list[tuple[bytes, bytes]]:
    rng = random.Random(seed)
    return [(rng.randbytes(32), rng.randbytes(rng.choice((0, 1, 100)))) for _ in range(count)]


def written(path: Path, rows: list[tuple[bytes, bytes]]) -> bytes:
    journal = CacheJournal(path, 1 << 20)
    assert list(journal.read()) == []
    for key, value in rows:
        journal.add(key, value)
    journal.close()
    return path.read_bytes()


def read(path: Path) -> list[tuple[bytes, bytes]]:
    journal = CacheJournal(path, 1 << 20)
    rows = list(journal.read())
    journal.close()
    return rows


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path, rows = tmp_path / "a" / "b.log", entries(50)
    written(path, rows)
    assert read(path) == rows
    assert path.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_gives_what_stands_before_the_damage(tmp_path: Path, seed: int) -> None:
    path, rows, rng = tmp_path / "c.log", entries(20, seed), random.Random(seed)
    data = bytearray(written(path, rows))
    at = rng.randrange(len(data))
    if rng.random() < 0.5:
        del data[at:]
    else:
        data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    found = read(path)
    assert found == rows[: len(found)]
    assert len(found) < len(rows) or bytes(data) == bytes(data[: len(data)])
    again = read(path)
    assert again == found
    journal = CacheJournal(path, 1 << 20)
    assert list(journal.read()) == found
    journal.add(*rows[-1])
    journal.close()
    assert read(path) == [*found, rows[-1]]


@pytest.mark.parametrize("data", [b"", b"x", MAGIC[:-1], b"something else\n" * 100, MAGIC + b"\xff" * 100])
def test_a_file_of_another_kind_is_begun_anew(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "c.log"
    path.write_bytes(data)
    assert read(path) == []
    assert path.read_bytes() == MAGIC


def test_the_file_is_bounded_and_keeps_the_latest(tmp_path: Path) -> None:
    path = tmp_path / "c.log"
    cache = EmbeddingCache(1 << 20, CacheJournal(path, 20_000))
    rows = [(key, Embedding(RNG.bytes(400), i)) for i, (key, _) in enumerate(entries(500))]
    for key, embedding in rows:
        cache.keep(key, embedding)
    cache.close()
    assert path.stat().st_size <= 20_500
    again = EmbeddingCache(1 << 20, CacheJournal(path, 20_000))
    kept = [key for key, embedding in rows if again.find(key) == embedding]
    again.close()
    assert kept == [key for key, _ in rows[-len(kept) :]]
    assert len(kept) >= 15


def test_what_is_forgotten_is_not_on_disk_either(tmp_path: Path) -> None:
    path = tmp_path / "c.log"
    cache = EmbeddingCache(1 << 20, CacheJournal(path, 1 << 20))
    (first, _), (second, _) = entries(2)
    cache.keep(first, Embedding(b"1" * 8, 1))
    cache.clear()
    assert (cache.find(first), cache.statistics().bytes) == (None, 0)
    cache.keep(second, Embedding(b"2" * 8, 2))
    cache.close()
    again = EmbeddingCache(1 << 20, CacheJournal(path, 1 << 20))
    assert (again.find(first), again.find(second)) == (None, Embedding(b"2" * 8, 2))
    again.close()


def test_a_disk_that_fails_costs_entries_and_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "c.log"
    path.mkdir()
    cache = EmbeddingCache(1 << 20, CacheJournal(path, 20_000))
    key = bytes(32)
    cache.keep(key, Embedding(b"1234", 1))
    assert cache.find(key) == Embedding(b"1234", 1)
    cache.close()


def neighbours(query: np.ndarray, count: int) -> list[Hit]:
    steps = np.sort(RNG.random(count)) + 0.1
    points = [(query + step * np.eye(len(query))[i % len(query)]).astype("<f4") for i, step in enumerate(steps)]
    return [
        Hit(i, float(step), 1, {"n": i}, point.tobytes())
        for i, (step, point) in enumerate(zip(steps, points, strict=True))
    ]


def test_lists_are_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_cache, "GROUP_ENTRIES_MAX", 40)
    cache = ResultCache(0, 10 << 20)
    scope = Scope("", 1, 5)
    queries = RNG.normal(size=(100, 6)).astype(np.float32) * 100
    for query in queries:
        cache.keep_near(scope, b"shape", query, "Euclid", neighbours(query, 8), 8)
    assert cache.near_statistics()[0].entries == 40
    found = [cache.find_near(scope, b"shape", query, "Euclid", 2) for query in queries]
    assert [hits is not None for hits in found] == [False] * 60 + [True] * 40
    assert found[-1] is not None
    assert [hit.id for hit in found[-1].hits()] == [0, 1]
    told = [(hit["id"], hit["score"], hit["payload"]) for hit in json.loads(found[-1].told())]
    assert told == [(hit.id, hit.score, hit.payload) for hit in found[-1].hits()]
    small = ResultCache(0, 20_000)
    for query in queries:
        small.keep_near(scope, b"shape", query, "Euclid", neighbours(query, 8), 8)
    assert 0 < small.near_statistics()[0].bytes <= 20_000
    assert small.find_near(scope, b"shape", queries[-1], "Euclid", 2) is not None


def test_lists_are_of_one_tenant_collection_epoch_and_shape() -> None:
    cache = ResultCache(1 << 20, 1 << 20)
    scope, query = Scope("a", 1, 5), np.ones(6, np.float32)
    cache.keep_near(scope, b"shape", query, "Euclid", neighbours(query, 8), 8)
    cache.keep(question_key(scope, b"question"), b"answer")
    others = (Scope("b", 1, 5), Scope("a", 2, 5), Scope("a", 1, 6))
    assert [cache.find(question_key(other, b"question")) for other in others] == [None] * 3
    assert [cache.find_near(other, b"shape", query, "Euclid", 2) for other in others] == [None] * 3
    assert cache.find_near(Scope("a", 1, 5), b"other", query, "Euclid", 2) is None
    assert cache.find(question_key(scope, b"question")) == b"answer"


def test_answers_and_lists_are_forgotten_apart() -> None:
    cache = ResultCache(1 << 20, 1 << 20)
    scope, query = Scope("a", 1, 5), np.ones(6, np.float32)
    cache.keep_near(scope, b"shape", query, "Euclid", neighbours(query, 8), 8)
    cache.keep(question_key(scope, b"question"), b"answer")
    cache.clear_exact()
    assert cache.find(question_key(scope, b"question")) is None
    assert cache.find_near(scope, b"shape", query, "Euclid", 2) is not None
    cache.clear_near()
    assert cache.find_near(scope, b"shape", query, "Euclid", 2) is None
    cache.keep_near(scope, b"shape", query, "Euclid", neighbours(query, 8), 8)
    assert cache.find_near(scope, b"shape", query, "Euclid", 2) is not None


def test_a_list_of_an_older_epoch_is_dropped_when_it_is_met() -> None:
    cache = ResultCache(0, 1 << 20)
    query = np.ones(6, np.float32)
    cache.keep_near(Scope("", 1, 5), b"shape", query, "Euclid", neighbours(query, 8), 8)
    assert cache.find_near(Scope("", 1, 6), b"shape", query, "Euclid", 2) is None
    assert cache.near_statistics()[0].entries == 0


def test_with_less_room_what_was_asked_for_the_longest_ago_leaves() -> None:
    left: list[int] = []
    cache: ByteLru[int, int] = ByteLru(8000, left=lambda key, _: left.append(key))
    for key in range(8):
        assert cache.keep(key, key, 800)
    assert cache.find(0) == 0
    cache.limit(3000)
    assert (left, dict(cache.items())) == ([1, 2, 3, 4, 5], {6: 6, 7: 7, 0: 0})
    cache.limit(0)
    assert (len(cache), cache.statistics().bytes) == (0, 0)
    cache.limit(8000)
    assert cache.keep(9, 9, 800)


async def test_caches_of_another_size_keep_what_fits_also_on_disk(tmp_path: Path) -> None:
    whole = CacheTable(embeddings_mb=4, disk_mb=2, results_mb=1, near_mb=1)
    caches = Caches(CacheTable(embeddings_mb=0, results_mb=0), tmp_path)
    file = tmp_path / "cache/embeddings.log"

    def keep(first: int) -> None:
        for key, value in entries(100, first):
            caches.embeddings.keep(key, Embedding(value * 100, 0))

    def held() -> set[bytes]:
        return {key for key, _ in caches.embeddings._entries.items()}

    keep(1)
    assert (held(), file.exists()) == (set(), False)
    await caches.limit(whole)
    keep(2)
    kept = held()
    assert len(kept) == 100
    assert caches.results.bytes_max == (1 << 20, 1 << 20)
    await caches.limit(CacheTable(embeddings_mb=0, results_mb=0))
    assert (held(), caches.disk_bytes_max, caches.results.has_near) == (set(), 0, False)
    await caches.limit(whole)
    assert held() == set()
    keep(2)
    await caches.close()
    assert 0 < file.stat().st_size <= 2 << 20
    again = Caches(whole, tmp_path)
    assert {key for key, _ in again.embeddings._entries.items()} == kept
    await again.close()
