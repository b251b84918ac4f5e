"""A collection of which one region is pinned, all that can be asked of it, and what must not be seen elsewhere."""

import contextlib
import os
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from littoral.errors import LittoralError
from littoral.vectors import asks
from littoral.vectors.filters import parse_filter
from littoral.vectors.packing import packed
from littoral.vectors.queries import PayloadChange, Prefetch, SearchParams, SearchQuery
from recorded_wires import RecordedWires
from spread_nodes import SpreadNode

__all__ = [
    "COUNT",
    "EU",
    "EXACT",
    "FREE",
    "MARK",
    "MARKED",
    "NAMES",
    "PINNED",
    "REGIONS",
    "ROWS",
    "SIZE",
    "US",
    "ask_everything",
    "nothing_left",
    "payload",
    "traces",
]

SIZE = 8
COUNT = 40
NAMES = ("a", "b", "c", "d")
REGIONS = {"a": "eu", "b": "eu", "c": "us", "d": "us"}
EU, US = ("a", "b"), ("c", "d")
SECRET = b"sealed"
EXACT = SearchParams(exact=True)
FEW = {"must": [{"key": "n", "range": {"lt": 9}}]}
PINNED = range(COUNT)
FREE = range(COUNT, 2 * COUNT)
MARKED, MARK = slice(2, 5), (0.71, -1.37, 0.43)
"""By these three numbers, a vector that is pinned, or a mean of such, is known wherever it lies."""

ROWS = np.random.default_rng(5).standard_normal((2 * COUNT, SIZE)).astype("<f4")
ROWS[:COUNT, MARKED] = MARK


def payload(point: int) -> dict[str, Any]:
    if point in PINNED:
        return {"region": "eu", "name": f"sealed {point % 4}", "n": point}
    return {"region": "us", "name": f"open {point % 4}", "n": point}


def traces(data: bytes) -> list[str]:
    """Of what is pinned, in these bytes."""
    mark = np.array(MARK)
    vectors = {f"vector as {kind}": mark.astype(kind).tobytes() for kind in ("<f4", "<f8", ">f4", ">f8")}
    return [what for what, bytes_of in {"payload": SECRET, **vectors}.items() if bytes_of in data]


def nothing_left(wires: RecordedWires, folder: Path, inside: Iterable[str] = EU, outside: Iterable[str] = US) -> None:
    """Nothing pinned went out of its region, or lies on a disk elsewhere."""
    ours, others = list(inside), list(outside)
    told = [sent for sent in wires.sent if sent[0] in ours and sent[1] in others and traces(sent[2])]
    assert not told, [(sender, receiver, traces(body), body[:2000]) for sender, receiver, body in told[:3]]
    for name in others:
        for at, _, files in os.walk(folder / name):  # shards that were handed over are being deleted meanwhile
            for file in (Path(at) / one for one in files):
                with contextlib.suppress(FileNotFoundError):
                    assert (file, traces(file.read_bytes() if file.is_file() else b"")) == (file, [])


async def ask_everything(node: SpreadNode) -> None:
    collection = node["points"]
    await collection.create_index("name", "keyword")
    await collection.create_index("n", "integer")
    some = {"must": [{"key": "n", "range": {"lt": COUNT + 9}}]}
    queries = np.random.default_rng(6).standard_normal((20, SIZE)).astype("<f4")
    target = packed(queries[3], (SIZE,), "query")
    example = SearchQuery(asks.Recommend([asks.Of(3)], [], "average_vector"), limit=9, params=EXACT)
    prefetch = [Prefetch(ask=ask, limit=40) for ask in (asks.Nearest(asks.Of(5)), asks.Nearest(target))]
    staged = [
        SearchQuery(ask, limit=9, with_vector=True, prefetch=prefetch)
        for ask in (asks.Fusion("rrf"), asks.Nearest(asks.Of(4)), asks.Mmr(asks.Of(4)), asks.Formula("$score"))
    ]
    calls: list[Awaitable[Any]] = [
        *(collection.search_batch([query]) for query in staged),
        collection.search_batch([SearchQuery(asks.Mmr(target), limit=2 * COUNT)]),
        collection.search_batch([SearchQuery(asks.Sample(), limit=9, with_payload=True, with_vector=True)]),
        collection.group(staged[0], "name"),
        collection.pairs(sample=2 * COUNT, limit=5),
        *(collection.search(query, limit=20, with_vector=True, params=EXACT) for query in queries),
        collection.search(queries[1], matching={"must": [{"has_id": [1, 2, COUNT + 1]}]}, with_vector=True),
        collection.search_batch([example]),
        collection.search_batch([SearchQuery(asks.Nearest(asks.Of(5)), limit=9, with_vector=True)]),
        collection.search_batch([SearchQuery(asks.OrderBy("n"), limit=9)]),
        collection.group(SearchQuery(target, limit=3, params=EXACT), "name"),
        collection.scroll(limit=100, with_vector=True),
        collection.scroll(limit=5, order=asks.OrderBy("n")),
        collection.retrieve(list(range(2 * COUNT)), with_vector=True),
        collection.facet("name", exact=True),
        collection.count(),
        collection.count(parse_filter({"must": [{"key": "n", "range": {"lt": COUNT}}]})),
        collection.info(),
        collection.change_payload(PayloadChange("merge", ids=[3], payload={"more": "sealed more"})),
        collection.change_payload(
            PayloadChange("merge", filter=parse_filter(FEW), payload={"more": "sealed by filter"})
        ),
        collection.update_vectors([7], [ROWS[7].tobytes()]),
        collection.delete_matching(some | {"must_not": [{"has_id": list(range(2 * COUNT - 1))}]}),
        collection.optimize(),
    ]
    for call in calls:
        with contextlib.suppress(LittoralError):
            await call
