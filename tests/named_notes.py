"""Notes of which each has several vectors: two that are embedded from its payload, and others that are not."""

import json
from pathlib import Path
from typing import Any

from raw_http import Reply, ask, request, send
from two_models import note, write_notes_site

OPTIONS = """
model = "encoder@1"
named.title = { size = 24, distance = "Cosine", model = "encoder@1" }
named.fixed = { size = 3, distance = "Dot" }
named.parts = { size = 2, distance = "Cosine", multi = true }
sparse = ["words"]

[collections.notes.migrate]
source = "payload:text"
pipeline = "sentences"
points_per_s = RATE
named.title = { source = "payload:title", pipeline = "titles" }
"""
PIPELINES = """
[pipelines.titles]
steps = [{ agent = "words" }, { model = "encoder" }]

[pipelines.find_title]
steps = [{ agent = "words" }, { model = "encoder" }, { search = "notes", using = "title", limit = 3 }]
"""
MIGRATION = "/api/collections/notes/migration"
POINTS = "/collections/notes/points"
LACKING = {3: "title", 4: "", 5: "parts"}
"""By point, a vector that it has not."""


def write_named_site(folder: Path, rate: float = 100_000) -> Path:
    site = write_notes_site(folder, OPTIONS.replace("RATE", str(rate)))
    site.write_text(site.read_text() + PIPELINES)
    return site


def title(number: int) -> str:
    return f"{note(number + 500)} title"


def by(address: str, pipeline: str, text: str) -> tuple[list[float], str]:
    """A vector, and the model that made it."""
    reply = send(address, "POST", "/v1/embeddings", json.dumps({"model": pipeline, "input": text}).encode())
    return reply.json["data"][0]["embedding"], reply.headers["littoral-model"]


def point(address: str, number: int) -> dict[str, Any]:
    """With all vectors, but for those in `LACKING`."""
    vectors: dict[str, Any] = {
        "": by(address, "sentences", note(number))[0],
        "title": by(address, "titles", title(number))[0],
        "fixed": [float(number), 1.5, -2.25],
        "parts": [[1.0, float(number)], [0.5, 0.25]],
        "words": {"indices": [number, number + 7], "values": [0.5, 2.0]},
    }
    vectors.pop(LACKING.get(number, "none"), None)
    return {"id": number, "vector": vectors, "payload": {"text": note(number), "title": title(number)}}


def write(address: str, *numbers: int) -> None:
    body = {"points": [point(address, number) for number in numbers]}
    reply = asked(address, "PUT", "", body)
    assert reply.status == 200, reply


def asked(address: str, method: str, path: str, body: Any, told: str | None = None) -> Reply:
    headers = {} if told is None else {"littoral-model": told}
    return send(address, method, f"{POINTS}{path}", json.dumps(body).encode(), headers)


def migrate(address: str, to: Any) -> Reply:
    return ask(address, request("POST", MIGRATION, json.dumps({"to": to}).encode()), timeout_s=60)


def told(address: str) -> Any:
    return send(address, "GET", "/api/collections/notes").json


def points(address: str) -> dict[int, Any]:
    """Vectors and payloads by id."""
    body = json.dumps({"limit": 1000, "with_payload": True, "with_vector": True}).encode()
    found = send(address, "POST", f"{POINTS}/scroll", body).json["result"]["points"]
    return {one["id"]: (one["vector"], one["payload"]) for one in found}


def others(vectors: dict[str, Any], *anew: str) -> dict[str, Any]:
    """Without those that are embedded anew."""
    return {name: vector for name, vector in vectors.items() if name not in anew}
