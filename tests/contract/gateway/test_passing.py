"""The package `openai`, as it is, through a node to a service: whole and streamed, and what goes wrong on the way."""

from collections.abc import Iterator

import openai
import pytest

from fake_upstream import Gate, Scripted
from gateway_site import KEY, SITE, Gatewayed, gatewayed_node
from raw_http import send
from waiting import until

ASK = [{"role": "user", "content": "where is the key?"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "open_door", "arguments": '{"floor": 3, "wing": "b"}'}}


@pytest.fixture(scope="module")
def node() -> Iterator[Gatewayed]:
    with gatewayed_node(SITE + "[gateway.cache]\nenabled = false\n") as found:
        yield found


@pytest.fixture
def client(node: Gatewayed) -> Iterator[openai.OpenAI]:
    node.fake.asked.clear()
    node.fake.scripts.clear()
    with node.client() as client:
        yield client


def test_a_chat_is_what_the_service_says(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(Scripted("on the shelf"))
    told = client.chat.completions.with_raw_response.create(model="large", messages=ASK, temperature=0.5, seed=3)
    answer = told.parse()
    assert answer.choices[0].message.content == "on the shelf"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 12
    assert told.headers["x-littoral-upstream"] == "cloud"
    assert node.fake.bodies() == [{"model": "large", "messages": ASK, "temperature": 0.5, "seed": 3}]


def test_a_stream_is_what_the_service_says(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(Scripted("one two three"))
    with client.chat.completions.create(model="large", messages=ASK, stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)


def test_a_stream_ends_with_its_tokens_where_they_are_asked_for(node: Gatewayed, client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="large", messages=ASK, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5


def test_tools_are_called_whole_and_streamed(node: Gatewayed, client: openai.OpenAI) -> None:
    tools = [{"type": "function", "function": {"name": "open_door", "parameters": {"type": "object"}}}]
    node.fake.script(Scripted(tool_calls=[CALL]), Scripted(tool_calls=[CALL]))
    whole = client.chat.completions.create(model="large", messages=ASK, tools=tools)
    assert whole.choices[0].message.tool_calls[0].function.arguments == CALL["function"]["arguments"]
    with client.chat.completions.create(model="large", messages=ASK, tools=tools, stream=True) as stream:
        parts = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or ()]
    assert "".join(part.function.arguments for part in parts) == CALL["function"]["arguments"]
    assert parts[0].function.name == "open_door"


def test_completions(node: Gatewayed, client: openai.OpenAI) -> None:
    assert client.completions.create(model="large", prompt="once upon").choices[0].text == "again: once upon"
    with client.completions.create(model="large", prompt="once upon", stream=True) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream) == "again: once upon"


def test_a_model_is_asked_by_the_name_that_the_service_knows(node: Gatewayed, client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model="quick", messages=ASK).model == "small"


def test_the_first_word_comes_before_the_second_is_there(node: Gatewayed, client: openai.OpenAI) -> None:
    gate = Gate()
    node.fake.script(Scripted("one two", gate=gate, gate_after=2))
    with client.chat.completions.create(model="large", messages=ASK, stream=True) as stream:
        said = ""
        while not said:
            said += next(stream).choices[0].delta.content or ""
        assert said == "one "
        gate.open()
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "two"


def test_secrets_do_not_meet(node: Gatewayed, client: openai.OpenAI) -> None:
    told = client.chat.completions.with_raw_response.create(model="large", messages=ASK)
    (sent,) = node.fake.asked
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert not [value for value in sent.headers.values() if "caller" in value]
    assert KEY not in str(told.headers) + told.text


def test_a_service_that_refuses_the_nodes_key_does_not_show_it(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(Scripted(status=401, body=f'{{"error": {{"message": "wrong key {KEY}"}}}}'.encode()))
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="large", messages=ASK)
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_key"
    assert KEY not in caught.value.response.text


def test_what_a_service_says_of_a_wrong_request_is_told(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(Scripted(status=400, body=b'{"error": {"message": "no such voice", "code": "bad", "param": "v"}}'))
    with pytest.raises(openai.BadRequestError, match="no such voice") as caught:
        client.chat.completions.create(model="large", messages=ASK)
    assert (caught.value.code, caught.value.param) == ("bad", "v")
    assert len(node.fake.asked) == 1


def test_a_service_that_fails_is_asked_again(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(Scripted(status=503), Scripted("now"))
    assert client.chat.completions.create(model="large", messages=ASK).choices[0].message.content == "now"
    node.fake.script(Scripted(cut_after=0), Scripted("and now"))
    with client.chat.completions.create(model="large", messages=ASK, stream=True) as stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "and now"
    assert len(node.fake.asked) == 4


def test_a_stream_that_is_cut_off_says_so(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(Scripted("one two three", cut_after=3))
    with client.chat.completions.create(model="large", messages=ASK, stream=True) as stream:
        assert "".join(next(stream).choices[0].delta.content or "" for _ in range(3)) == "one two "
        with pytest.raises(openai.APIError, match="cut off"):
            next(stream)
    assert len(node.fake.asked) == 1


def test_who_goes_away_ends_the_request_at_the_service(node: Gatewayed, client: openai.OpenAI) -> None:
    gate, before = Gate(), node.fake.left_count
    node.fake.script(Scripted("one two", gate=gate, gate_after=2))
    stream = client.chat.completions.create(model="large", messages=ASK, stream=True)
    next(iter(stream))
    stream.close()
    until(lambda: node.fake.left_count == before + 1)
    assert node.fake.busy_count == 0


def test_a_model_that_nobody_has(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="enormous", messages=ASK)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("chat/completions", b" ", "body: is empty"),
        ("chat/completions", b'{"model": "large"}', "`messages` is missing or empty"),
        ("chat/completions", b'{"model": "large", "messages": "hello"}', "of type str, must be a list of messages"),
        ("completions", b'{"model": "large", "prompt": 5}', "of type int, must be a text, a list of texts"),
    ],
)
def test_a_request_that_is_none_says_what_it_must_be(node: Gatewayed, path: str, body: bytes, words: str) -> None:
    reply = send(node.served.address, "POST", f"/v1/{path}", body)
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
    assert words in reply.json["error"]["message"]
