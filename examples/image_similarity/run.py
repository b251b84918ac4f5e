"""Pictures that look like a picture: `python run.py [PICTURES] [--json]`, after `make.py`.

PICTURES: JPEG and PNG files, in a folder of their own for each thing shown; default: the frames of `make.py`. Every
other one is indexed; of the rest the middle is cut out and asked for; then points are asked for their neighbours.
"""

import argparse
import io
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from littoral.demo.pictures import spread
from littoral.node.beside import running_node
from littoral.node.client import NodeClient

ASKED, BATCH, PART = 100, 32, 0.6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="?", help="a folder")
    parser.add_argument("--made", type=Path, default=Path("demo-data"), help="folder of `make.py`")
    parser.add_argument("--json", action="store_true", help="print the figures alone")
    asked = parser.parse_args()
    with running_node(asked.made / "pictures.toml") as node:
        client = node.client()
        figures = run(client, asked.pictures or asked.made / "frames", say=(lambda _: None) if asked.json else print)
        client.close()
    sys.stdout.write(f"{json.dumps(figures)}\n")
    return 0


def run(client: NodeClient, folder: Path, say: Any) -> dict[str, float]:
    """Indexes, asks, and tells how often what came first lay in the same folder as what was asked for."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    indexed, questions = found[::2], spread(found[1::2], ASKED)
    client.collection("POST", "pictures", "/points/delete?wait=true", {"filter": {}})  # those of an earlier run
    began = time.perf_counter()
    for start in range(0, len(indexed), BATCH):
        index(client, start, indexed[start : start + BATCH])
    took_s = time.perf_counter() - began
    answers = [ask(client, path, say) for path in questions]
    near = [neighbours(client, number, indexed[number]) for number in spread(range(len(indexed)), ASKED)]
    return {
        "indexed": len(indexed),
        "asked": len(questions),
        "same_folder": sum(hit["payload"]["of"] == of for of, hit, _ in answers),
        "score": round(statistics.median(hit["score"] for _, hit, _ in answers), 3),
        "score_of_neighbours": round(statistics.median(same for same, _ in near), 3),
        "score_of_others_max": round(max(other for _, other in near), 3),
        "pictures_per_s": round(len(indexed) / took_s, 1),
        "ms": round(statistics.median(took for _, _, took in answers), 2),
    }


def index(client: NodeClient, first: int, paths: list[Path]) -> None:
    """Vectors by a pipeline, points by Qdrant's REST."""
    points = []
    for number, path in enumerate(paths, first):
        (vector,) = client.run_pipeline("embed", path.read_bytes()).result["outputs"]["embedding"]["data"]
        points.append({"id": number, "vector": vector, "payload": {"of": path.parent.name, "file": path.name}})
    client.collection("PUT", "pictures", "/points?wait=true", {"points": points})


def ask(client: NodeClient, path: Path, say: Any) -> tuple[str, dict[str, Any], float]:
    """The folder of a picture, the first hit for its middle, milliseconds."""
    file = io.BytesIO()
    with Image.open(path) as picture:
        (width, height), cut = picture.size, (1 - PART) / 2
        box = [round(side) for side in (width * cut, height * cut, width * (1 - cut), height * (1 - cut))]
        picture.convert("RGB").crop(box).save(file, "JPEG", quality=80)
    began = time.perf_counter()
    hit = client.run_pipeline("similar", file.getvalue()).result[0]
    took_ms = (time.perf_counter() - began) * 1000
    say(f"{path.parent.name}/{path.name}  {hit['score']:.3f}  {hit['payload']['of']}/{hit['payload']['file']}")
    return path.parent.name, hit, took_ms


def neighbours(client: NodeClient, number: int, path: Path) -> tuple[float, float]:
    """Of a point, by its id alone: the score of the nearest other one, and of the nearest in another folder."""
    elsewhere = {"must_not": [{"key": "of", "match": {"value": path.parent.name}}]}
    searches = [{"query": number, "limit": 1}, {"query": number, "limit": 1, "filter": elsewhere}]
    answers = client.collection("POST", "pictures", "/points/query/batch", {"searches": searches})
    same, other = ([point["score"] for point in answer["points"]] for answer in answers)
    return max(same, default=0.0), max(other, default=0.0)


if __name__ == "__main__":
    sys.exit(main())
