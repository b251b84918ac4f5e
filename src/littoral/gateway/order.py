"""What a request goes through: remembered answers, the same request under way, an upstream."""

from collections.abc import AsyncIterator
from typing import Self

from littoral.clock import Clock
from littoral.gateway.flights import Flight, Flights, Landed, streamed
from littoral.gateway.question import KINDS, Outcome, Question, Streamed, Told, Whole
from littoral.gateway.upstreams import Outgoing, Upstreams

__all__ = ["Gateway"]


class Gateway:
    """Of one tenant. upstreams, flights: shared with others, whose requests never join."""

    def __init__(self, tenant: str, upstreams: Upstreams, flights: Flights, clock: Clock) -> None:
        self.tenant = tenant
        self.upstreams = upstreams
        self._flights = flights
        self._clock = clock

    async def answer(self, question: Question) -> Told:
        """Raises UpstreamError, UnavailableError, NotFoundError and what limits raise."""
        self.upstreams.check(question.model)
        return await self._from_upstream(question)

    async def _from_upstream(self, question: Question) -> Told:
        outgoing = Outgoing(
            KINDS[question.kind],
            question.body,
            question.data,
            question.model,
            question.is_stream,
            question.until_s,
        )
        return await self._told(self._flights.begin(outgoing, None), question, "off")

    async def _told(self, flight: Flight, question: Question, outcome: Outcome) -> Told:
        listening = Listening(flight, flight.stream(has_usage=question.has_usage))
        try:
            await flight.begun()
            headers = (("x-littoral-cache", outcome), ("x-littoral-upstream", flight.upstream))
            if question.is_stream and flight.is_streamed:
                told, listening = Streamed(listening, headers), None
                return told
            return _of_whole(await flight.landed(), question, headers)
        finally:
            if listening is not None:
                await listening.aclose()


def _of_whole(landed: Landed, question: Question, headers: tuple[tuple[str, str], ...]) -> Told:
    if question.is_stream and landed.answer is not None:
        return Streamed(_one(streamed(landed, has_usage=question.has_usage)), headers)
    return Whole(landed.body, landed.status, headers)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Listening:
    """A stream that keeps its flight going until it is closed, or forgotten before it began."""

    def __init__(self, flight: Flight, chunks: AsyncIterator[bytes]) -> None:
        self._flight: Flight | None = flight.__enter__()
        self._chunks = chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """Twice is fine."""
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.__exit__()

    def __del__(self) -> None:
        if self._flight is not None:
            self._flight.__exit__()
