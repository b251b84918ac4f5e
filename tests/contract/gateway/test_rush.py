"""A partition that begins with many different questions at once: it learns from what could be compared, and tells."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from fake_upstream import FakeUpstream, Gate, Scripted, fake_upstream
from gateway_site import ENCODER, SITE, write_encoder, write_gateway_site
from littoral import settings
from littoral.errors import UnavailableError
from node_fixture import Served, node_in_thread
from raw_http import Reply, send_json
from supervised import short_folder
from waiting import until

RUSHED = (
    SITE.replace("[gateway]\n", '[gateway]\nembedder = "sentences"\n').replace("{{", "{").replace("}}", "}")
    + """
[gateway.cache]
delta = 0.45
observations_min = 1
explore_share = 0.000001
similarity_min = 0.2
judge = "exact"
judge_waiting_max = 1000

[gateway.trust]
told = "tenant"
"""
    + ENCODER
    + '[pipelines.sentences]\nsteps = [{ agent = "words" }, { model = "encoder" }]\n'
)
CLIENTS = 8
EMBEDDED_OF_RUSH = 3
"""One question of so many gets its vector: the others come while there is no room for them."""

AT_ONCE = 3 * CLIENTS
"""Fewer than the 64 that may wait for the encoder, so that it is counted and not timed which have no room."""

KNOWN = "on the hook"
BEFORE = ("", "well ", "so ", "now ", "please ", "hello, ", "quickly: ", "do say ")
ASKED = ("where is the key", "where the key is", "where hangs the key", "where do you keep the key")
PLACE = ("of the house", "to the house", "for the house", "of our house")
END = ("", " now", " today", " again", " then")
QUESTIONS = [f"{a}{b} {c}{d}" for d in END for c in PLACE for b in ASKED for a in BEFORE]
OTHER_WORDS = [f"{question}, I ask" for question in QUESTIONS[::5]]

Embed = Callable[[str], Any]


class Desk(NamedTuple):
    served: Served
    fake: FakeUpstream
    partitions: Iterator[int]

    @property
    def gateway(self) -> Any:
        return self.served.node.gateway

    @property
    def answers(self) -> Any:
        return self.gateway.answers

    def ask(self, question: str, partition: int) -> Reply:
        body = {"model": "large", "max_tokens": partition, "messages": [{"role": "user", "content": question}]}
        return send_json(self.served.address, "POST", "/v1/chat/completions", body)

    def ask_at_once(self, questions: Sequence[str], partition: int) -> Counter[str]:
        """What the cache said to each."""
        said = Counter[str]()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for begin in range(0, len(questions), AT_ONCE):
                said.update(pool.map(lambda one: self.said(one, partition), questions[begin : begin + AT_ONCE]))
                self.until_kept()
        return said

    def said(self, question: str, partition: int) -> str:
        reply = self.ask(question, partition)
        assert reply.status == 200, reply.body
        return reply.headers["x-littoral-cache"]

    def until_kept(self) -> None:
        """All that was answered is kept, judged and learned."""
        until(lambda: not self.gateway._finishing and not self.answers.judging.statistics().waiting_bytes)

    def begin(self, question: str) -> int:
        """A partition of its own, in which this one was asked."""
        partition = next(self.partitions)
        assert self.said(question, partition) == "miss"
        self.until_kept()
        return partition

    @contextlib.contextmanager
    def embedded_by(self, instead: Callable[[Embed], Embed]) -> Iterator[None]:
        embed = self.answers.embed
        self.answers.embed = instead(embed)
        try:
            yield
        finally:
            self.answers.embed = embed


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with (
        fake_upstream() as fake,
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        write_encoder(folder)
        write_gateway_site(folder, RUSHED.replace("{url}", fake.url))
        fake.otherwise = Scripted(KNOWN)
        with node_in_thread(folder, site=folder / "site.toml") as served:
            yield Desk(served, fake, itertools.count(100))


def test_all_who_come_while_the_first_question_gets_its_vector_are_compared_with_it(desk: Desk) -> None:
    first, *others = QUESTIONS[: CLIENTS + 1]
    gate, embedded = Gate(), list[str]()

    def held(embed: Embed) -> Embed:
        async def embed_and_tell(text: str) -> Any:
            if text == first:
                await gate.wait()
            found = await embed(text)
            embedded.append(text)
            return found

        return embed_and_tell

    partition = desk.begin(first)
    kept, judged = desk.answers.store.stats().kept, desk.answers.judging.statistics()
    with desk.embedded_by(held), ThreadPoolExecutor(1) as pool:
        rush = pool.submit(desk.ask_at_once, others, partition)
        try:
            until(lambda: gate.waiting_count > 0 and sorted(embedded) == sorted(others))
        finally:
            gate.open()
        rush.result()
    assert desk.answers.judging.statistics()._replace(same=judged.same) == judged
    assert desk.answers.judging.statistics().same == judged.same + CLIENTS
    assert desk.answers.store.stats().kept == kept, "what is answered alike teaches the first one, and is none beside"


def test_what_had_no_room_is_left_but_for_the_first_question(desk: Desk) -> None:
    first, second, third = QUESTIONS[:3]
    asked = list[str]()

    def refusing(_: Embed) -> Embed:
        async def refuse(_: str) -> Any:
            raise UnavailableError("no room for another question", retry_after_s=1.0)

        return refuse

    def told(embed: Embed) -> Embed:
        async def embed_and_tell(text: str) -> Any:
            asked.append(text)
            return await embed(text)

        return embed_and_tell

    partition = desk.begin(first)
    with desk.embedded_by(refusing):
        desk.ask_at_once([second], partition)
    with desk.embedded_by(told):
        desk.ask_at_once([third], partition)
    assert sorted(asked) == sorted([first, third])


def test_a_partition_that_begins_with_a_rush_learns_and_tells(desk: Desk) -> None:
    asked, rush = Counter[str](), itertools.count(1)

    def narrow(embed: Embed) -> Embed:
        async def embed_or_refuse(text: str) -> Any:
            asked[text] += 1
            if next(rush) % EMBEDDED_OF_RUSH:
                raise UnavailableError("no room for another question", retry_after_s=1.0)
            return await embed(text)

        return embed_or_refuse

    first, *others = QUESTIONS
    partition, judged = desk.begin(first), desk.answers.judging.statistics()
    with desk.embedded_by(narrow):
        said = desk.ask_at_once(others, partition)
    again = {text: times for text, times in asked.items() if times > 1 and text != first}
    assert not again, "to make up for what had no room would add to the rush"
    compared = desk.answers.judging.statistics().same - judged.same + said["semantic"]
    assert compared > len(others) // EMBEDDED_OF_RUSH - AT_ONCE, "what had room was compared"
    said = Counter(desk.said(question, partition) for question in OTHER_WORDS)
    assert said["semantic"] > len(OTHER_WORDS) // 2, said
