"""What services say in other ways than OpenAI's: how streams begin and are cut, errors with status 200, secrets."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from fake_upstream import Scripted
from gateway_site import KEY, SITE, Gatewayed, gatewayed_node
from littoral.clock import SYSTEM
from littoral.gateway.breaker import Breaker, BreakerOptions

EVENTS = {"content-type": "text/event-stream"}
HEADER = "org/of-the-header-42"
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "large"}
EMPTY = {
    "id": "",
    "object": "",
    "created": 0,
    "model": "",
    "choices": [],
    "prompt_filter_results": [{"prompt_index": 0}],
}


@pytest.fixture(scope="module")
def node() -> Iterator[Gatewayed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_HEADER_OF_A_SERVICE", HEADER)
        with gatewayed_node(SITE + 'headers_env = {{ x-org = "A_HEADER_OF_A_SERVICE" }}\n') as found:
            yield found


@pytest.fixture
def client(node: Gatewayed) -> Iterator[openai.OpenAI]:
    node.fake.asked.clear()
    node.fake.scripts.clear()
    gateway = node.served.node.gateway
    assert gateway is not None
    for seat in gateway.upstreams.seats:  # of the errors of another test
        seat.breaker = Breaker(BreakerOptions(), SYSTEM)
    with node.client() as client:
        yield client


def delta(text: str | None, finish: str | None = None) -> dict[str, Any]:
    given = {} if text is None else {"role": "assistant", "content": text}
    return HEAD | {"choices": [{"index": 0, "delta": given, "finish_reason": finish}]}


def stream_of(*payloads: Any) -> Scripted:
    data = b"".join(b"data: " + json.dumps(one, ensure_ascii=False).encode() + b"\n\n" for one in payloads)
    return Scripted(body=data + b"data: [DONE]\n\n", headers=EVENTS)


def asked(client: openai.OpenAI, question: str) -> tuple[str, list[Any]]:
    """What `x-littoral-cache` says, and the chunks of a stream."""
    told = client.chat.completions.with_raw_response.create(
        model="large", messages=[{"role": "user", "content": question}], stream=True
    )
    with told.parse() as stream:
        return told.headers["x-littoral-cache"], list(stream)


def said(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_stream_that_begins_with_an_empty_head_is_told_again_as_a_chat(
    node: Gatewayed, client: openai.OpenAI
) -> None:
    node.fake.script(stream_of(EMPTY, delta("on the shelf"), delta(None, "stop")))
    assert said(asked(client, "where?")[1]) == "on the shelf"
    node.fake.script(Scripted("never asked"))
    for _ in range(2):
        outcome, chunks = asked(client, "where?")
        assert (outcome, said(chunks)) == ("hit", "on the shelf")
        assert {(chunk.id, chunk.object, chunk.model) for chunk in chunks if chunk.choices} <= {
            ("c1", "chat.completion.chunk", "large")
        }
    whole = client.chat.completions.create(model="large", messages=[{"role": "user", "content": "where?"}])
    assert (whole.id, whole.object, whole.choices[0].message.content) == ("c1", "chat.completion", "on the shelf")
    assert len(node.fake.asked) == 1


def test_an_event_of_several_lines_is_told_in_one(node: Gatewayed, client: openai.OpenAI) -> None:
    lines = json.dumps(delta("two\nlines", "stop"), indent=1).encode().split(b"\n")
    body = b"".join(b"data: " + line + b"\n" for line in lines) + b"\ndata: [DONE]\n\n"
    node.fake.script(Scripted(body=body, headers=EVENTS))
    assert said(asked(client, "in lines?")[1]) == "two\nlines"


@pytest.mark.parametrize(
    "first",
    [
        b'data: {"error": {"message": "overloaded", "code": 503}}\n\n',
        b'data: {"error": "overloaded"}\n\n',
        b': comment\n\ndata: {"error": {"message": "no", "type": "server_error", "code": null}}\n\n',
        b": only a comment\n\n",
    ],
)
def test_a_stream_whose_first_event_is_an_error_is_tried_again(
    node: Gatewayed, client: openai.OpenAI, first: bytes
) -> None:
    node.fake.script(Scripted(body=first, headers=EVENTS), Scripted("at the second try"))
    assert said(asked(client, f"again after {first!r}?")[1]) == "at the second try"
    assert len(node.fake.asked) == 2


@pytest.mark.parametrize("body", [b'{"error": {"message": "overloaded", "code": 502}}', b'{"error": "overloaded"}'])
def test_an_error_with_status_200_is_tried_again(node: Gatewayed, client: openai.OpenAI, body: bytes) -> None:
    node.fake.script(Scripted(body=body), Scripted("at the second try"))
    told = client.chat.completions.create(model="large", messages=[{"role": "user", "content": f"{body!r}?"}])
    assert told.choices[0].message.content == "at the second try"


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("said", ['"type": "x", "code": 400', '"type": "invalid_request_error", "code": null'])
def test_a_wrong_request_that_is_told_with_status_200_is_one(
    node: Gatewayed, client: openai.OpenAI, is_stream: bool, said: str
) -> None:
    body = b'{"error": {"message": "too long a prompt", %b}}' % said.encode()
    node.fake.script(Scripted(body=b"data: %b\n\n" % body, headers=EVENTS) if is_stream else Scripted(body=body))
    with pytest.raises(openai.BadRequestError, match="too long a prompt"):
        client.chat.completions.create(
            model="large", messages=[{"role": "user", "content": "too long?"}], stream=is_stream
        )
    assert len(node.fake.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 422])
def test_what_a_service_says_of_its_headers_is_not_told(node: Gatewayed, client: openai.OpenAI, status: int) -> None:
    shown = f"{KEY} {HEADER} {HEADER.replace('/', chr(92) + '/')}"
    node.fake.script(Scripted(status=status, body=f'{{"error": {{"message": "bad heads: {shown}"}}}}'.encode()))
    with pytest.raises(openai.APIStatusError, match=r"bad heads: \*\*\* \*\*\* \*\*\*") as caught:
        client.chat.completions.create(model="large", messages=[{"role": "user", "content": "who?"}])
    assert caught.value.status_code == status


def test_an_error_amid_a_stream_shows_no_secret(node: Gatewayed, client: openai.OpenAI) -> None:
    node.fake.script(stream_of(delta("half"), {"error": {"message": f"broke: {KEY} {HEADER}"}}))
    with pytest.raises(openai.APIError, match=r"broke: \*\*\* \*\*\*"):
        asked(client, "amid?")


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_repeats_the_key_is_told_and_kept_without(
    node: Gatewayed, client: openai.OpenAI, is_stream: bool
) -> None:
    node.fake.script(Scripted(f"you sent {KEY} here"))
    for _ in range(2):
        told = client.chat.completions.with_raw_response.create(
            model="large", messages=[{"role": "user", "content": f"echo {is_stream}?"}], stream=is_stream
        )
        text = told.http_response.read().decode()
        assert KEY not in text
        assert "***" in text
