"""What a tenant may use: requests a second and a day, tokens and money a day. What is under way counts as it may."""

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

from littoral.clock import Clock
from littoral.errors import SpentError, TooOftenError
from littoral.gateway.ledger import DAY_S, Ledger

__all__ = ["Budget", "Budgets", "Price", "Prices", "Spending", "Told", "texts_of", "tokens_of"]

CHARACTERS_OF_A_TOKEN = 4
CHOICES_MAX = 128
ANSWER_TOKENS = 512
"""Of an answer whose request sets no bound, while it is under way."""

MICRO = 1_000_000

What = Literal["requests", "tokens", "money"]


class Price(NamedTuple):
    """Per million tokens: the same number is millionths per token."""

    input: float = 0.0
    output: float = 0.0


class Prices:
    """By patterns of models' names; the first that fits."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices

    def micro(self, model: str, prompt_tokens: int, completion_tokens: int) -> int:
        """Millionths of the currency; 0 where no price is known."""
        price = self._prices.get(model) or next(
            (price for pattern, price in self._prices.items() if fnmatchcase(model, pattern)), None
        )
        if price is None:
            return 0
        return round(prompt_tokens * price.input + completion_tokens * price.output)


class Budget(NamedTuple):
    """None: no bound. money_per_day: in the currency."""

    requests_per_s: float | None = None
    requests_per_day: float | None = None
    tokens_per_day: float | None = None
    money_per_day: float | None = None


class Told(NamedTuple):
    """What is used of one bound. refused: requests, since the start."""

    what: What
    window_s: float
    used: float
    limit: float
    refused: int


class Spending:
    """One request under way: what it may cost is set aside, what it did cost is counted."""

    def __init__(self, budgets: "Budgets", tokens: int, micro: int) -> None:
        self._budgets = budgets
        self._tokens = tokens
        self._micro = micro
        self._is_over = False

    def settle(self, tokens: int, micro: int) -> None:
        """Once; later calls do nothing."""
        if not self._is_over:
            self._is_over = True
            self._budgets.settled(tokens - self._tokens, micro - self._micro)


class Budgets:
    """Of one tenant. For one event loop."""

    def __init__(self, tenant: str, budget: Budget, prices: Prices, ledger: Ledger, clock: Clock) -> None:
        self.budget = budget
        self.prices = prices
        self._who = f"tenant `{tenant}`: " if tenant else ""
        self._ledger = ledger
        self._clock = clock
        self._left = self._most = max(1.0, budget.requests_per_s or 1.0)
        self._at_s = clock.monotonic()
        self._refused: dict[str, int] = {"rate": 0, "requests": 0, "tokens": 0, "money": 0}

    def limit(self, budget: Budget) -> None:
        """Another from now on; what was used counts."""
        self.budget = budget
        self._most = max(1.0, budget.requests_per_s or 1.0)
        self._left = min(self._left, self._most)

    def request(self) -> None:
        """One that is to be answered, however. Raises TooOftenError, SpentError."""
        budget = self.budget
        if budget.requests_per_s is not None:
            self._take(budget.requests_per_s)
        if budget.requests_per_day is not None:
            self._check("requests", self._ledger.used.requests, budget.requests_per_day)
            self._ledger.add(requests=1)

    @property
    def may_spend(self) -> bool:
        """Whether an upstream may be asked now; nothing is counted as refused."""
        used, budget = self._ledger.used, self.budget
        return used.tokens < _bound(budget.tokens_per_day) and used.micro / MICRO < _bound(budget.money_per_day)

    def spend(self, model: str, body: Mapping[str, Any], size: int) -> Spending:
        """Before an upstream is asked. size: of the request, in bytes. Raises SpentError."""
        used, budget = self._ledger.used, self.budget
        if budget.tokens_per_day is not None:
            self._check("tokens", used.tokens, budget.tokens_per_day)
        if budget.money_per_day is not None:
            self._check("money", used.micro / MICRO, budget.money_per_day)
        prompt, answer = size // CHARACTERS_OF_A_TOKEN + 1, _answer_tokens(body)
        micro = self.prices.micro(model, prompt, answer)
        self.settled(prompt + answer, micro)
        return Spending(self, prompt + answer, micro)

    def settled(self, tokens: int, micro: int) -> None:
        """What is used more, or less, than was thought."""
        if self.budget.tokens_per_day is not None or self.budget.money_per_day is not None:
            self._ledger.add(tokens=tokens, micro=micro)

    def told(self) -> list[Told]:
        """One row a bound."""
        budget, used, refused = self.budget, self._ledger.used, self._refused
        rows: list[tuple[What, float, float, float | None, str]] = [
            ("requests", 1.0, self._most - self._refilled(), budget.requests_per_s, "rate"),
            ("requests", DAY_S, used.requests, budget.requests_per_day, "requests"),
            ("tokens", DAY_S, used.tokens, budget.tokens_per_day, "tokens"),
            ("money", DAY_S, used.micro / MICRO, budget.money_per_day, "money"),
        ]
        return [Told(what, window_s, now, most, refused[key]) for what, window_s, now, most, key in rows if most]

    async def close(self) -> None:
        await self._ledger.close()

    def _refilled(self) -> float:
        passed_s = max(0.0, self._clock.monotonic() - self._at_s)
        return min(self._most, self._left + passed_s * (self.budget.requests_per_s or 0.0))

    def _take(self, per_s: float) -> None:
        self._left, self._at_s = self._refilled(), self._clock.monotonic()
        if self._left < 1.0:
            self._refused["rate"] += 1
            raise TooOftenError(
                f"{self._who}budget `requests_per_s`: more than {per_s:g} a second",
                hint="ask less often",
                retry_after_s=(1.0 - self._left) / per_s,
            )
        self._left -= 1.0

    def _check(self, what: What, used: float, most: float) -> None:
        if used < most:
            return
        self._refused[what] += 1
        raise SpentError(
            f"{self._who}budget `{what}_per_day`: {used:,.10g} of {most:,.10g} are used",
            hint="a new day begins at midnight UTC; answers that are remembered are still told",
            retry_after_s=self._ledger.left_s,
        )


def _bound(most: float | None) -> float:
    return math.inf if most is None else most


def tokens_of(answer: Mapping[str, Any] | None, size: int) -> tuple[int, int]:
    """Of question and answer, as the service counted them; else by length. size: of the request, in bytes."""
    usage = (answer or {}).get("usage")
    if isinstance(usage, dict):
        found = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        prompt, completion = (count if isinstance(count, int) and 0 <= count < 1 << 40 else None for count in found)
        if prompt is not None:
            return prompt, completion or 0
    said = sum(len(text) for text in texts_of(answer or {}))
    return size // CHARACTERS_OF_A_TOKEN + 1, said // CHARACTERS_OF_A_TOKEN


def texts_of(answer: Mapping[str, Any]) -> list[str]:
    """What an answer says, by choice."""
    choices = [one for one in answer.get("choices") or () if isinstance(one, dict)]
    found = [(one.get("message") or {}).get("content") if "message" in one else one.get("text") for one in choices]
    return [text for text in found if isinstance(text, str)]


def _answer_tokens(body: Mapping[str, Any]) -> int:
    """Of all answers that are asked for together."""
    for name in ("max_completion_tokens", "max_tokens"):
        if isinstance(most := body.get(name), int) and 0 < most < 1 << 24:
            return most * _answer_count(body)
    return ANSWER_TOKENS * _answer_count(body)


def _answer_count(body: Mapping[str, Any]) -> int:
    said = [body.get("n"), body.get("best_of")]
    several = max((count for count in said if isinstance(count, int) and count <= CHOICES_MAX), default=1)
    prompt = body.get("prompt")
    prompts = prompt if isinstance(prompt, list) else []
    is_one = not prompts or isinstance(prompts[0], int)  # a text, or its token ids
    return max(1, several) * (1 if is_one else len(prompts))
