"""A service that is asked while the question is still compared with remembered ones: what is there first is told."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fake_upstream import FakeUpstream, Gate, Scripted, fake_upstream
from gateway_site import ENCODER, SITE, write_encoder, write_gateway_site
from littoral import settings
from littoral.answers.observations import Observations
from littoral.gateway.budgets import Budget
from littoral.gateway.remembered import MISSES_EXPECT
from node_fixture import Served, node_in_thread
from raw_http import Reply, send_json
from supervised import short_folder
from waiting import until

CACHED = (
    SITE.replace("[gateway]\n", '[gateway]\nembedder = "sentences"\n').replace("{{", "{").replace("}}", "}")
    + """
[gateway.cache]
delta = 0.45
observations_min = 1
explore_share = 0.000001
similarity_min = 0.2
judge = "exact"

[gateway.trust]
told = "tenant"
"""
    + ENCODER
    + '[pipelines.sentences]\nsteps = [{ agent = "words" }, { model = "encoder" }]\n'
)
QUESTION = "where does the key of the garden door hang"
KNOWN, FRESH = "on the hook", "on the nail"
BEFORE, AFTER = ("", "well ", "so ", "now "), ("", " please", " then")
WORDINGS = [f"{before}{QUESTION}{after}" for before in BEFORE for after in AFTER]
OUTCOME = "x-littoral-cache"


class Desk(NamedTuple):
    served: Served
    fake: FakeUpstream
    numbers: Iterator[int]

    @property
    def gateway(self) -> Any:
        return self.served.node.gateway

    @property
    def answers(self) -> Any:
        return self.gateway.answers

    def ask(self, question: str, partition: int, **more: Any) -> Reply:
        body = {"model": "large", "max_tokens": partition, "messages": [{"role": "user", "content": question}], **more}
        return send_json(self.served.address, "POST", "/v1/chat/completions", body)

    def until_judged(self, count: int) -> None:
        until(lambda: self.judged_count() >= count and not self.answers.judging.statistics().waiting_bytes)

    def judged_count(self) -> int:
        told = self.answers.judging.statistics()
        return int(told.same + told.other + told.untold)

    def until_kept(self, question: str, partition: int) -> None:
        until(lambda: self.ask(question, partition).headers[OUTCOME] == "hit")
        until(lambda: not self.gateway._finishing)

    def taught(self) -> tuple[int, Iterator[str]]:
        """A partition of its own in which similar questions are told `KNOWN`, and wordings yet to be asked there."""
        partition, wordings = next(self.numbers), iter(WORDINGS)
        self.fake.otherwise = Scripted(KNOWN)
        self.ask(next(wordings), partition)
        self.until_kept(WORDINGS[0], partition)
        for wording in wordings:
            before = self.judged_count()
            if self.ask(wording, partition).headers[OUTCOME] == "semantic":
                self.fake.otherwise = Scripted(FRESH)
                until(lambda: not self.gateway._finishing and not self.fake.busy_count)
                return partition, wordings
            self.until_judged(before + 1)
        raise AssertionError("nothing similar was told")


@contextlib.contextmanager
def place() -> Iterator[tuple[Path, FakeUpstream]]:
    """A folder with all that a node needs, and its service."""
    with (
        fake_upstream() as fake,
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        write_encoder(folder)
        write_gateway_site(folder, CACHED.replace("{url}", fake.url))
        yield folder, fake


@contextlib.contextmanager
def node(folder: Path, fake: FakeUpstream) -> Iterator[Desk]:
    with node_in_thread(folder, site=folder / "site.toml") as served:
        yield Desk(served, fake, iter(range(100, 10_000)))


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with place() as (folder, fake), node(folder, fake) as found:
        taught(found.answers.watch)
        yield found


def taught(watch: Any) -> None:
    """So many similar questions were judged, and all found right, that whatever may be told is told."""
    right = Observations()
    for n in range(8):
        right = right.added(0.8 + n / 50, is_correct=True)
    for n in range(3000):
        decision = watch.decide(right, 0.3 + n % 70 / 100, u=0.9)
        watch.judged(decision._replace(serve=False), is_correct=True)


@contextlib.contextmanager
def held_up(desk: Desk) -> Iterator[Callable[[], None]]:
    """No question has its vector until what is given is called."""
    embed, may_embed = desk.answers.embed, threading.Event()

    async def embed_later(text: str) -> Any:
        await asyncio.to_thread(may_embed.wait, 60)
        return await embed(text)

    desk.answers.embed = embed_later
    try:
        yield may_embed.set
    finally:
        desk.answers.embed = embed
        may_embed.set()


def expects_misses(desk: Desk, partition: int) -> None:
    """As after so many questions of this partition that nothing was told to."""
    missed = desk.answers._missed
    key = next(reversed(missed))
    assert missed[key] == 0, f"partition {partition} told its last question"
    missed[key] = MISSES_EXPECT


def test_the_service_answers_before_a_question_is_compared(desk: Desk) -> None:
    partition = next(desk.numbers)
    desk.fake.otherwise = Scripted(KNOWN)
    desk.ask("who was the first to ask?", partition)
    desk.until_kept("who was the first to ask?", partition)
    desk.fake.otherwise = Scripted(FRESH)
    asked, kept = desk.gateway.tally.ahead.asked, desk.answers.store.stats().kept
    with held_up(desk) as go_on:
        reply = desk.ask("who has the ladder?", partition, stream=True)
        assert (reply.status, reply.headers[OUTCOME]) == (200, "miss")
        assert desk.gateway.tally.ahead.asked == asked + 1
        assert desk.answers.store.stats().kept == kept
        go_on()
        until(lambda: desk.answers.store.stats().kept == kept + 1)


@contextlib.contextmanager
def embedded(desk: Desk) -> Iterator[list[str]]:
    """What of its questions got a vector meanwhile."""
    embed, found = desk.answers.embed, []

    async def embed_and_tell(text: str) -> Any:
        found.append(text)
        return await embed(text)

    desk.answers.embed = embed_and_tell
    try:
        yield found
    finally:
        desk.answers.embed = embed


def test_the_first_question_of_a_partition_has_a_vector_when_another_one_comes(desk: Desk) -> None:
    partition, (first, second, third, *_) = next(desk.numbers), WORDINGS
    desk.fake.otherwise = Scripted(KNOWN)
    with embedded(desk) as vectors:
        assert desk.ask(first, partition).headers[OUTCOME] == "miss"
        desk.until_kept(first, partition)
        assert vectors == []
        desk.ask(second, partition)
        desk.until_kept(second, partition)
        assert sorted(vectors) == sorted([first, second])
        desk.ask(third, partition)
        until(lambda: not desk.gateway._finishing)
        assert vectors[2:] == [third]


def test_who_asks_why_is_told_of_questions_that_had_no_vector_yet(desk: Desk) -> None:
    partition = next(desk.numbers)
    desk.fake.otherwise = Scripted(KNOWN)
    question = "which of the wells is the deepest"
    desk.ask(question, partition)
    desk.until_kept(question, partition)
    body = {"model": "large", "question": question}
    told = send_json(desk.served.address, "POST", "/api/gateway/explain", body).json
    assert [one["question"] for one in told["elsewhere"]][:1] == [question]
    assert told["elsewhere"][0]["similarity"] == pytest.approx(1, abs=1e-3)


def test_a_question_without_a_vector_has_one_after_a_restart() -> None:
    question, other = WORDINGS[:2]
    with place() as (folder, fake):
        fake.otherwise = Scripted(KNOWN)
        with node(folder, fake) as before:
            before.ask(question, 7)
            before.until_kept(question, 7)
        with node(folder, fake) as after:
            after.ask(other, 7)
            until(lambda: after.judged_count() == 1)  # held against that of the one before


def test_a_remembered_answer_that_is_there_first_ends_the_request_at_the_service(desk: Desk) -> None:
    partition, wordings = desk.taught()
    expects_misses(desk, partition)
    before, spent, left = desk.gateway.tally.ahead, desk.gateway.tally.saved.spent_tokens, desk.fake.left_count
    desk.fake.script(Scripted(gate=Gate()))
    reply = desk.ask(next(wordings), partition)
    assert reply.headers[OUTCOME] == "semantic"
    assert KNOWN in reply.body.decode()
    until(lambda: desk.fake.left_count == left + 1)
    until(lambda: desk.gateway.tally.ahead.given_up == before.given_up + 1)
    assert desk.gateway.tally.saved.spent_tokens > spent, "the service may bill what it read"
    asked = desk.fake.asked_count
    assert desk.ask(next(wordings), partition).headers[OUTCOME] == "semantic"
    assert desk.fake.asked_count == asked, "one was told: the next one is expected to be"


def test_what_was_outrun_is_none_of_what_is_told(desk: Desk) -> None:
    partition, wordings = desk.taught()
    expects_misses(desk, partition)
    before, outrun, count = desk.answers.watch.statistics(), desk.gateway.tally.ahead.outrun, desk.judged_count()
    with held_up(desk) as go_on:
        reply = desk.ask(next(wordings), partition)
        assert (reply.headers[OUTCOME], FRESH in reply.body.decode()) == ("miss", True)
        go_on()
        until(lambda: desk.gateway.tally.ahead.outrun == outrun + 1)
        desk.until_judged(count + 1)
    now = desk.answers.watch.statistics()
    assert now == before._replace(requests=before.requests + 1), "it was judged for its entry alone"


def test_a_service_that_fails_leaves_what_is_remembered(desk: Desk) -> None:
    partition, wordings = desk.taught()
    expects_misses(desk, partition)
    desk.fake.script(Scripted(status=400, body=b'{"error": {"message": "no"}}', gate=Gate()))
    assert desk.ask(next(wordings), partition).headers[OUTCOME] == "semantic"


def test_who_has_no_budget_left_is_told_what_is_remembered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    partition, wordings = desk.taught()
    expects_misses(desk, partition)
    budgets, asked = desk.gateway.budgets, desk.fake.asked_count
    monkeypatch.setattr(budgets, "budget", Budget(tokens_per_day=0.0))
    assert not budgets.may_spend
    assert desk.ask(next(wordings), partition).headers[OUTCOME] == "semantic"
    assert desk.fake.asked_count == asked


@pytest.mark.parametrize(("ask_ahead", "is_asked"), [("never", False), ("unlikely", False), ("always", True)])
def test_whether_it_is_asked_is_said_in_the_site_file(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, ask_ahead: str, is_asked: bool
) -> None:
    partition, wordings = desk.taught()
    monkeypatch.setattr(desk.answers, "options", desk.answers.options._replace(ask_ahead=ask_ahead))
    asked = desk.gateway.tally.ahead.asked
    desk.fake.script(Scripted(gate=Gate()))
    assert desk.ask(next(wordings), partition).headers[OUTCOME] == "semantic"
    assert desk.gateway.tally.ahead.asked == asked + is_asked
    desk.fake.scripts.clear()


def test_identical_questions_beside_one_that_is_told_get_the_services_answer(desk: Desk) -> None:
    """They joined before it was: the request goes on for them."""
    partition, wordings = desk.taught()
    expects_misses(desk, partition)
    gate, wording, joined = Gate(), next(wordings), desk.gateway.tally.joined_count
    desk.fake.script(Scripted(FRESH, gate=gate))
    with held_up(desk) as go_on, ThreadPoolExecutor(2) as pool:
        first = pool.submit(desk.ask, wording, partition)
        until(lambda: gate.waiting_count == 1)
        second = pool.submit(desk.ask, wording, partition)
        until(lambda: desk.gateway.tally.joined_count == joined + 1)
        go_on()
        assert first.result().headers[OUTCOME] == "semantic"
        gate.open()
        assert FRESH in second.result().body.decode()


def test_an_answer_that_was_told_before_a_restart_is_labelled_after_it_once() -> None:
    path = "/v1/littoral/feedback"
    with place() as (folder, fake):
        with node(folder, fake) as before:
            taught(before.answers.watch)
            partition, wordings = before.taught()
            told = [before.ask(next(wordings), partition).headers["x-littoral-answer-id"] for _ in range(2)]
            label = {"id": told[0], "is_correct": False}
            assert send_json(before.served.address, "POST", path, label).status == 200
        with node(folder, fake) as after:
            assert send_json(after.served.address, "POST", path, label).status == 409
            assert send_json(after.served.address, "POST", path, label | {"id": told[1]}).status == 200
            assert after.answers.watch.statistics().checking > 0
