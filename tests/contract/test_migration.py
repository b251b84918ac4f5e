"""A collection is embedded anew by another model while it is read and written, flipped, taken back, dropped."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.errors import ConflictError, UnavailableError
from littoral.node.migration.failing import PASSING_S, Failing
from littoral.node.migration.pair import Pair
from littoral.node.site import read_site
from littoral.node.wiring import check_site
from littoral.testing import SimulatedClock
from littoral.vectors.layout import COLLECTIONS, read_collection_file
from node_fixture import Served, node_in_thread
from raw_http import Reply, ask, request, send
from two_models import (
    MIGRATE,
    WITH_OTHER_WORDS,
    add_other_words,
    add_version,
    embedded,
    find,
    installation,
    keep,
    note,
    write_notes_site,
)
from waiting import until

COUNT = 60
POINTS_MAX = 10_000


@pytest.fixture
def folder() -> Iterator[Path]:
    with installation() as folder:
        yield folder


def migrate(served: Served, to: str) -> Reply:
    body = json.dumps({"to": to}).encode()
    return ask(served.address, request("POST", "/api/collections/notes/migration", body), timeout_s=60)


def told(served: Served) -> Any:
    return send(served.address, "GET", "/api/collections/notes").json


def until_state(served: Served, state: str) -> Any:
    """It may be stuck for a while on the way there, where the machine has other things to do."""
    found: list[Any] = []

    def holds() -> bool:
        found.append(told(served)["migration"])
        return found[-1] is not None and found[-1]["state"] == state

    try:
        until(holds)
    except AssertionError as error:
        raise AssertionError(f"never {state}: {found[-1]}") from error
    return found[-1]


def points(served: Served) -> dict[int, str]:
    body = json.dumps({"limit": POINTS_MAX, "with_payload": True}).encode()
    found = send(served.address, "POST", "/collections/notes/points/scroll", body).json["result"]
    assert found["next_page_offset"] is None
    return {point["id"]: point["payload"]["text"] for point in found["points"]}


def vector_of(served: Served, number: int) -> Any:
    body = json.dumps({"ids": [number], "with_vector": True}).encode()
    (point,) = send(served.address, "POST", "/collections/notes/points", body).json["result"]
    return np.array(point["vector"])


def file_of(folder: Path) -> Any:
    return read_collection_file(folder / "data" / COLLECTIONS / "notes")


def fill(served: Served, count: int = COUNT) -> None:
    for number in range(count):
        assert keep(served, number).status == 200


def test_a_collection_goes_to_another_version_and_back(folder: Path) -> None:
    site = write_notes_site(folder)
    with node_in_thread(folder, site=site) as served:
        fill(served)
        first, one = embedded(served, note(1))
        before = vector_of(served, 1)
        add_version(folder, 2)
        assert migrate(served, "encoder@2").status == 200
        done = until_state(served, "flipped")
        assert (done["points"], done["embedded"], done["is_whole"], done["refused"]) == (COUNT, COUNT, True, [])
        second, two = embedded(served, note(1))
        assert (one.split(":")[0], two.split(":")[0]) == ("encoder@1", "encoder@2")
        assert first != second
        assert np.abs(before - vector_of(served, 1)).max() > 0.01
        assert np.allclose(vector_of(served, 1), second, atol=1e-6)
        assert points(served) == {number: note(number) for number in range(COUNT)}
        assert find(served, note(5)).json["result"][0]["score"] > 0.999
        assert keep(served, 1000, "a new note about rivers").status == 200
        deleted = send(served.address, "POST", "/collections/notes/points/delete", b'{"points": [7]}')
        assert deleted.status == 200
        assert send(served.address, "POST", "/api/collections/notes/migration/back").status == 200
        assert embedded(served, note(1))[0] == first
        kept = {number: note(number) for number in range(COUNT) if number != 7} | {1000: "a new note about rivers"}
        assert points(served) == kept
        assert find(served, "a new note about rivers").json["result"][0]["id"] == 1000
        assert np.allclose(vector_of(served, 1), before)
        assert send(served.address, "DELETE", "/api/collections/notes/migration").status == 200
        assert told(served)["migration"] is None
        assert file_of(folder).other is None
        assert len(list((folder / "data" / COLLECTIONS / "notes").glob("shard-*"))) == 1


def test_a_model_brings_its_own_tokenizer_and_the_one_before_has_its_own_again(folder: Path) -> None:
    site = write_notes_site(folder, WITH_OTHER_WORDS)
    add_other_words(site)

    def by_wide(text: str) -> Any:
        body = json.dumps({"model": "wide", "input": text}).encode()
        return send(served.address, "POST", "/v1/embeddings", body).json["data"][0]["embedding"]

    with node_in_thread(folder, site=site) as served:
        fill(served, 12)
        before, _ = embedded(served, note(3))
        assert migrate(served, "wide@1").status == 200
        until_state(served, "flipped")
        assert embedded(served, note(3))[0] == by_wide(note(3)), "with the tokens of the other tokenizer"
        wanted = np.array(by_wide(note(3)))
        assert np.allclose(vector_of(served, 3), wanted / np.linalg.norm(wanted), atol=1e-6)
    check_site(read_site(site))
    with node_in_thread(folder, site=site) as served:
        assert embedded(served, note(3))[0] == by_wide(note(3)), "after a restart too"
        assert keep(served, 77).status == 200
        assert find(served, note(77)).json["result"][0]["score"] > 0.999
        assert send(served.address, "POST", "/api/collections/notes/migration/back").status == 200
        assert embedded(served, note(3))[0] == before
        assert find(served, note(77)).json["result"][0]["id"] == 77


def test_another_model_of_another_size_takes_its_place_and_stays_after_a_restart(folder: Path) -> None:
    site = write_notes_site(folder)
    with node_in_thread(folder, site=site) as served:
        fill(served, 20)
        assert (
            send(
                served.address, "PUT", "/collections/notes/index", b'{"field_name": "text", "field_schema": "text"}'
            ).status
            == 200
        )
        assert migrate(served, "wide@1").status == 200
        until_state(served, "flipped")
        vector, model = embedded(served, note(3))
        assert (len(vector), model.split(":")[0]) == (48, "wide@1")
        assert vector_of(served, 3).shape == (48,)
        described = send(served.address, "GET", "/collections/notes").json["result"]
        assert list(described["payload_schema"]) == ["text"]
        assert send(served.address, "POST", "/v2/repository/models/encoder/load", b"{}").status == 200
        assert find(served, note(3)).json["result"][0]["score"] > 0.999
    check_site(read_site(site))
    with node_in_thread(folder, site=site) as served:
        assert told(served)["migration"]["state"] == "flipped"
        assert find(served, note(3)).json["result"][0]["score"] > 0.999
        assert keep(served, 77).status == 200
        assert send(served.address, "POST", "/api/collections/notes/migration/back").status == 200
        assert find(served, note(77)).json["result"][0]["id"] == 77
        assert len(embedded(served, note(3))[0]) == 24


REFUSALS = {
    "no source": (
        "",
        "encoder@2",
        "collection `notes` keeps nothing to embed anew · hint: `collections.notes.mig",
    ),
    "no such version": (MIGRATE, "encoder@9", "model `encoder`: no version 9, there is 1, 2"),
    "no such model": (MIGRATE, "other@1", "`other@1` is no model of the site file"),
    "the same": (MIGRATE, "encoder@1", "holds embeddings of `encoder@1:"),
    "another source": (
        MIGRATE.replace("text", "body"),
        "encoder@2",
        "2 points keep nothing at `payload:body` to em",
    ),
    "no embedder": (MIGRATE.replace('"sentences"', '"find"'), "encoder@2", "pipeline `find` does not end in what one"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_what_cannot_be_embedded_anew_is_refused_at_once(folder: Path, why: str) -> None:
    options, to, message = REFUSALS[why]
    with node_in_thread(folder, site=write_notes_site(folder, options)) as served:
        fill(served, 2)
        add_version(folder, 2)
        refused = migrate(served, to)
        assert refused.status in (400, 404, 409, 500)
        assert message in refused.error
        assert file_of(folder).other is None
        assert keep(served, 3).status == 200


def test_writes_that_the_other_generation_cannot_have_are_refused(folder: Path) -> None:
    slow = MIGRATE.replace("100000", "0.001")
    with node_in_thread(folder, site=write_notes_site(folder, slow)) as served:
        fill(served, 3)
        add_version(folder, 2)
        assert migrate(served, "encoder@2").status == 200
        put = {"points": [{"id": 50, "vector": [1.0] * 24, "payload": {"other": 1}}]}
        refused = send(served.address, "PUT", "/collections/notes/points", json.dumps(put).encode())
        assert refused.status == 409
        assert "point `50` cannot be embedded for both: payload has no text at `text`" in refused.error
        vectors = json.dumps({"points": [{"id": 1, "vector": [1.0] * 24}]}).encode()
        assert send(served.address, "PUT", "/collections/notes/points/vectors", vectors).status == 409
        again = migrate(served, "encoder@2")
        assert (again.status, again.json["migration"]["state"]) == (200, "building")
        assert send(served.address, "POST", "/api/collections/notes/migration/back").status == 409
        assert send(served.address, "DELETE", "/api/collections/notes/migration").status == 200
        assert send(served.address, "PUT", "/collections/notes/points", json.dumps(put).encode()).status == 200


def test_a_point_that_cannot_be_embedded_is_told_and_holds_up_the_flip(folder: Path) -> None:
    files = 'migrate = { source = "file:text", folder = "kept", pipeline = "sentences" }'
    (folder / "kept").mkdir()
    for number in range(3):
        (folder / "kept" / note(number)).write_text(f"what stands in file {number}")
    with node_in_thread(folder, site=write_notes_site(folder, files)) as served:
        fill(served, 4)
        add_version(folder, 2)
        assert migrate(served, "encoder@2").status == 200
        stuck = until_state(served, "stuck")
        assert stuck["refused"][0]["id"] == 3
        assert "is not there below" in stuck["why"]
        assert embedded(served, "a")[1].startswith("encoder@1:")
        (folder / "kept" / note(3)).write_text("now it is there")
        until(lambda: told(served)["migration"]["state"] == "flipped")
        assert np.allclose(vector_of(served, 3), embedded(served, "now it is there")[0], atol=1e-6)


def test_a_model_without_a_free_instance_for_a_moment_is_told_and_nothing_is_stuck(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, is_busy = Pair._embedded, threading.Event()

    async def embedded(*told: Any) -> Any:
        if is_busy.is_set():
            raise UnavailableError("pool `words`: no instance was free in 1000 ms (1 busy, 3 others waiting)")
        return await plain(*told)

    monkeypatch.setattr(Pair, "_embedded", embedded)
    with node_in_thread(folder, site=write_notes_site(folder)) as served:
        fill(served, 8)
        add_version(folder, 2)
        is_busy.set()
        assert migrate(served, "encoder@2").status == 200
        seen: list[Any] = []

        def is_told() -> bool:
            seen.append(told(served)["migration"])
            return bool(seen[-1]["why"])

        until(is_told)
        is_busy.clear()
        until_state(served, "flipped")
        assert "no instance was free" in seen[-1]["why"]
        assert {found["state"] for found in seen} == {"building"}


def test_what_passes_by_itself_has_time_to_pass() -> None:
    clock = SimulatedClock()
    failing = Failing(clock)
    busy = UnavailableError("no instance is free")
    assert not failing.is_stuck(busy)
    clock.advance(PASSING_S - 0.1)
    assert not failing.is_stuck(busy)
    assert failing.is_stuck(ConflictError("somebody has to see to it"))
    clock.advance(0.1)
    assert failing.is_stuck(busy)
    failing.ended()
    assert not failing.is_stuck(busy)


class Load:
    """Writers and readers of a node until the end of the block; what they saw that should not be."""

    def __init__(self, served: Served, near: Callable[[Any], str]) -> None:
        self.served = served
        self.near = near
        self.written: dict[int, str] = {}
        self.wrong: list[str] = []
        self.found = 0
        self.ends = threading.Event()

    def write(self, start: int) -> None:
        number = start
        while not self.ends.is_set() and len(self.written) < POINTS_MAX // 2:
            reply = keep(self.served, number, text := f"{note(number)} written {number}")
            if reply.status == 200:
                self.written[number] = text
            else:
                self.wrong.append(f"write: {reply.status} {reply.body!r}")
            number += 1 if number % 5 else 2
            time.sleep(0.002)

    def read(self) -> None:
        number = 0
        while not self.ends.is_set():
            number = (number + 1) % COUNT
            reply = find(self.served, note(number))
            if reply.status != 200:
                self.wrong.append(f"read: {reply.status} {reply.body!r}")
            elif why := self.near(reply.json["result"]):
                self.wrong.append(why)
            self.found += 1


def mixed(hits: Any) -> str:
    """A text that is in the collection finds itself; a vector of the one model finds nothing so near in the other."""
    return "" if hits and hits[0]["score"] > 0.999 else f"best is {hits[:1]}"


def test_no_query_meets_the_other_models_vectors_and_no_write_is_lost_under_load(folder: Path) -> None:
    """Both models have vectors of one size: a mixed answer would show by its score, not by an error."""
    with node_in_thread(folder, site=write_notes_site(folder, versions=(1,))) as served:
        fill(served)
        add_version(folder, 2)
        load = Load(served, mixed)
        with ThreadPoolExecutor(4) as threads:
            running = [threads.submit(load.write, 10_000), threads.submit(load.write, 20_000)]
            running += [threads.submit(load.read), threads.submit(load.read)]
            try:
                assert migrate(served, "encoder@2").status == 200
                until_state(served, "flipped")
                seen = load.found
                until(lambda: load.found > seen + 20)
                for _ in range(3):
                    back = request("POST", "/api/collections/notes/migration/back")
                    assert ask(served.address, back, timeout_s=60).status == 200
            finally:
                load.ends.set()
            for one in running:
                one.result(120)
        assert load.wrong == []
        assert load.found > 20
        kept = points(served)
        assert {number: kept.get(number) for number in load.written} == load.written
        assert embedded(served, "a")[1].startswith("encoder@1:")
        for number in list(load.written)[:: max(1, len(load.written) // 20)]:
            assert np.allclose(vector_of(served, number), embedded(served, kept[number])[0], atol=1e-6)
        assert told(served)["migration"]["flip_ms"] < 60_000


def test_the_site_file_names_the_model_and_the_start_begins(folder: Path) -> None:
    """`keep_h = 0`: nothing is kept for the way back."""
    site = write_notes_site(folder, MIGRATE.replace("100000", "100000, keep_h = 0"))
    with node_in_thread(folder, site=site) as served:
        fill(served, 12)
    add_version(folder, 2)
    with node_in_thread(folder, site=site) as served:  # the newest version serves; the collection goes on with its own
        assert told(served)["models"][0].startswith("encoder@1:")
        assert find(served, note(3)).json["result"][0]["score"] > 0.999
    wanted = site.read_text().replace('distance = "Cosine" }', 'distance = "Cosine" }\nmodel = "encoder@2"')
    site.write_text(wanted)
    check_site(read_site(site))
    with node_in_thread(folder, site=site) as served:
        until(lambda: told(served)["models"][0].startswith("encoder@2:") and told(served)["migration"] is None)
        assert find(served, note(3)).json["result"][0]["score"] > 0.999
        assert file_of(folder).other is None
    site.write_text(wanted.replace("encoder@2", "wide").replace("size = 24", "size = 48"))
    with node_in_thread(folder, site=site) as served:
        until(lambda: told(served)["models"][0].startswith("wide@1:"))
        assert len(embedded(served, "a")[0]) == 48
        assert find(served, note(3)).json["result"][0]["score"] > 0.999


def test_what_a_filter_deletes_or_changes_is_so_in_both_generations(folder: Path) -> None:
    slow = MIGRATE.replace("100000", "20")
    with node_in_thread(folder, site=write_notes_site(folder, slow)) as served:
        fill(served, 40)
        add_version(folder, 2)
        assert migrate(served, "encoder@2").status == 200
        until(lambda: told(served)["migration"]["embedded"] > 4)
        only = {"filter": {"must": [{"has_id": [1, 2, 35]}]}}
        path = "/collections/notes/points"
        assert send(served.address, "POST", f"{path}/delete", json.dumps(only).encode()).status == 200
        marked = {"filter": {"must": [{"has_id": [3, 36]}]}, "payload": {"seen": True}}
        assert send(served.address, "POST", f"{path}/payload", json.dumps(marked).encode()).status == 200
        until_state(served, "flipped")
        assert points(served) == {number: note(number) for number in range(40) if number not in (1, 2, 35)}
        seen = json.dumps({"filter": {"must": [{"key": "seen", "match": {"value": True}}]}}).encode()
        assert send(served.address, "POST", f"{path}/count", seen).json["result"]["count"] == 2


def test_a_collection_that_is_deleted_takes_its_migration_along(folder: Path) -> None:
    slow = MIGRATE.replace("100000", "1")
    with node_in_thread(folder, site=write_notes_site(folder, slow)) as served:
        fill(served, 10)
        add_version(folder, 2)
        assert migrate(served, "encoder@2").status == 200
        snapshot = send(served.address, "POST", "/collections/notes/snapshots")
        assert snapshot.status == 200
        assert send(served.address, "DELETE", "/collections/notes").json["result"] is True
        assert not (folder / "data" / COLLECTIONS / "notes").exists()
        assert send(served.address, "GET", "/readyz").status == 200
        config = json.dumps({"vectors": {"size": 24, "distance": "Cosine"}}).encode()
        assert send(served.address, "PUT", "/collections/notes", config).status == 200
        assert keep(served, 1).status == 200
        assert told(served)["migration"] is None
