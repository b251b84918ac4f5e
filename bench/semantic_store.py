"""200,000 remembered answers in a real shard host: memory, questions while the graphs are built, restarts.

Vectors are synthetic: unit vectors of 384 numbers around 2,000 centres, in partitions of 55 %, 20 % and many small
ones; questions are entries with noise. Answers are JSON of 0.6 to 2.5 KB. Memory is what `/proc/PID/status` tells of
the shard host and of the node's process together, less what both have with an empty collection: anonymous (RssAnon),
which nobody can take back, and resident (VmRSS), with the pages of mapped files that the questions touched. It is
taken in a process that starts anew on what another one has filled.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.rows import Row, row
from littoral.answers.asked import Asked
from littoral.answers.entries import Entry, payload_of, point_id
from littoral.answers.labels import Labels
from littoral.answers.points import collection_config
from littoral.answers.store import AnswerStore, StoreBounds
from littoral.clock import SYSTEM
from littoral.node.supervisor import embedded
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.queries import SearchParams

ENTRIES = 200_000
MORE = 20_000
SIZE = 384
CENTRES = 2000
SPREAD, NOISE = 0.35, 0.1
BATCH = 256
QUESTIONS = 2000
AT_ONCE = 64
ROUNDS = 20
RECALLED = 200
P99_MS_MAX = 20.0
MEMORY_MB_MAX = 400.0
RESTART_MS_MAX = 3000.0
BUILD_DEADLINE_S = 3600.0
WORDS = "the of pump valve reset hold button three seconds until lamp green manual page order invoice part".split()  # noqa: SIM905

Vectors = npt.NDArray[np.float32]


def run(entries: int = ENTRIES) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        empty = _child(folder, "empty", 0)
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(_filled(Path(folder), entries))
        for name, restart in (("in order", "ended"), ("after kill -9", "killed")):
            told = _child(folder, restart, entries)
            rows.append(row(f"restart {name}, until both are answered", told["ms"], "ms", limit=RESTART_MS_MAX))
            rows.append(row(f"restart {name}, until all is counted", told["counted_ms"], "ms"))
    anonymous, resident = (told[kind] - empty[kind] for kind in ("RssAnon", "VmRSS"))
    rows.append(row("memory: anonymous", anonymous, "MB", limit=MEMORY_MB_MAX))
    rows.append(row(f"memory: resident after {2 * QUESTIONS} questions", resident, "MB", limit=MEMORY_MB_MAX))
    return rows


def _vectors(count: int) -> Vectors:
    rng = np.random.default_rng(11)
    centres = rng.standard_normal((CENTRES, SIZE)).astype("<f4")
    found = np.empty((count, SIZE), "<f4")
    for start in range(0, count, 10_000):
        part = found[start : start + 10_000]
        part[:] = centres[rng.integers(0, CENTRES, len(part))]
        part += SPREAD * rng.standard_normal(part.shape, np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def _entry(number: int) -> Entry:
    place = number * 2_654_435_761 % 1000
    partition = 0 if place < 550 else 1 if place < 750 else 2 + place // 5
    rng = np.random.default_rng(number)
    question = " ".join(WORDS[at] for at in rng.integers(0, len(WORDS), 18))
    text = " ".join(WORDS[at] for at in rng.integers(0, len(WORDS), int(rng.integers(100, 450))))
    answer = {"id": f"chatcmpl-{number}", "choices": [{"message": {"role": "assistant", "content": text}}]}
    return Entry(
        tenant="",
        model="small",
        exact=hashlib.sha256(b"%d" % number).digest(),
        partition=hashlib.sha256(b"partition %d" % partition).digest()[:16],
        question=question,
        answer=json.dumps(answer).encode(),
        made_at_s=int(SYSTEM.wall()),
        expires_at_s=int(SYSTEM.wall()) + 86_400,
        tags=(f"tag {number % 50}",),
        cost_micro=number % 1000,
    )


def _asked(entry: Entry) -> Asked:
    return Asked("", entry.model, entry.exact, entry.partition, entry.question, "semantic")


async def _filled(folder: Path, entries: int) -> list[Row]:
    vectors = _vectors(entries + MORE + AT_ONCE * ROUNDS)
    with embedded(folder) as link:
        async with link:
            collections = await Collections.open(folder, link)
            collection = await collections.create("answers", collection_config(SIZE))
            async with _store(collection, folder):
                pass
            rows = [await _fill(collection, vectors, range(entries), "fill, 256 at a time")]
            began = time.perf_counter()
            await collection.optimize(deadline_s=BUILD_DEADLINE_S)
            rows.append(row("first graphs", time.perf_counter() - began, "s"))
            async with _store(collection, folder) as store:
                rows += await _questions(store, collection, vectors, entries)
                await _more(store, vectors, range(entries, entries + MORE))
                rows += await _while_building(store, collection, vectors, entries)
                rows += await _written(store, vectors, entries + MORE)
            await collections.close()
    return rows


@asynccontextmanager
async def _store(collection: Collection, folder: Path) -> AsyncIterator[AnswerStore]:
    bounds = StoreBounds(entries_max=2 * ENTRIES, bytes_max=1 << 40)
    store = await AnswerStore.open(collection, folder / "beside", bounds, SYSTEM)
    try:
        yield store
    finally:
        await store._room.looked_through()
        await store.close()


async def _fill(collection: Collection, vectors: Vectors, numbers: range, key: str) -> Row:
    took = 0.0
    for start in range(numbers.start, numbers.stop, BATCH):
        kept = [_entry(number) for number in range(start, min(start + BATCH, numbers.stop))]
        payloads: list[Any] = [payload_of(entry, Labels()) for entry in kept]
        began = time.perf_counter()
        ids = [point_id(entry.id) for entry in kept]
        await collection.upsert(ids, vectors[start : start + len(kept)], payloads, acknowledge="applied")
        took += time.perf_counter() - began
    return row(key, len(numbers) / took, "entries/s")


async def _more(store: AnswerStore, vectors: Vectors, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, BATCH):
        part = range(start, min(start + BATCH, numbers.stop))
        assert all(await asyncio.gather(*(store.keep(_entry(number), vectors[number]) for number in part)))


def _turned(vectors: Vectors, number: int) -> Vectors:
    noise = np.random.default_rng(number).standard_normal(SIZE).astype("<f4")
    return np.asarray(vectors[number] + NOISE * noise / np.linalg.norm(noise), "<f4")


async def _timed(ask: Callable[[int], Awaitable[Any]], numbers: Any) -> list[float]:
    times = []
    for number in numbers:
        began = time.perf_counter()
        await ask(int(number))
        times.append((time.perf_counter() - began) * 1000)
    return times


def _told(key: str, times_ms: list[float], limit: float | None = None) -> list[Row]:
    p50, p99 = np.percentile(times_ms, [50, 99])
    return [row(f"{key}, p50", p50, "ms"), row(f"{key}, p99", p99, "ms", limit=limit)]


async def _questions(store: AnswerStore, collection: Collection, vectors: Vectors, entries: int) -> list[Row]:
    numbers = np.random.default_rng(3).integers(0, entries, QUESTIONS)

    async def near(number: int) -> None:
        assert await store.nearest(_asked(_entry(number)), _turned(vectors, number))

    async def same(number: int) -> None:
        assert await store.exact(_asked(_entry(number)))

    await _timed(near, numbers[:50])
    rows = _told("similar question", await _timed(near, numbers), P99_MS_MAX)
    store.hot.clear()
    rows += _told("same request", await _timed(same, numbers))
    rows += _told("same request, from memory", await _timed(same, numbers[-QUESTIONS // 10 :]))
    missed = 0
    for number in numbers[:RECALLED]:
        asked = _asked(_entry(int(number)))
        must = {"must": [{"key": "partition", "match": {"value": asked.partition.hex()}}]}
        options: Any = {"limit": 1, "matching": must, "with_payload": False}
        vector = _turned(vectors, int(number))
        (best,) = await collection.search(vector, params=SearchParams(exact=True), **options)
        (found, *_) = await store.nearest(asked, vector, 1)
        missed += point_id(found.entry.id) != best.id
    rows.append(row(f"nearest missed, of {RECALLED}", missed, "questions"))
    return rows


async def _while_building(store: AnswerStore, collection: Collection, vectors: Vectors, entries: int) -> list[Row]:
    """The graphs are made again for a tenth more entries; until they are there, these are looked through."""
    rng = np.random.default_rng(4)
    building = asyncio.create_task(collection.optimize(deadline_s=BUILD_DEADLINE_S))
    began, times = time.perf_counter(), list[float]()

    async def near(number: int) -> None:
        assert await store.nearest(_asked(_entry(number)), _turned(vectors, number))

    while not building.done():
        times += await _timed(near, rng.integers(0, entries, 10))
        await asyncio.sleep(0.05)
    await building
    rows = _told(f"similar question while graphs are built, {len(times)} of them", times, P99_MS_MAX)
    return [*rows, row("graphs again, beside questions", time.perf_counter() - began, "s")]


async def _written(store: AnswerStore, vectors: Vectors, first: int) -> list[Row]:
    async def keep(number: int) -> None:
        assert await store.keep(_entry(number), vectors[number])

    async def observe(number: int) -> None:
        assert await store.observe(_entry(number).id, 0.9, True)

    rows = []
    for name, write in (("keep", keep), ("observe", observe)):
        began = time.perf_counter()
        for start in range(first, first + AT_ONCE * ROUNDS, AT_ONCE):
            await asyncio.gather(*(write(start + at) for at in range(AT_ONCE)))
        speed = AT_ONCE * ROUNDS / (time.perf_counter() - began)
        rows.append(row(f"{name}, durable, {AT_ONCE} at once", speed, "a second"))
    return rows


def _child(folder: str, how: str, entries: int) -> dict[str, float]:
    """A node's process: what it took, and its memory with that of its shard host, in MB."""
    script = "import sys; from bench.semantic_store import child; child(*sys.argv[1:])"
    command = [sys.executable, "-c", script, folder, how, str(entries)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def child(folder: str, how: str, entries: str) -> None:
    """In a process of its own. how: empty, ended or killed, as the node before did."""
    if how == "killed":
        (Path(folder) / "beside" / "answers.running").touch()
    print(json.dumps(asyncio.run(_restarted(Path(folder), int(entries)))))


async def _restarted(folder: Path, entries: int) -> dict[str, float]:
    began = time.perf_counter()
    with embedded(folder) as link:
        async with link:
            collections = await Collections.open(folder, link)
            if not entries:
                await collections.create("answers", collection_config(SIZE))
            collection = collections.get("answers")
            async with _store(collection, folder) as store:
                rng = np.random.default_rng(5)
                asked = [
                    _asked(_entry(int(number))) for number in rng.integers(0, entries, QUESTIONS if entries else 0)
                ]
                if asked:
                    assert await store.exact(asked[0])
                    assert await store.nearest(asked[0], rng.standard_normal(SIZE))
                took_ms = (time.perf_counter() - began) * 1000
                while store.stats().is_behind:  # noqa: ASYNC110  nothing tells
                    await asyncio.sleep(0.02)
                counted_ms = (time.perf_counter() - began) * 1000
                await store._room.looked_through()
                for one in asked:
                    await store.exact(one)
                    await store.nearest(one, rng.standard_normal(SIZE))
                (host,) = (state.pid for state in link.states.values())
                told = {
                    kind: _memory_mb(os.getpid(), kind) + _memory_mb(host or 0, kind) for kind in ("RssAnon", "VmRSS")
                }
            await collections.close()
    return told | {"ms": took_ms, "counted_ms": counted_ms}


def _memory_mb(pid: int, kind: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) * 1024 / 1e6
