"""A gateway as people run it: `littoral up`, the package `openai`, a service that goes away, and kill -9."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from fake_upstream import FakeUpstream, Scripted, fake_upstream, started, stopped
from gateway_site import write_gateway_site
from littoral import settings
from littoral.gateway.keeping import read_part
from littoral.gateway.near_misses import NearMisses
from littoral.gateway.tally import Tally
from raw_http import send, send_json
from supervised import short_folder
from text_node import WORDS, write_text_site
from upped import Up
from waiting import until

pytestmark = pytest.mark.e2e

SITE = (
    """
[node]
name = "desk"
listen = "127.0.0.1:PORT"

[gateway]
embedder = "sentences"

[[gateway.upstreams]]
name = "cloud"
url = "URL"
key = { file = "cloud.key" }
models = ["large"]

[gateway.cache]
ask_ahead = "never"
judge = "feedback"
similarity_min = -1.0
"""
    + WORDS
)
QUESTIONS = ("Where is the key?", "Who has the map?", "When does the tide turn?")


class Desk:
    def __init__(self, up: Up, upstream: FakeUpstream) -> None:
        self.up, self.upstream = up, upstream

    def client(self) -> openai.OpenAI:
        """Close it."""
        return openai.OpenAI(base_url=f"http://{self.up.address}/v1", api_key="none", max_retries=0, timeout=60)

    def ask(self, question: str) -> tuple[str | None, str]:
        """The text, and where it came from."""
        with self.client() as client:
            raw = client.chat.completions.with_raw_response.create(
                model="large", temperature=0, messages=[{"role": "user", "content": question}]
            )
            return raw.parse().choices[0].message.content, raw.headers["x-littoral-cache"]

    def get(self, path: str = "") -> Any:
        reply = send(self.up.address, "GET", f"/api/gateway{path}")
        assert reply.status == 200, reply
        return reply.json

    def kept(self) -> dict[str, Any]:
        """Entries by question."""
        return {one["question"]: one for one in self.get("/entries")["entries"]}

    def labels(self) -> dict[str, tuple[int, int]]:
        """By question: what was observed of its answer, and how much of it was that it is wrong."""
        return {question: (one["observed"], one["wrong"]) for question, one in self.kept().items()}

    def kill_node(self) -> None:
        """Until another one serves in its place."""
        pid = self.up.pid()
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.up.pid() != pid)
        self.up.wait_ready()


@pytest.fixture
def desk() -> Iterator[Desk]:
    with (
        fake_upstream() as upstream,
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        text = SITE.replace("URL", upstream.url)
        write_text_site(folder, text)
        write_gateway_site(folder, text)
        up = Up(folder, text)
        up.start()
        try:
            yield Desk(up, upstream)
        finally:
            with contextlib.suppress(ProcessLookupError):
                up.end()


def test_answers_and_labels_outlive_kill_9_and_the_service(desk: Desk) -> None:
    for number, question in enumerate(QUESTIONS):
        desk.upstream.script(Scripted(f"answer {number}"))
        answer, outcome = desk.ask(question)
        assert (answer, outcome) == (f"answer {number}", "explore" if number else "miss")
        until(lambda number=number: len(desk.kept()) == number + 1)
    until(lambda: len(desk.get("/misses")["misses"]) == 2)
    for miss in desk.get("/misses")["misses"]:
        told = send_json(desk.up.address, "POST", f"/api/gateway/misses/{miss['id']}", {"is_correct": False})
        assert told.status == 200, told
    labelled = desk.labels()
    assert sum(wrong for _, wrong in labelled.values()) == sum(observed for observed, _ in labelled.values()) == 2
    desk.kill_node()
    until(lambda: len(desk.kept()) == 3)
    assert desk.labels() == labelled
    stopped(desk.upstream)
    assert desk.ask(QUESTIONS[0]) == ("answer 0", "hit")
    with desk.client() as client:
        stream = client.chat.completions.create(
            model="large", temperature=0, stream=True, messages=[{"role": "user", "content": QUESTIONS[0]}]
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "answer 0"
    with pytest.raises(openai.InternalServerError) as gone:
        desk.ask("Is anybody there?")
    assert gone.value.status_code in (502, 503)
    started(desk.upstream)
    desk.up.end(signal.SIGKILL)
    desk.up.start()
    until(lambda: QUESTIONS[0] in desk.kept())
    before = desk.upstream.asked_count
    assert desk.ask(QUESTIONS[0]) == ("answer 0", "hit")
    assert desk.upstream.asked_count == before


def test_counts_near_misses_and_what_the_bound_goes_by_outlive_kill_9(desk: Desk) -> None:
    for question in QUESTIONS:
        desk.ask(question)
    desk.ask(QUESTIONS[0])
    until(lambda: len(desk.get("/misses")["misses"]) == 2)
    judged, left = desk.get("/misses")["misses"]
    done = send_json(desk.up.address, "POST", f"/api/gateway/misses/{judged['id']}", {"is_correct": True})
    assert done.status == 200, done
    before = desk.get()
    assert before["outcomes"] | {"hit": 1, "miss": 1, "explore": 2} == before["outcomes"]
    assert (before["misses"], before["error"]["judged"], before["saved"]["tokens"]) == (1, 1, 12)
    kept = desk.up.site.parent / "data" / "gateway"
    until(lambda: is_kept(kept, before))
    desk.kill_node()
    after = desk.get()
    for name in ("outcomes", "saved", "misses", "error", "similarity_counts", "joined"):
        assert after[name] == before[name], name
    assert sum(sum(row[1:]) for row in after["history"]["rows"]) == 4
    assert desk.get("/misses")["misses"] == [left]
    done = send_json(desk.up.address, "POST", f"/api/gateway/misses/{left['id']}", {"is_correct": True})
    assert done.status == 200, done
    assert desk.get()["error"]["judged"] == 2
    assert send_json(desk.up.address, "POST", "/api/gateway/purge", {"everything": True}).status == 200
    desk.kill_node()
    assert desk.get("/misses")["misses"] == []


def is_kept(folder: Path, told: Any) -> bool:
    """Whether the disk has what the node told."""
    tally, misses = Tally.of(read_part(folder / "counts.json")), NearMisses.of(read_part(folder / "near-misses"))
    watch = json.loads(read_part(folder / "watch.json") or b"{}")
    judged = watch.get("tally", {}).get("judged")
    return (dict(tally.counts), len(misses), judged) == (told["outcomes"], told["misses"], told["error"]["judged"])
