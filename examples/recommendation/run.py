"""What would they buy next: `python run.py [--json] [--write]`. All data are synthetic (`shop.py`).

Purchases of 2,000 people give every good a vector (`factors.py`). 500 others, whom nobody saw before, are asked for:
15 of their purchases are known, 5 are kept back, and 10 goods are recommended. `--write` writes `figures.json`.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from factors import learn, solve
from shop import Goods, goods, people

from littoral.node.beside import running_node
from littoral.node.client import NodeClient

HERE = Path(__file__).parent
SEED, TEACHERS, ASKED, KNOWN, WANTED, BATCH = 7, 2000, 500, 15, 10, 200
FILTER = {
    "must": [
        {"key": "in_stock", "match": {"value": True}},
        {"key": "price", "range": {"lte": 50}},
        {"key": "shop", "match": {"any": ["harbour", "station"]}},
    ],
    "must_not": [{"key": "category", "match": {"value": "maps"}}],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures alone")
    parser.add_argument("--write", action="store_true", help="write figures.json beside this file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Path(shutil.copy(HERE / "site.toml", folder))
        with running_node(site) as node:
            client = node.client()
            figures = run(client, say=(lambda _: None) if asked.json else print)
            client.close()
    if asked.write:
        lasting = {name: value for name, value in figures.items() if name != "ms"}
        (HERE / "figures.json").write_text(json.dumps(lasting, indent=1) + "\n")
    sys.stdout.write(f"{json.dumps(figures)}\n")
    return 0


def run(client: NodeClient, say: Any) -> dict[str, Any]:
    """Figures: shares of people of whose five purchases kept back at least one is among the ten goods."""
    rng = np.random.default_rng(SEED)
    offered = goods(rng)
    taught, _ = people(rng, offered, TEACHERS)
    bought, returned = people(rng, offered, ASKED)
    known, kept_back = bought[:, :KNOWN], bought[:, KNOWN:]
    vectors = learn(rng, taught, len(offered.payloads)).astype(np.float32)
    write(client, offered, vectors)

    ids = [{"positive": row.tolist(), "strategy": "average_vector"} for row in known]
    both = [positive | {"negative": row.tolist()} for positive, row in zip(ids, returned, strict=True)]
    seen = np.zeros((ASKED, len(vectors)))
    np.put_along_axis(seen, known, 1.0, axis=1)
    unknown = [{"must_not": [{"has_id": row.tolist()}]} for row in known]
    began = time.perf_counter()
    by_purchases = [ask(client, [{"query": {"recommend": liked}}])[0] for liked in ids]
    took_ms = (time.perf_counter() - began) * 1000 / ASKED
    by_both = ask(client, [{"query": {"recommend": liked}} for liked in both])
    own = solve(seen, vectors.astype(np.float64))
    by_vector = ask(client, [{"query": row.tolist(), "filter": less} for row, less in zip(own, unknown, strict=True)])
    filtered = ask(client, [{"query": {"recommend": liked}, "filter": FILTER} for liked in ids])

    means = vectors[known].mean(axis=1) @ vectors.T
    fits = np.array([is_wanted(payload) for payload in offered.payloads])
    famous = np.bincount(taught.ravel(), minlength=len(vectors)) + np.zeros((ASKED, 1))
    say(f"bought {[offered.payloads[good]['category'] for good in known[0]]}")
    say(f"shown  {[offered.payloads[good]['category'] for good in by_purchases[0]]}")
    return {
        "synthetic": True,
        "famous": found(best(famous, seen), kept_back),
        "own vector": found(by_vector, kept_back),
        "purchases": found(by_purchases, kept_back),
        "purchases and returns": found(by_both, kept_back),
        "as computed": sum(a == b for a, b in zip(by_purchases, best(means, seen), strict=True)),
        "as computed, filtered": sum(a == b for a, b in zip(filtered, best(means, seen + ~fits), strict=True)),
        "own vector, as computed": sum(a == b for a, b in zip(by_vector, best(own @ vectors.T, seen), strict=True)),
        "ms": round(took_ms, 2),
    }


def write(client: NodeClient, offered: Goods, vectors: np.ndarray) -> None:
    """One point a good; what is filtered by is indexed."""
    for key, kind in (("category", "keyword"), ("shop", "keyword"), ("price", "float"), ("in_stock", "bool")):
        client.collection("PUT", "goods", "/index?wait=true", {"field_name": key, "field_schema": kind})
    points = [
        {"id": number, "vector": vector.tolist(), "payload": payload}
        for number, (vector, payload) in enumerate(zip(vectors, offered.payloads, strict=True))
    ]
    for start in range(0, len(points), BATCH):
        client.collection("PUT", "goods", "/points?wait=true", {"points": points[start : start + BATCH]})


def ask(client: NodeClient, searches: list[dict[str, Any]]) -> list[list[int]]:
    """Ids of the ten best, by search."""
    answers = []
    for start in range(0, len(searches), BATCH):
        body = {"searches": [search | {"limit": WANTED} for search in searches[start : start + BATCH]]}
        answers += client.collection("POST", "goods", "/points/query/batch", body)
    return [[point["id"] for point in answer["points"]] for answer in answers]


def best(scores: np.ndarray, left_out: np.ndarray) -> list[list[int]]:
    """As the node should answer: the ten largest by rows, without those left out."""
    return np.argsort(np.where(left_out > 0, np.inf, -scores), axis=1)[:, :WANTED].tolist()


def is_wanted(payload: dict[str, Any]) -> bool:
    """What `FILTER` says."""
    is_there = payload["in_stock"] and payload["shop"] in ("harbour", "station")
    return bool(is_there and payload["price"] <= 50 and payload["category"] != "maps")


def found(answers: list[list[int]], kept_back: np.ndarray) -> float:
    return sum(bool(set(answer) & set(row.tolist())) for answer, row in zip(answers, kept_back, strict=True)) / ASKED


if __name__ == "__main__":
    sys.exit(main())
