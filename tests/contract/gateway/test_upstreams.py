"""Several services: weights, patterns, what is tried again and what is not, and who is left in peace."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import msgspec
import pytest

from fake_upstream import FakeUpstream, Gate, Scripted, fake_upstream, stopped
from littoral.clock import SYSTEM
from littoral.errors import NotFoundError, UnavailableError, UpstreamError
from littoral.gateway.breaker import Breaker, BreakerOptions
from littoral.gateway.flights import Flights
from littoral.gateway.upstream import Secret, Upstream
from littoral.gateway.upstream_http import HttpService
from littoral.gateway.upstreams import Outgoing, Retries, Upstreams
from littoral.testing.clock import SimulatedClock
from waiting import until_async

BODY = {"model": "large", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def fakes() -> Iterator[tuple[FakeUpstream, FakeUpstream]]:
    with fake_upstream() as one, fake_upstream() as other:
        yield one, other


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with HttpService.open() as service:
        yield service


def outgoing(model: str = "large", within_s: float = 60.0, **more: bool) -> Outgoing:
    body = BODY | ({"stream": True} if (is_stream := more.get("is_stream", False)) else {})
    data = msgspec.json.encode(body)
    return Outgoing("/chat/completions", body, data, model, is_stream, SYSTEM.monotonic() + within_s)


def upstreams(service: HttpService, *of: Upstream, retries: Retries | None = None) -> Upstreams:
    return Upstreams(service, of, clock=SYSTEM, rng=random.Random(7), retries=retries)


def at(fake: FakeUpstream, name: str, **more: object) -> Upstream:
    return Upstream(name, fake.url, **more)  # type: ignore[arg-type]


async def asked(found: Upstreams, request: Outgoing) -> str:
    async with found.ask(request) as begun:
        return begun.upstream.name


Pair = tuple[FakeUpstream, FakeUpstream]


async def test_weights_share_requests(fakes: Pair, service: HttpService) -> None:
    found = upstreams(service, at(fakes[0], "one", weight=3.0), at(fakes[1], "other", weight=1.0))
    for _ in range(80):
        await asked(found, outgoing())
    assert 45 <= fakes[0].asked_count <= 75
    assert fakes[0].asked_count + fakes[1].asked_count == 80


async def test_without_weight_it_is_asked_where_no_other_can(fakes: Pair, service: HttpService) -> None:
    found = upstreams(service, at(fakes[0], "one"), at(fakes[1], "spare", weight=0.0))
    assert await asked(found, outgoing()) == "one"
    stopped(fakes[0])
    assert await asked(found, outgoing()) == "spare"


async def test_models_are_by_pattern(fakes: Pair, service: HttpService) -> None:
    found = upstreams(service, at(fakes[0], "one", models=("gpt-*",)), at(fakes[1], "other", models=("large",)))
    assert await asked(found, outgoing("gpt-5")) == "one"
    assert await asked(found, outgoing("large")) == "other"
    with pytest.raises(NotFoundError, match="`tiny`"):
        await asked(found, outgoing("tiny"))


async def test_who_wants_to_be_left_is_left(fakes: Pair, service: HttpService) -> None:
    fakes[0].script(Scripted(status=429, headers={"retry-after": "30"}))
    found = upstreams(service, at(fakes[0], "one", weight=1e6), at(fakes[1], "other", weight=1.0))
    assert [await asked(found, outgoing()) for _ in range(3)] == ["other"] * 3
    assert fakes[0].asked_count == 1
    assert 25 < found.seats[0].breaker.wait_s <= 30
    assert found.seats[0].breaker.state == "closed"


async def test_who_wants_to_be_left_until_a_date_is_left(fakes: Pair, service: HttpService) -> None:
    until = format_datetime(datetime.fromtimestamp(SYSTEM.wall() + 60, UTC), usegmt=True)
    fakes[0].script(Scripted(status=503, headers={"retry-after": until}))
    found = upstreams(service, at(fakes[0], "one", weight=1e6), at(fakes[1], "other", weight=1.0))
    assert [await asked(found, outgoing()) for _ in range(3)] == ["other"] * 3
    assert 30 < found.seats[0].breaker.wait_s <= 60


async def test_who_fails_often_is_asked_no_more(fakes: Pair, service: HttpService) -> None:
    fakes[0].otherwise = Scripted(status=500)
    found = upstreams(service, at(fakes[0], "one"), retries=Retries(0, 0))
    for _ in range(5):
        with pytest.raises(UpstreamError, match="status 500"):
            await asked(found, outgoing())
    assert found.seats[0].breaker.state == "open"
    with pytest.raises(UnavailableError, match="may be asked now") as caught:
        await asked(found, outgoing())
    assert caught.value.retry_after_s > 1
    assert fakes[0].asked_count == 5


async def test_retries_are_a_share_of_requests(fakes: Pair, service: HttpService) -> None:
    fakes[0].otherwise = Scripted(status=503)
    found = upstreams(service, at(fakes[0], "one"), retries=Retries(0.0, 2.0))
    for _ in range(3):
        with pytest.raises(UpstreamError):
            await asked(found, outgoing())
    assert fakes[0].asked_count == 5
    assert found.retries.refused_count >= 1


async def test_nothing_is_tried_again_once_something_was_told(fakes: Pair, service: HttpService) -> None:
    fakes[0].script(Scripted("one two three", cut_after=3))
    found = upstreams(service, at(fakes[0], "one"))
    with Flights(found).begin(outgoing(is_stream=True), None) as flight, pytest.raises(UpstreamError, match="cut off"):
        await flight.landed()
    assert fakes[0].asked_count == 1
    assert found.seats[0].failed_by == {"cut": 1}


async def test_a_service_that_does_not_begin_is_given_up(fakes: Pair, service: HttpService) -> None:
    gate = Gate()
    fakes[0].script(Scripted(gate=gate))
    found = upstreams(service, at(fakes[0], "one", first_byte_s=0.2, weight=1e6), at(fakes[1], "other"))
    assert await asked(found, outgoing()) == "other"
    assert found.seats[0].failed_by == {"timeout": 1}
    await until_async(lambda: fakes[0].left_count == 1)


async def test_an_endless_answer_is_not_read(fakes: Pair, service: HttpService) -> None:
    fakes[0].script(Scripted("x" * 2_000_000))
    found = Upstreams(service, [at(fakes[0], "one")], clock=SYSTEM, rng=random.Random(1), answer_bytes_max=1 << 20)
    with pytest.raises(UpstreamError, match="more than 1048576 bytes"):
        await asked(found, outgoing())
    assert fakes[0].asked_count == 1


async def test_who_waits_no_more_ends_the_request(fakes: Pair, service: HttpService) -> None:
    gate = Gate()
    fakes[0].script(Scripted(gate=gate))
    found = upstreams(service, at(fakes[0], "one"))
    asking = asyncio.create_task(asked(found, outgoing()))
    await until_async(lambda: gate.waiting_count == 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until_async(lambda: fakes[0].left_count == 1)
    assert found.seats[0].busy_count == 0


def test_a_breaker_tries_one_and_opens_for_longer() -> None:
    clock = SimulatedClock()
    breaker = Breaker(BreakerOptions(open_s=5.0), clock)
    for _ in range(5):
        breaker.begin()
        breaker.failed()
    assert (breaker.state, breaker.wait_s, breaker.opened_count) == ("open", 5.0, 1)
    clock.advance(5.0)
    assert breaker.state == "half-open"
    assert breaker.allows()
    breaker.begin()
    assert not breaker.allows()
    breaker.failed()
    assert breaker.wait_s == 10.0
    clock.advance(10.0)
    breaker.begin()
    breaker.succeeded()
    assert (breaker.state, breaker.allows()) == ("closed", True)


def test_a_secret_shows_nothing() -> None:
    import json

    secret = Secret("sk-123")
    upstream = Upstream("one", "http://127.0.0.1", secret)
    assert "sk-123" not in f"{secret} {secret!r} {upstream!r} {[secret]}"
    with pytest.raises(TypeError):
        json.dumps(upstream._asdict())
