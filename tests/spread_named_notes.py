"""Notes that are spread over nodes and of which each has several vectors, two of them embedded from its payload."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.runtime.edges import tensors_of
from littoral.vectors.records import Multi, PointBatch, PointVectors, Sparse
from spread_notes import ATTEMPTS, NotesNode
from two_models import note
from waiting import until_async

OTHERS = """
named.title = { size = 24, distance = "Euclid", model = "encoder@1" }
named.fixed = { size = 3, distance = "Dot" }
named.parts = { size = 2, distance = "Cosine", multi = true }
sparse = ["words"]
"""
NAMED = (
    OTHERS
    + 'migrate = { source = "payload:text", pipeline = "sentences", points_per_s = RATE, '
    + 'named.title = { source = "payload:title", pipeline = "titles" } }'
)
PIPELINES = """
[pipelines.titles]
steps = [{ agent = "words" }, { model = "encoder" }]

[pipelines.find_title]
steps = [{ agent = "words" }, { model = "encoder" }, { search = "notes", using = "title", limit = 3 }]
"""
ANEW = {"": "sentences", "title": "titles"}
"""By vector, the pipeline that embeds it."""
LACKING = {3: "title", 4: "", 5: "parts"}
"""By point, a vector that it has not."""


def named(rate: float = 100_000) -> str:
    return NAMED.replace("RATE", str(rate))


def payload(number: int) -> dict[str, str]:
    return {"text": note(number), "title": f"{note(number + 500)} title"}


async def embedded(node: NotesNode, vector: str, text: str) -> npt.NDArray[np.float32]:
    (made,) = tensors_of(await node.run(ANEW[vector], text.encode())).values()
    return np.asarray(made[0], "<f4")


async def vectors(node: NotesNode, number: int, told: Mapping[str, str]) -> dict[str, Any]:
    """Of a note with this payload, but for what it lacks."""
    found: dict[str, Any] = {
        "": (await embedded(node, "", told["text"])).tobytes(),
        "title": (await embedded(node, "title", told["title"])).tobytes(),
        "fixed": np.array([number, 1.5, -2.25], "<f4").tobytes(),
        "parts": Multi(2, np.array([1.0, number, 0.5, 0.25], "<f4").tobytes()),
        "words": Sparse(np.array([number, number + 7], "<u4").tobytes(), np.array([0.5, 2.0], "<f4").tobytes()),
    }
    found.pop(LACKING.get(number, "none"), None)
    return found


async def write(node: NotesNode, numbers: Iterable[int]) -> None:
    ids = list(numbers)
    rows: list[PointVectors] = [await vectors(node, number, payload(number)) for number in ids]
    await node.collection.upsert_points(PointBatch(ids, rows, [payload(number) for number in ids]))


async def points(node: NotesNode) -> dict[Any, tuple[dict[str, Any], Any]]:
    """Vectors and payloads by id."""
    records, _ = await node.collection.scroll(limit=1000, with_vector=True)
    return {one.id: (one.vector if isinstance(one.vector, dict) else {"": one.vector}, one.payload) for one in records}


def others(found: Mapping[Any, tuple[dict[str, Any], Any]], *anew: str) -> dict[Any, Any]:
    """Without those that are embedded anew; numbers of the others as they were but for rounding of their lengths."""
    return {
        number: ({name: rounded(one) for name, one in vectors.items() if name not in anew}, payload)
        for number, (vectors, payload) in found.items()
    }


def rounded(vector: Any) -> Any:
    match vector:
        case bytes():
            return np.round(np.frombuffer(vector, "<f4"), 4).tolist()
        case Multi():
            return vector.count, np.round(np.frombuffer(vector.numbers, "<f4"), 4).tolist()
    return vector


def models(node: NotesNode) -> dict[str, str]:
    """By vector."""
    config = node.collection.config
    return {vector: ", ".join(f"{one.name}@{one.number}" for one in config.models_of(vector)) for vector in ANEW}


async def until_models(nodes: Mapping[str, NotesNode], wanted: Mapping[str, str], step: str) -> None:
    """Of all nodes."""
    try:
        await until_async(
            lambda: all((models(node), node.step) == (wanted, step) for node in nodes.values()), attempts=ATTEMPTS
        )
    except AssertionError as error:
        found = {name: (models(node), node.step, node.told()) for name, node in nodes.items()}
        raise AssertionError(f"not all go by {wanted}, step {step!r}: {found}") from error


async def check_embedded(node: NotesNode, numbers: Iterable[int]) -> None:
    """The vectors are those that this node's pipelines make now, and points are found by them."""
    found = await points(node)
    assert set(numbers) <= found.keys()
    for number, (own, told) in found.items():
        for vector in ANEW:
            assert (vector in own) == (LACKING.get(number) != vector), (number, vector)
            if vector not in own:
                continue
            wanted = await embedded(node, vector, told["title" if vector else "text"])
            wanted = wanted if vector else wanted / np.linalg.norm(wanted)
            assert np.allclose(np.frombuffer(own[vector], "<f4"), wanted, atol=1e-4), (number, vector)
            hits = await node.collection.search(wanted, limit=3, using=vector)
            assert number in [hit.id for hit in hits], (number, vector, hits)
