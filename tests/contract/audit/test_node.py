"""A real node tells its log: searches, writes, models, acts, by whom; and is asked for tiles and proofs over HTTP."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from littoral import settings
from littoral.audit.checkpoint import parse_checkpoint
from littoral.audit.disk import FolderDisk
from littoral.audit.entries import decode_entry
from littoral.audit.note import Verifier, parse_note
from littoral.audit.tree import is_consistent, is_included, leaf_hash
from littoral.audit.verify import verify_log
from littoral.node.access.roles import HTTP_ROLES, Role
from littoral.node.audit.acts import CHANGES, NOT_TOLD, READS
from littoral.node.audit.opening import LOG
from littoral.node.doctor.audit import examine_audit
from littoral.node.site import read_site
from littoral.testing import SimulatedClock
from node_fixture import DOUBLE, SITE, SIZE, Served, node_in_thread, write_site
from page_pictures import draw, jpeg
from raw_http import send, send_json
from supervised import short_folder
from waiting import until

TABLE = """
[pipelines.keep]
steps = [
  { agent = "decode" },
  { model = "embedder", take = "embedding" },
  { step = "normalize" },
  { upsert = "frames", id = "message", payload = { kind = "kept" } },
]

[collections.quiet]
vectors = { size = 4, distance = "Dot" }

[audit]
commit_ms = 20
collections = { quiet = 0.0 }
"""
POINTS = "/collections/frames/points"
PICTURE = jpeg(draw(0, 0))


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        site = write_site(folder, SITE + DOUBLE + TABLE)
        with node_in_thread(folder, site=site) as served:
            yield served
            until(lambda: served.node.audit is not None and not served.node.audit.recorder.waiting_count)
        report = verify_log(FolderDisk(served.node.data / LOG))
        assert report.faults == []
        assert report.checked == report.size > 3


def get(served: Served, path: str) -> Any:
    reply = send(served.address, "GET", path)
    assert reply.status == 200, reply.body
    return reply.json


def told(served: Served, did: str) -> list[dict[str, Any]]:
    """Entries of a kind, in the log's last checkpoint."""
    assert served.node.audit is not None
    until(lambda: served.node.audit is not None and not served.node.audit.recorder.waiting_count)
    size, found = get(served, "/api/audit")["size"], []
    for first in range(0, size, 256):
        found += get(served, f"/api/audit/entries?from={first}&count=256")["entries"]
    return [one["entry"] for one in found if one["entry"]["did"] == did]


def ask(served: Served, method: str, path: str, body: object) -> None:
    reply = send_json(served.address, method, path, body)
    assert reply.status == 200, reply.body


def vector(seed: int) -> list[float]:
    return [float(one) for one in np.random.default_rng(seed).standard_normal(SIZE).astype("<f4")]


def digest(numbers: list[float]) -> str:
    return hashlib.sha256(np.array(numbers, "<f4").tobytes()).hexdigest()


def test_it_begins_with_how_it_is_set_and_what_serves(served: Served) -> None:
    opened = told(served, "opened")[0]
    assert opened["who"] == "node"
    site = served.node.site
    assert site is not None
    assert opened["detail"]["site_file"] == hashlib.sha256(site.file.read_bytes()).hexdigest()
    assert opened["detail"]["collections"] == {"quiet": 0.0}
    deployed = {entry["on"]: entry["digest"] for entry in told(served, "deploy")}
    assert deployed["models/embedder"] == served.node.models["embedder"].model.digest
    assert deployed["agents/decode"] == served.node.agents["decode"].pool.first.digest


def test_writes_are_told_with_their_points_and_their_body(served: Served) -> None:
    body = {"points": [{"id": number, "vector": vector(number)} for number in range(20)]}
    ask(served, "PUT", POINTS, body)
    ask(served, "POST", f"{POINTS}/delete", {"points": [3, 4]})
    ask(served, "POST", f"{POINTS}/payload", {"points": [5], "payload": {"a": 1}})
    insert = next(one for one in told(served, "insert") if one.get("count") == 20)
    assert insert["digest"] == hashlib.sha256(json.dumps(body).encode()).hexdigest()
    assert insert["detail"] == {"request": f"PUT {POINTS}", "ids": list(range(16))}
    assert (insert["who"], insert["on"], insert["of"]) == ("anybody", "frames", "body")
    assert told(served, "delete")[-1]["detail"]["ids"] == [3, 4]
    assert told(served, "change")[-1]["count"] == 1


def test_searches_are_told_by_the_digest_of_their_vector(served: Served) -> None:
    plain, other = vector(1), vector(2)
    ask(served, "POST", f"{POINTS}/query", {"query": plain, "limit": 3})
    ask(served, "POST", f"{POINTS}/search", {"vector": other, "limit": 3})
    searches = [{"query": plain, "limit": 1}, {"query": other, "limit": 1}]
    ask(served, "POST", f"{POINTS}/query/batch", {"searches": searches})
    ask(served, "POST", f"{POINTS}/query", {"query": {"recommend": {"positive": [plain]}}, "limit": 1})
    ask(served, "POST", f"{POINTS}/scroll", {"limit": 1})
    first, second, batch, strange = told(served, "query")[-4:]
    assert (first["digest"], first["of"], first["count"]) == (digest(plain), "vector", 1)
    assert second["digest"] == digest(other)
    assert batch["detail"]["digests"] == [digest(plain), digest(other)]
    assert (strange["of"], strange["detail"]) == ("body", {"request": f"POST {POINTS}/query"})
    assert told(served, "read")[-1]["on"] == "frames"


def test_what_is_refused_is_not_told_as_done(served: Served) -> None:
    before = len(told(served, "insert")), len(told(served, "query"))
    assert send_json(served.address, "PUT", POINTS, {"points": [{"id": 1, "vector": [1.0]}]}).status == 400
    assert send_json(served.address, "POST", f"{POINTS}/query", {"query": [1.0]}).status == 400
    assert (len(told(served, "insert")), len(told(served, "query"))) == before


def test_a_row_of_writes_that_broke_off_is_told(served: Served) -> None:
    operations = [
        {"delete": {"points": [1]}},
        {"upsert": {"points": [{"id": 1, "vector": [1.0]}]}},
    ]
    assert send_json(served.address, "POST", f"{POINTS}/batch", {"operations": operations}).status == 400
    last = told(served, "change")[-1]
    assert (last["failed"], last["detail"]) == ("InputError", {"request": f"POST {POINTS}/batch"})


def test_steps_of_pipelines_tell_what_they_search_and_write(served: Served) -> None:
    reply = send(served.address, "POST", "/pipelines/embed", PICTURE)
    embedding = reply.json["result"]["outputs"]["embedding"]["data"][0]
    assert send(served.address, "POST", "/pipelines/keep", PICTURE, {"littoral-id": "77"}).status == 200
    assert send(served.address, "POST", "/pipelines/similar", PICTURE).status == 200
    insert, query = told(served, "insert")[-1], told(served, "query")[-1]
    assert (insert["on"], insert["digest"], insert["of"]) == ("frames", digest(embedding), "vector")
    assert (query["on"], query["digest"]) == ("frames", digest(embedding))


def test_collections_that_are_left_out_are_counted(served: Served) -> None:
    trail = served.node.audit
    assert trail is not None
    before = trail.skipped
    ask(served, "POST", "/collections/quiet/points/query", {"query": [1.0, 2.0, 3.0, 4.0]})
    ask(served, "PUT", "/collections/quiet/points", {"points": [{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}]})
    assert trail.skipped == before + 1
    assert [one for one in told(served, "query") if one["on"] == "quiet"] == []
    assert told(served, "insert")[-1]["on"] == "quiet"


def test_acts_are_told(served: Served) -> None:
    ask(served, "PUT", "/collections/more", {"vectors": {"size": 4, "distance": "Dot"}})
    assert send(served.address, "DELETE", "/collections/more").status == 200
    ask(served, "POST", "/v2/repository/models/plain/unload", {})
    ask(served, "POST", "/v2/repository/models/plain/load", {})
    requests = [one["detail"]["request"] for one in told(served, "collection")]
    assert requests[-2:] == ["PUT /collections/more", "DELETE /collections/more"]
    unloaded, loaded = told(served, "deploy")[-2:]
    assert (unloaded["on"], unloaded["detail"]["what"], unloaded["who"]) == ("models/plain", "unloaded", "anybody")
    assert loaded["detail"]["what"] == "serves"


def test_proofs_and_tiles_are_what_the_checkpoint_says(served: Served) -> None:
    size = get(served, "/api/audit")["size"]
    ask(served, "POST", f"{POINTS}/query", {"query": vector(9), "limit": 1})
    found = told(served, "query")[-1]
    index = get(served, "/api/audit")["size"] - 1
    told_proof = get(served, f"/api/audit/proof/{index}")
    note = parse_note(told_proof["checkpoint"].encode(), "checkpoint")
    note.check(Verifier.parse(send(served.address, "GET", "/api/audit/key").body.decode()))
    checkpoint = parse_checkpoint(note, "checkpoint")
    data = send(served.address, "GET", f"/api/audit/tile/entries/000.p/{index + 1}").body
    entry = data[-len(json.dumps(found, separators=(",", ":"))) :]
    assert decode_entry(entry, index).digest == found["digest"]
    proof = [base64.b64decode(one) for one in told_proof["proof"]]
    assert is_included(index, checkpoint.size, leaf_hash(entry), proof, checkpoint.root)
    tile = send(served.address, "GET", f"/api/audit/tile/0/000.p/{index + 1}").body
    assert tile[-32:] == leaf_hash(entry)
    going_on = get(served, f"/api/audit/consistency?from={size}")
    assert served.node.audit is not None
    old_root = served.node.audit.recorder.log.root_at(size)
    path = [base64.b64decode(one) for one in going_on["proof"]]
    assert is_consistent(size, going_on["to"], old_root, checkpoint.root, path)
    assert send(served.address, "GET", "/api/audit/tile/0/x009/000").status == 404
    assert send(served.address, "GET", "/api/audit/tile/0/9").status == 400
    assert send(served.address, "GET", "/api/audit/witnessed").status == 404


def test_entries_are_found_by_what_was_done_by_whom_to_what_and_when(served: Served) -> None:
    for number in range(5):
        ask(served, "PUT", POINTS, {"points": [{"id": 100 + number, "vector": vector(number)}]})
    inserts = told(served, "insert")

    def found(query: str) -> list[dict[str, Any]]:
        return [one["entry"] for one in get(served, f"/api/audit/entries?count=256&{query}")["entries"]]

    assert found("did=insert") == inserts
    assert found("did=insert&on=frames") == [one for one in inserts if one["on"] == "frames"]
    assert found("did=insert&who=nobody") == []
    assert {one["who"] for one in found("who=node")} == {"node"}
    middle = inserts[-3]["at_s"]
    assert found(f"did=insert&since={middle}") == [one for one in inserts if one["at_s"] >= middle]
    assert found(f"did=insert&until={middle}") == [one for one in inserts if one["at_s"] <= middle]
    size, seen, before = get(served, "/api/audit")["size"], list[int](), "?count=7"
    while True:
        page = get(served, f"/api/audit/entries{before}")
        seen = [one["index"] for one in page["entries"]] + seen
        if page["before"] is None:
            break
        before = f"?count=7&before={page['before']}"
    assert seen == list(range(size))
    for wrong in ("since=soon", "from=0&before=null", "from=0&until=x"):
        assert send(served.address, "GET", f"/api/audit/entries?{wrong}").status == 400


def test_it_is_verified_over_http(served: Served) -> None:
    told(served, "opened")
    report = get(served, "/api/audit/verified")
    assert (report["ok"], report["faults"], report["fault_count"]) == (True, [], 0)
    assert report["checked"] == report["size"]


def test_the_doctor_and_the_metrics_look_at_it(served: Served) -> None:
    site = read_site(served.node.data.parent / "site.toml")
    findings = list(examine_audit(site, SimulatedClock()))
    assert [(one.subject, one.status) for one in findings] == [
        (str(served.node.data / LOG), "ok"),
        ("witnesses", "warn"),
    ]
    text = send(served.address, "GET", "/metrics").body.decode()
    assert "\nlittoral_audit_takes_entries 1" in text
    assert '\nlittoral_audit_dropped_total{reason="full"} 0' in text


def test_every_route_that_writes_or_searches_is_told_of_or_says_why_not() -> None:
    safe = frozenset({Role.READ}), frozenset({Role.READ, Role.INFER})
    changing = {name for name, needed in HTTP_ROLES.items() if not name.startswith("GET ") and needed not in safe}
    searching = {name for name in HTTP_ROLES if name.startswith("POST /collections/{collection}/")}
    named = CHANGES.keys() | READS.keys() | NOT_TOLD.keys()
    from littoral.node.qdrant_api import LACKING

    lacking = {" ".join(one) for one in LACKING}
    assert (changing | searching) - lacking - named == set()
    assert named - HTTP_ROLES.keys() == set()
