"""A caller that waits for a short time only: its own wait ends, and nobody else's."""

import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from fake_upstream import Gate, Scripted
from gateway_site import Gatewayed, gatewayed_node
from waiting import until

SHORT = {"littoral-deadline-ms": "100"}


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
    return client.chat.completions.create(model="large", messages=[{"role": "user", "content": content}], **more)


@pytest.mark.parametrize("is_stream", [False, True])
def test_who_joins_an_impatient_request_waits_for_as_long_as_it_wants(
    node: Gatewayed, client: openai.OpenAI, is_stream: bool
) -> None:
    gate, found = Gate(), list[str]()
    node.fake.script(Scripted("in the end", gate=gate), Scripted("never asked"))

    def impatient() -> None:
        with pytest.raises(openai.APIStatusError, match="before the deadline of this request"):
            ask(client, f"how long {is_stream}?", stream=is_stream, extra_headers={"littoral-deadline-ms": "3000"})

    def patient() -> None:
        found.append(ask(client, f"how long {is_stream}?").choices[0].message.content)

    first, second = threading.Thread(target=impatient), threading.Thread(target=patient)
    first.start()
    until(lambda: len(node.fake.asked) == 1)
    second.start()
    first.join()
    gate.open()
    second.join()
    assert found == ["in the end"]
    assert len(node.fake.asked) == 1


def test_impatience_is_no_failure_of_the_service(node: Gatewayed, client: openai.OpenAI) -> None:
    gate = Gate()
    node.fake.script(*(Scripted(gate=gate) for _ in range(12)))
    for number in range(12):
        with pytest.raises(openai.APIStatusError) as caught:
            ask(client, f"impatient {'abcdefghijkl'[number]}", extra_headers=SHORT)
        assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    gate.open()
    gateway = node.served.node.gateway
    assert gateway is not None
    (seat,) = gateway.upstreams.seats
    assert (seat.breaker.state, seat.failures) == ("closed", 0)
    node.fake.scripts.clear()
    node.fake.script(Scripted("at once"))
    assert ask(client, "patient").choices[0].message.content == "at once"


def test_a_stream_that_has_begun_ends_at_its_deadline(node: Gatewayed, client: openai.OpenAI) -> None:
    gate, before = Gate(), node.fake.left_count
    node.fake.script(Scripted("one two three", gate=gate, gate_after=2))
    stream = ask(client, "how far?", stream=True, extra_headers={"littoral-deadline-ms": "2000"})
    said = []
    with stream, pytest.raises(openai.APIError, match="before the deadline of this request"):
        said.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    until(lambda: node.fake.left_count == before + 1)
    gate.open()
