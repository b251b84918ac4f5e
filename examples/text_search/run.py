"""Finds notes of a shop by what they mean: `python examples/text_search/run.py FOLDER [--json]`.

FOLDER: a sentence-transformers folder of 384 numbers, such as all-MiniLM-L6-v2 as it is published. It is compiled, a
node is started with `site.toml`, the notes are indexed through OpenAI's API and Qdrant's, each question is asked twice.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import littoral
from littoral.node.beside import RunningNode, running_node
from littoral.node.client import NodeClient

HERE = Path(__file__).parent
LENGTHS = (16, 32, 64, 128)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a sentence-transformers folder")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        site = prepare(asked.folder, Path(temporary))
        with running_node(site) as node:
            figures = run(node, say=(lambda _: None) if asked.json else print)
    sys.stdout.write(f"{json.dumps(figures)}\n")
    return 0


def prepare(source: Path, folder: Path) -> Path:
    """The site file with all that it names."""
    model = littoral.compile(source, variants=[{"input_ids": (1, n)} for n in LENGTHS], name="minilm")
    model.save(folder / "minilm.wasm")
    shutil.copy(source / "tokenizer.json", folder)
    shutil.copy(HERE / "site.toml", folder)
    return folder / "site.toml"


def run(node: RunningNode, say: Any) -> dict[str, float]:
    """Indexes, asks, and tells how often the right note came first or among the first three."""
    client = node.client()
    try:
        index(client, json.loads((HERE / "notes.json").read_text()))
        questions = json.loads((HERE / "questions.json").read_text())
        first, again = [ask(client, questions, say) for say in (say, lambda _: None)]
    finally:
        client.close()
    assert [hits for hits, _ in first] == [hits for hits, _ in again]
    ranks = [[hit["id"] for hit in hits].index(q["note"]) if any(hit["id"] == q["note"] for hit in hits) else 99
             for q, (hits, _) in zip(questions, first, strict=True)]  # fmt: skip
    return {
        "questions": len(questions),
        "first": sum(rank == 0 for rank in ranks),
        "among_three": sum(rank < 3 for rank in ranks),
        "ms": round(statistics.median(took for _, took in first), 2),
        "ms_again": round(statistics.median(took for _, took in again), 2),
    }


def index(client: NodeClient, notes: list[dict[str, Any]]) -> None:
    """One request for the vectors, one for the points."""
    body = {"model": "sentences", "input": [note["text"] for note in notes]}
    found = client.call("POST", "/v1/embeddings", json.dumps(body).encode())["data"]
    points = [
        {"id": note["id"], "vector": item["embedding"], "payload": {"room": note["room"], "text": note["text"]}}
        for note, item in zip(notes, found, strict=True)
    ]
    client.collection("PUT", "notes", "/points", {"points": points})


def ask(client: NodeClient, questions: list[dict[str, Any]], say: Any) -> list[tuple[list[dict[str, Any]], float]]:
    """Hits and milliseconds of each."""
    answers = []
    for question in questions:
        began = time.perf_counter()
        hits = client.run_pipeline("find", question["question"].encode()).result
        answers.append((hits, (time.perf_counter() - began) * 1000))
        say(f"{question['question']}\n    {hits[0]['score']:.2f}  {hits[0]['payload']['text']}")
    return answers


if __name__ == "__main__":
    sys.exit(main())
