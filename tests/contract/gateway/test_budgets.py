"""What a tenant may use, and what it is told when that is used up; budgets outlive restarts and kills."""

from pathlib import Path

import pytest

from fake_upstream import Scripted
from gateway_site import SITE, gatewayed_node
from littoral.errors import SpentError, TooOftenError
from littoral.gateway.budgets import Budget, Budgets, Price, Prices, tokens_of
from littoral.gateway.ledger import DAY_S, STEP_TOKENS, Ledger
from littoral.testing.clock import SimulatedClock

PRICES = Prices({"small": Price(0.15, 0.6), "large-*": Price(5.0, 15.0)})


def budgets(folder: Path, clock: SimulatedClock, **bounds: float) -> Budgets:
    return Budgets("acme", Budget(**bounds), PRICES, Ledger(folder, clock), clock)


def test_prices_are_by_pattern() -> None:
    assert PRICES.micro("small", 1_000_000, 1_000_000) == 750_000
    assert PRICES.micro("large-2026", 10, 10) == 200
    assert PRICES.micro("free", 10, 10) == 0


def test_tokens_are_those_of_the_service_or_of_the_length() -> None:
    assert tokens_of({"usage": {"prompt_tokens": 7, "completion_tokens": 5}}, 400) == (7, 5)
    assert tokens_of({"usage": None, "choices": [{"text": "a" * 40}]}, 400) == (101, 10)
    assert tokens_of({"usage": {"prompt_tokens": -1}}, 400) == (101, 0)


async def test_requests_a_second(tmp_path: Path) -> None:
    clock = SimulatedClock()
    used = budgets(tmp_path, clock, requests_per_s=2.0)
    used.request()
    used.request()
    with pytest.raises(TooOftenError, match="tenant `acme`: budget `requests_per_s`") as caught:
        used.request()
    assert 0 < caught.value.retry_after_s <= 0.5
    clock.advance(0.5)
    used.request()


async def test_what_is_under_way_counts_as_it_may_cost(tmp_path: Path) -> None:
    clock = SimulatedClock()
    used = budgets(tmp_path, clock, tokens_per_day=1000.0)
    first = used.spend("small", {"max_tokens": 1000}, 400)
    with pytest.raises(SpentError, match="tokens_per_day"):
        used.spend("small", {"max_tokens": 1}, 4)
    first.settle(10, 5)
    first.settle(10, 5)
    assert next(row.used for row in used.told()) == 10
    used.spend("small", {"max_tokens": 1}, 4).settle(990, 0)
    with pytest.raises(SpentError) as caught:
        used.spend("small", {"max_tokens": 1}, 4)
    assert 1 <= caught.value.retry_after_s <= DAY_S
    clock.advance(DAY_S)
    used.spend("small", {"max_tokens": 1}, 4).settle(0, 0)
    await used.close()


@pytest.mark.parametrize(
    ("body", "answers"),
    [
        ({"n": 4}, 4),
        ({"n": 2, "best_of": 5}, 5),
        ({"prompt": ["a", "b", "c"]}, 3),
        ({"prompt": [[1, 2], [3]], "n": 2}, 4),
        ({"prompt": [1, 2, 3]}, 1),
        ({"n": 0, "prompt": "a"}, 1),
        ({"n": 10**9}, 1),
    ],
)
async def test_several_answers_under_way_count_each(tmp_path: Path, body: dict[str, object], answers: int) -> None:
    used = budgets(tmp_path, SimulatedClock(), tokens_per_day=1e6)
    under_way = used.spend("small", body | {"max_tokens": 1000}, 4)
    assert next(row.used for row in used.told()) == 1000 * answers + 2
    under_way.settle(0, 0)
    await used.close()


async def test_an_orderly_end_keeps_what_is_used_exactly(tmp_path: Path) -> None:
    clock = SimulatedClock()
    used = budgets(tmp_path, clock, tokens_per_day=1e6, money_per_day=1.0)
    used.spend("small", {}, 4).settle(1234, 56)
    await used.close()
    assert Ledger(tmp_path, clock).used.tokens == 1234
    assert Ledger(tmp_path, clock).used.micro == 56


async def test_after_a_kill_no_less_is_used_than_was(tmp_path: Path) -> None:
    clock = SimulatedClock()
    ledger = Ledger(tmp_path, clock)
    for _ in range(20):
        ledger.add(tokens=10_000)
        if ledger._writing is not None:
            await ledger._writing
    again = Ledger(tmp_path, clock).used.tokens
    assert 200_000 <= again <= 200_000 + STEP_TOKENS


def test_over_http_it_is_openais_error() -> None:
    import openai

    more = "[gateway.budget]\ntokens_per_day = 12\n"
    with gatewayed_node(SITE + more) as node, node.client() as client:
        node.fake.script(Scripted("one"))
        ask = {"model": "large", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
        client.chat.completions.create(**ask)
        client.chat.completions.create(**ask)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**(ask | {"messages": [{"role": "user", "content": "b"}]}))
        assert caught.value.code == "insufficient_quota"
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert len(node.fake.asked) == 1
