"""What is told again to whom, in which order, and what the headers say of it."""

import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from fake_upstream import Gate, Scripted, started, stopped
from gateway_site import SITE, Gatewayed, gatewayed_node
from waiting import until


def asked(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


@pytest.fixture(scope="module")
def node() -> Iterator[Gatewayed]:
    with gatewayed_node() as found:
        yield found


@pytest.fixture
def client(node: Gatewayed) -> Iterator[openai.OpenAI]:
    node.fake.asked.clear()
    node.fake.scripts.clear()
    with node.client() as client:
        yield client


def ask(client: openai.OpenAI, content: str, **more: Any) -> Any:
    """Its text and headers."""
    told = client.chat.completions.with_raw_response.create(model="large", messages=asked(content), **more)
    return told.parse().choices[0].message.content, told.headers


def streamed(client: openai.OpenAI, content: str, **more: Any) -> Any:
    told = client.chat.completions.with_raw_response.create(model="large", messages=asked(content), stream=True, **more)
    with told.parse() as stream:
        return list(stream), told.headers


def said(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_the_same_request_is_answered_once(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(Scripted("on the shelf"))
    assert ask(client, "where is the key?")[1]["x-littoral-cache"] == "miss"
    for _ in range(3):
        text, headers = ask(client, "where is the key?")
        assert text == "on the shelf"
        assert headers["x-littoral-cache"] == "hit"
        assert int(headers["age"]) >= 0
    assert len(node.fake.asked) == 1


def test_a_remembered_answer_is_streamed_as_such(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(Scripted("left of the stairs, " * 30))
    ask(client, "where is the lamp?")
    for _ in range(2):
        chunks, headers = streamed(client, "where is the lamp?", stream_options={"include_usage": True})
        assert headers["x-littoral-cache"] == "hit"
        assert headers["content-type"].startswith("text/event-stream")
        assert said(chunks) == "left of the stairs, " * 30
        assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
        assert chunks[-1].usage.total_tokens == 12
    chunks, _ = streamed(client, "where is the lamp?")
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert len(node.fake.asked) == 1


def test_a_streamed_answer_is_remembered_whole(node: Gatewayed, client: openai.OpenAI) -> None:
    chunks, headers = streamed(client, "who has the map?")
    assert headers["x-littoral-cache"] == "miss"
    text, headers = ask(client, "who has the map?")
    assert text == said(chunks) == "again: who has the map?"
    assert headers["x-littoral-cache"] == "hit"
    assert len(node.fake.asked) == 1


def test_identical_requests_under_way_are_asked_once(node: Gatewayed, client: openai.OpenAI) -> None:
    gate = Gate()
    node.fake.script(Scripted("one two three", gate=gate, gate_after=2))
    stream = client.chat.completions.create(model="large", messages=asked("join?"), stream=True)
    chunks = iter(stream)
    told = ""
    while not told:
        told += next(chunks).choices[0].delta.content or ""
    assert told == "one "
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(client, "join?")[0])),
        threading.Thread(target=lambda: found.append(said(streamed(client, "join?")[0]))),
    ]
    for thread in threads:
        thread.start()
    gateway = node.served.node.gateway
    assert gateway is not None
    until(lambda: gateway.tally.joined_count >= 2)
    gate.open()
    for thread in threads:
        thread.join()
    assert found == ["one two three"] * 2
    assert told + said(list(chunks)) == "one two three"
    assert len(node.fake.asked) == 1


def test_who_joined_gets_the_answer_when_the_first_goes_away(node: Gatewayed, client: openai.OpenAI) -> None:
    gate, before = Gate(), node.fake.left_count
    node.fake.script(Scripted("one two", gate=gate, gate_after=2))
    first = client.chat.completions.create(model="large", messages=asked("leave?"), stream=True)
    next(iter(first))
    second = client.chat.completions.create(model="large", messages=asked("leave?"), stream=True)
    next(iter(second))
    first.close()
    gate.open()
    assert said(list(second)) == "one two"
    assert node.fake.left_count == before
    assert len(node.fake.asked) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 1.5},
        {"n": 2},
        {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]},
        {"extra_headers": {"cache-control": "no-store"}},
    ],
)
def test_by_rule_it_is_off(node: Gatewayed, client: openai.OpenAI, more: Any) -> None:
    for _ in range(2):
        assert ask(client, "what now?", **more)[1]["x-littoral-cache"] == "off"
    assert len(node.fake.asked) == 2


def test_no_cache_asks_anew_and_remembers(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(Scripted("old"), Scripted("new"))
    ask(client, "what is new?")
    fresh = {"cache-control": "no-cache"}
    assert ask(client, "what is new?", extra_headers=fresh)[0] == "new"
    until(lambda: ask(client, "what is new?")[0] == "new")
    assert len(node.fake.asked) == 2


def test_a_model_is_found_by_its_name_also_where_a_pattern_takes_it(client: openai.OpenAI) -> None:
    assert [client.models.retrieve(name).owned_by for name in ("large", "quick", "small-of-next-year")] == ["cloud"] * 3
    with pytest.raises(openai.NotFoundError, match="`of-nobody` is none of this gateway's") as caught:
        client.models.retrieve("of-nobody")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_only_if_cached_asks_nobody(node: Gatewayed, client: openai.OpenAI) -> None:
    only = {"cache-control": "only-if-cached"}
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, "what is known?", extra_headers=only)
    assert caught.value.status_code == 504
    ask(client, "what is known?")
    assert ask(client, "what is known?", extra_headers=only)[1]["x-littoral-cache"] == "hit"
    assert len(node.fake.asked) == 1


def test_max_age_bounds_what_is_told_again(node: Gatewayed, client: openai.OpenAI) -> None:
    ask(client, "how old?")
    assert ask(client, "how old?", extra_headers={"cache-control": "max-age=600"})[1]["x-littoral-cache"] == "hit"
    assert ask(client, "how old?", extra_headers={"cache-control": "max-age=0"})[1]["x-littoral-cache"] == "miss"


def test_answers_that_were_cut_short_are_not_remembered(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(Scripted("it is lo", finish="length"), Scripted("it is long"))
    ask(client, "how long?")
    assert ask(client, "how long?")[0] == "it is long"
    assert len(node.fake.asked) == 2


def test_other_models_and_prompts_have_answers_of_their_own(node: Gatewayed, client: openai.OpenAI) -> None:
    ask(client, "whose?")
    prompts = [{"role": "system", "content": "be brief"}, *asked("whose?")]
    for model, messages in (("small", asked("whose?")), ("large", prompts)):
        told = client.chat.completions.with_raw_response.create(model=model, messages=messages)
        assert told.headers["x-littoral-cache"] == "miss"
    assert len(node.fake.asked) == 3


def test_without_its_service_a_node_tells_what_it_has(node: Gatewayed, client: openai.OpenAI) -> None:
    ask(client, "still there?")
    stopped(node.fake)
    try:
        assert ask(client, "still there?")[1]["x-littoral-cache"] == "hit"
        with pytest.raises(openai.APIStatusError) as caught:
            ask(client, "anybody?")
        assert caught.value.status_code == 502
        assert caught.value.code == "upstream_connect"
    finally:
        started(node.fake)


STALE = """
[gateway.cache]
ttl_s = 1
stale_if_error_s = 600
hot_mb = 0
"""


def test_an_answer_that_is_too_old_is_told_where_no_service_answers() -> None:
    with gatewayed_node(SITE + STALE) as node, node.client() as client:
        ask(client, "how late?")
        until(lambda: ask(client, "how late?")[1]["x-littoral-cache"] == "miss")
        stopped(node.fake)
        until(lambda: ask(client, "how late?")[1]["x-littoral-cache"] == "stale")
        text, headers = ask(client, "how late?")
        assert (text, headers["x-littoral-cache"]) == ("again: how late?", "stale")
        assert int(headers["age"]) >= 1
        started(node.fake)
