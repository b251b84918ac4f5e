"""What a request goes through: the same one under way, the same one before, a similar one before, an upstream."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import msgspec

from littoral.answers.asked import Asked
from littoral.answers.entries import Entry
from littoral.answers.hot import HotAnswer
from littoral.clock import Clock
from littoral.errors import LittoralError, NotFoundError, UnavailableError, UpstreamError
from littoral.gateway.budgets import Budgets, Spending, tokens_of
from littoral.gateway.control import Control, control_of
from littoral.gateway.flights import Flight, Flights, Landed, event_of, streamed
from littoral.gateway.listing import Listing
from littoral.gateway.question import KINDS, Outcome, Question, Streamed, Told, Whole
from littoral.gateway.remembered import Beside, Remembered
from littoral.gateway.sse import event, payloads_of
from littoral.gateway.tally import Tally
from littoral.gateway.upstreams import Outgoing, Upstreams

__all__ = ["Gateway", "Listening"]

MayAsk = Callable[[str], bool]
Headers = tuple[tuple[str, str], ...]
_T = TypeVar("_T")

FLIGHT_S = 600.0
"""Of a request at a service, whoever asked: a caller's deadline ends its own wait, and is no failure of the service."""

HEAD_START_S = 0.004
"""Of a service that is asked ahead: to embed a question takes a processor, which sending, and the service, need too."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass
class _Plan:
    """A request that goes to an upstream, and what becomes of the answer. asked: None where nothing is remembered.
    beside: on its way where the upstream is asked ahead. is_answering: the answer is being told. is_given_up: one that
    is remembered was told instead.
    """

    question: Question
    outcome: Outcome
    asked: Asked | None = None
    beside: Beside | asyncio.Task[Beside | None] | None = None
    mark: int = 0
    is_answering: bool = False
    is_given_up: bool = False

    async def found(self) -> Beside | None:
        """Beside it."""
        return await self.beside if isinstance(self.beside, asyncio.Task) else self.beside

    @property
    def joins(self) -> bytes | None:
        """By what others join it; None: nobody may."""
        return None if self.asked is None or self.asked.reach == "nothing" else self.asked.exact


class Gateway:
    """Of one tenant. may_ask: which models it has. upstreams, flights: shared with other tenants, whose requests
    never join. answers: None where nothing is told again.
    """

    def __init__(
        self,
        tenant: str,
        upstreams: Upstreams,
        flights: Flights,
        *,
        budgets: Budgets,
        answers: Remembered | None,
        tally: Tally,
        clock: Clock,
        listing: Listing,
        may_ask: MayAsk = lambda _: True,
    ) -> None:
        self.tenant = tenant
        self.upstreams = upstreams
        self.tally = tally
        self.answers = answers
        self.budgets = budgets
        self._flights = flights
        self._clock = clock
        self._listing = listing
        self.may_ask = may_ask
        self._finishing: set[asyncio.Task[Any]] = set()

    async def models(self) -> dict[str, str]:
        """Names that may be asked for, each with its upstream."""
        return {name: upstream for name, upstream in (await self._listing.names()).items() if self.may_ask(name)}

    def takes(self, model: str) -> bool:
        """Whether this tenant has it here."""
        return self.may_ask(model) and self.upstreams.takes(model)

    def upstream_of(self, model: str) -> str:
        """Which is asked for it, of several the first. Raises as `check`."""
        self.check(model)
        return next(seat.upstream.name for seat in self.upstreams.seats if seat.upstream.takes(model))

    async def embeddings(self, body: Mapping[str, Any], data: bytes, model: str, until_s: float) -> Whole:
        """Of an upstream; never remembered here. Raises as `answer`."""
        self.check(model)
        self.budgets.request()
        name = self.upstreams.name_of(model)
        spending, tokens = self.budgets.spend(name, {"max_tokens": 1}, len(data)), (0, 0)
        try:
            outgoing = Outgoing("/embeddings", body, data, model, is_stream=False, until_s=self._flight_until_s)
            with self._flights.begin(outgoing, None) as flight:
                async with self._patience(until_s):
                    landed = await flight.landed()
            if landed.status == 200:
                tokens = (tokens_of(landed.answer, len(data))[0], 0)
        finally:
            spending.settle(sum(tokens), self.budgets.prices.micro(name, *tokens))
        return Whole(landed.body, landed.status, (("x-littoral-upstream", flight.upstream),))

    def check(self, model: str) -> None:
        """Raises NotFoundError for a model that this tenant does not have here."""
        if not self.may_ask(model):
            hint = "`GET /v1/models` lists those that are"
            raise NotFoundError(f"model `{model[:80]}` is not this tenant's", hint=hint)
        self.upstreams.check(model)

    def again(self, kind: str, data: bytes) -> tuple[bytes, bool, Headers] | None:
        """What these very bytes were told a moment ago, whether it is a stream, and its headers; None: they have to be
        read.

        For requests without `cache-control`. Counts against the budget. Raises TooOftenError.
        """
        if self.answers is None or (hot := self.answers.again(kind, data)) is None:
            return None
        self.budgets.request()
        return self._told_again(hot)

    def _told_again(self, hot: HotAnswer) -> tuple[bytes, bool, Headers]:
        entry = hot.entry
        self.tally.answered("hit", tokens=entry.prompt_tokens + entry.completion_tokens, cost_micro=entry.cost_micro)
        return hot.told, hot.told[:1] != b"{", (("x-littoral-cache", "hit"), ("age", self._age(entry)))

    async def answer(self, question: Question) -> Told:
        """Raises UpstreamError, UnavailableError, NotFoundError, TooOftenError, InputError."""
        self.check(question.model)
        self.budgets.request()
        answers, control = self.answers, control_of(question.cache_control)
        if answers is None:
            return await self._asked(_Plan(question, "off"), control)
        asked = answers.asked(question)
        if asked.reach == "nothing" or not control.keep:
            return await self._asked(_Plan(question, "off"), control)
        if control.find and (flight := self._flights.find(asked.exact)) is not None:
            return await self._joined(flight, question)  # it is newer than what is remembered
        if control.find and (found := await answers.exact(asked, control)) is not None:
            return self._remembered(question, asked, found, "hit")
        is_ahead = answers.is_miss_expected(asked, control) and not control.only_cached and self.budgets.may_spend
        try:
            if is_ahead:
                return await self._raced(answers, question, asked, control)
            beside = await answers.beside(asked, control)
            if control.find and beside is not None and beside.is_told:
                return self._similar(question, asked, beside)
            plan = _Plan(question, _outcome(beside), asked, beside, answers.store.mark)
            return await self._asked(plan, control)
        except (UpstreamError, UnavailableError):
            if not control.find or (found := await answers.stale(asked, control)) is None:
                raise
            return self._remembered(question, asked, found, "stale")

    async def _raced(self, answers: Remembered, question: Question, asked: Asked, control: Control) -> Told:
        """An upstream is asked while the question is compared with those that are remembered; what is there first is
        told. Raises as `_asked`.
        """
        if control.find and (flight := self._flights.find(asked.exact)) is not None:
            return await self._joined(flight, question)
        plan = _Plan(question, "miss", asked, mark=answers.store.mark)
        looking = answers.beside(asked, control, is_late=lambda: plan.is_answering)
        with self._begun(plan) as flight:
            plan.beside = comparing = self._kept_going(_later(looking), "littoral-gateway-compare")
            self.tally.asked_ahead()
            beside = await self._compared(plan, flight, comparing)
            if control.find and beside is not None and beside.is_told:
                plan.is_given_up = True
                return self._similar(question, asked, beside)
            plan.outcome = _outcome(beside)
            return await self._told(flight, question, plan.outcome, beside)

    async def _compared(self, plan: _Plan, flight: Flight, comparing: "asyncio.Task[Beside | None]") -> Beside | None:
        """None, too, where the upstream answers before it is known."""
        async with self._patience(plan.question.until_s):
            plan.is_answering = await flight.is_begun_before(comparing)
            return None if plan.is_answering else await asyncio.shield(comparing)

    async def _asked(self, plan: _Plan, control: Control) -> Told:
        """Of an upstream, or of the same request under way."""
        question = plan.question
        assert not isinstance(plan.beside, asyncio.Task), "what is beside it is known"
        if control.only_cached:
            raise UpstreamError("nothing remembered, and `only-if-cached` forbids to ask upstream", kind="not_cached")
        if plan.joins is not None and control.find and (flight := self._flights.find(plan.joins)) is not None:
            return await self._joined(flight, question)
        return await self._told(self._begun(plan), question, plan.outcome, plan.beside)

    def _begun(self, plan: _Plan) -> Flight:
        """Its answer is kept, and paid for, when it has landed. Raises SpentError, UnavailableError."""
        question = plan.question
        spending = self.budgets.spend(self.upstreams.name_of(question.model), question.body, len(question.data))
        outgoing = Outgoing(
            KINDS[question.kind],
            question.body,
            question.data,
            question.model,
            question.is_stream,
            self._flight_until_s,
        )
        try:
            flight = self._flights.begin(outgoing, plan.joins)
        except LittoralError:
            spending.settle(0, 0)
            raise
        self._kept_going(self._finish(flight, plan, spending), "littoral-gateway-finish")
        return flight

    def _kept_going(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        """Until this gateway is closed."""
        task = asyncio.create_task(work, name=name)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return task

    async def _joined(self, flight: Flight, question: Question) -> Told:
        """One that has landed is being kept: what it brought is told again."""
        if flight.is_over:
            self.tally.answered("hit")
            return await self._told(flight, question, "hit", None)
        self.tally.joined()
        self.tally.answered("miss")
        return await self._told(flight, question, "miss", None)

    async def _told(self, flight: Flight, question: Question, outcome: Outcome, beside: Beside | None) -> Told:
        chunks = flight.stream(has_usage=question.has_usage)
        listening: Listening | None = Listening(flight, chunks, lambda: question.until_s - self._clock.monotonic())
        assert listening is not None
        try:
            async with self._patience(question.until_s):
                await flight.begun()
                headers = _headers(outcome, beside, flight.upstream)
                if outcome == "hit":
                    headers = (*headers, ("age", "0"))
                if question.is_stream and flight.is_streamed:
                    told, listening = Streamed(listening, headers), None
                    return told
                return _of_whole(await flight.landed(), question, headers)
        finally:
            if listening is not None:
                await listening.aclose()

    @property
    def _flight_until_s(self) -> float:
        return self._clock.monotonic() + FLIGHT_S

    @contextlib.asynccontextmanager
    async def _patience(self, until_s: float) -> AsyncIterator[None]:
        """Raises UpstreamError when the caller waits no more."""
        try:
            async with asyncio.timeout(max(0.001, until_s - self._clock.monotonic())):
                yield
        except TimeoutError as error:
            raise _late() from error

    async def _finish(self, flight: Flight, plan: _Plan, spending: Spending) -> None:
        """When the answer is there: counts what it cost, and keeps it. Who asks the same meanwhile joins."""
        question, landed = plan.question, None
        try:
            landed = await flight.landed()
        except Exception:  # noqa: BLE001  told to whoever listens
            is_billed = flight.is_streamed or plan.is_given_up  # by guess: nobody says what it cost
            tokens = (len(question.data) // 4 + 1, flight.size // 16) if is_billed else (0, 0)
        else:
            tokens = tokens_of(landed.answer, len(question.data)) if landed.status == 200 else (0, 0)
        micro = self.budgets.prices.micro(flight.model or question.model, *tokens)
        spending.settle(sum(tokens), micro)
        if plan.is_given_up:
            self.tally.given_up(tokens=sum(tokens), cost_micro=micro)
        try:
            if landed is not None and landed.status == 200:
                if not plan.is_given_up:
                    self.tally.answered(plan.outcome, tokens=sum(tokens), cost_micro=micro)
                await self._keep(plan, landed, tokens, micro)
        finally:
            self._flights.forget(flight)

    async def _keep(self, plan: _Plan, landed: Landed, tokens: tuple[int, int], micro: int) -> None:
        if self.answers is None or plan.asked is None or landed.answer is None:
            return
        await self.answers.keep(
            plan.question,
            plan.asked,
            landed.answer,
            landed.body,
            beside=plan.found,
            tokens=tokens,
            cost_micro=micro,
            mark=plan.mark,
        )

    def _similar(self, question: Question, asked: Asked, beside: Beside) -> Told:
        assert beside.near is not None, "something is told"
        return self._remembered(question, asked, beside.near.entry, "semantic", beside)

    def _remembered(
        self, question: Question, asked: Asked, entry: Entry, outcome: Outcome, beside: Beside | None = None
    ) -> Told:
        assert self.answers is not None, "something is remembered"
        tokens = entry.prompt_tokens + entry.completion_tokens
        self.tally.answered(outcome, tokens=tokens, cost_micro=entry.cost_micro)
        headers: Headers = (*_headers(outcome, beside, ""), ("age", self._age(entry)))
        if beside is not None and beside.near is not None:
            told_id = self.answers.told(beside.near, asked)
            headers = (*headers, ("x-littoral-answer-id", told_id))
        body = _as_stream(entry, has_usage=question.has_usage) if question.is_stream else entry.answer
        if outcome == "hit":
            self.answers.keep_again(question, entry, body)
        return Streamed(_one(body), headers) if question.is_stream else Whole(body, 200, headers)

    def _age(self, entry: Entry) -> str:
        return str(max(0, int(self._clock.wall()) - entry.made_at_s))

    async def close(self) -> None:
        """Ends what is still being kept."""
        for task in list(self._finishing):
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)
        await self.budgets.close()


async def _later(looking: Coroutine[Any, Any, _T]) -> _T:
    """After the head start of the service."""
    try:
        await asyncio.sleep(HEAD_START_S)
    except BaseException:
        looking.close()
        raise
    return await looking


def _outcome(beside: Beside | None) -> Outcome:
    return "explore" if beside is not None and beside.near is not None else "miss"


def _headers(outcome: Outcome, beside: Beside | None, upstream: str) -> Headers:
    headers: Headers = (("x-littoral-cache", outcome),)
    if upstream:
        headers = (*headers, ("x-littoral-upstream", upstream))
    if beside is not None and beside.near is not None:
        headers = (*headers, ("x-littoral-cache-similarity", f"{beside.near.similarity:.4f}"))
        if beside.decision is not None:
            headers = (*headers, ("x-littoral-cache-bound", f"{beside.decision.bound:.4f}"))
    return headers


def _of_whole(landed: Landed, question: Question, headers: Headers) -> Told:
    if question.is_stream and landed.answer is not None:
        return Streamed(_one(streamed(landed, has_usage=question.has_usage)), headers)
    return Whole(landed.body, landed.status, headers)


def _as_stream(entry: Entry, *, has_usage: bool) -> bytes:
    return b"".join(event(payload) for payload in payloads_of(_decode(entry.answer), has_usage=has_usage))


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _late() -> UpstreamError:
    return UpstreamError("no answer before the deadline of this request", kind="timeout")


class Listening:
    """A stream that keeps its flight going until it is closed, or forgotten before it began. left_s: until its caller
    waits no more; then it ends as one that is cut off.
    """

    def __init__(self, flight: Flight, chunks: AsyncIterator[bytes], left_s: Callable[[], float]) -> None:
        self._flight: Flight | None = flight.__enter__()
        self._chunks = chunks
        self._left_s = left_s

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(max(0.001, self._left_s())):
                return await anext(self._chunks)
        except TimeoutError:
            self._leave()
            return event_of(_late())  # its chunks have ended with the wait

    async def aclose(self) -> None:
        """Twice is fine."""
        self._leave()

    def __del__(self) -> None:
        self._leave()

    def _leave(self) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.__exit__()
