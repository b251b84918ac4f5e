"""The demo as a user of the node's HTTP API: indexing pictures, asking for similar ones."""

import base64
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from littoral.clock import SYSTEM, Clock
from littoral.demo.grades import Hit, Reply
from littoral.demo.pictures import Picture, thumbnail
from littoral.demo.questions import HITS_ASKED, Question
from littoral.demo.site_file import COLLECTION
from littoral.node.client import NodeClient

__all__ = ["ask", "indexed_count", "write_points"]

BATCH_POINTS = 16
SENDER_COUNT = 2


def indexed_count(client: NodeClient) -> int:
    """Points that the collection holds."""
    count: int = client.collection("POST", COLLECTION, "/points/count", {"exact": True})["count"]
    return count


def write_points(client: NodeClient, pictures: Sequence[Picture], tell: Callable[[int], None]) -> None:
    """Sends every picture through the pipeline `embed` and writes its vector. tell: gets the count after each batch.

    The answer to a batch comes when it is on disk. Raises what `NodeClient.call` raises.
    """

    def write_batch(start: int) -> int:
        batch = pictures[start : start + BATCH_POINTS]
        points = [_point(client, start + i, picture) for i, picture in enumerate(batch)]
        client.collection("PUT", COLLECTION, "/points?wait=true", {"points": points})
        return len(batch)

    done = 0
    with ThreadPoolExecutor(SENDER_COUNT, thread_name_prefix="littoral-demo") as senders:
        try:
            for count in senders.map(write_batch, range(0, len(pictures), BATCH_POINTS)):
                done += count
                tell(done)
        except BaseException:
            senders.shutdown(wait=False, cancel_futures=True)
            raise


def _point(client: NodeClient, number: int, picture: Picture) -> dict[str, Any]:
    url = f"data:image/jpeg;base64,{base64.b64encode(thumbnail(picture)).decode()}"
    payload = {"source": picture.source, "seconds": round(picture.seconds, 3), "thumbnail": url}
    return {"id": number, "vector": _embedding(client, picture), "payload": payload}


def _embedding(client: NodeClient, picture: Picture) -> list[float]:
    (vector,) = client.run_pipeline("embed", picture.data).result["outputs"]["embedding"]["data"]
    return list(vector)


def ask(client: NodeClient, question: Question, clock: Clock = SYSTEM) -> Reply:
    """What the node answers: from its pipeline `similar`, or, where a source is kept out, from a filtered query."""
    began = clock.monotonic()
    if question.without is None:
        answer = client.run_pipeline("similar", question.picture.data)
        found, stages_ms = answer.result, answer.stages_ms
    else:
        found, stages_ms = _query(client, question.picture, question.without), {}
    total_ms = (clock.monotonic() - began) * 1000
    hits = tuple(Hit(h["payload"]["source"], h["payload"]["seconds"], h["score"]) for h in found)
    return Reply(question, hits, stages_ms, total_ms)


def _query(client: NodeClient, picture: Picture, without: str) -> list[dict[str, Any]]:
    body = {
        "query": _embedding(client, picture),
        "filter": {"must_not": [{"key": "source", "match": {"value": without}}]},
        "limit": HITS_ASKED,
        "with_payload": ["source", "seconds"],
    }
    found: list[dict[str, Any]] = client.collection("POST", COLLECTION, "/points/query", body)["points"]
    return found
