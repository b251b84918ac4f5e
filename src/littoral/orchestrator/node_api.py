"""`/fleet/v1/…`: what nodes ask. Each shows the token that it was enrolled with, and speaks for itself alone."""

import asyncio
import contextlib
from collections import Counter
from typing import Any

import msgspec

from littoral.errors import TooOftenError, UnauthorizedError, UnavailableError
from littoral.orchestrator.asks import Asks
from littoral.orchestrator.enrolment import Enrolment
from littoral.orchestrator.fleet import Fleet, digest
from littoral.orchestrator.store import Put
from littoral.orchestrator.store.rows import NodeRow, ReportRow
from littoral.orchestrator.telling import Telling
from littoral.updates.wire import Answered, CheckedIn, CheckIn, Enrol, Report
from littoral.web import Answer, Protocol, Request, Route, decode_json, json_answer
from littoral.web.access.guessing import Guesses

__all__ = ["NodeSide", "node_protocol"]

WAIT_S_MAX = 60.0
METRIC_COUNT_MAX = 500
DROPPED_COUNT_MAX = 16

_REPORTS: Any = Report | list[Report]
METRIC_CHARACTERS_MAX = 200
CHECKIN_BYTES_MAX = 64 << 10
RUNNING_COUNT_MAX = 256


class NodeSide:
    """signal_count_max: nodes that may wait for a signal at a time."""

    def __init__(
        self,
        fleet: Fleet,
        enrolment: Enrolment,
        telling: Telling,
        asks: Asks,
        *,
        poll_s: float,
        signal_count_max: int,
    ) -> None:
        self.fleet = fleet
        self.asks = asks
        self.enrolment = enrolment
        self.telling = telling
        self.poll_s = poll_s
        self.signal_count_max = signal_count_max
        self.waiting_count = 0
        self.refused: Counter[str] = Counter()
        self._guesses = Guesses(fleet.clock)

    def caller(self, request: Request) -> NodeRow:
        """Who asks. Raises UnauthorizedError, TooOftenError after guesses."""
        scheme, _, token = str(request.headers.get("authorization", "")).partition(" ")
        found = self.fleet.node_by_token(digest(token.strip())) if scheme.lower() == "bearer" else None
        if found is not None:
            return found
        if wait_s := self._guesses.wait_s(request.peer):
            self.refused["guessing"] += 1
            raise TooOftenError("too many wrong tokens came from this address", retry_after_s=wait_s)
        self._guesses.count(request.peer)
        self.refused["token"] += 1
        raise UnauthorizedError("the token is no node's of this fleet", hint="enrol with a claim")

    async def enrol(self, request: Request) -> Answer:
        return json_answer(await self.enrolment.enrol(await request.json(Enrol), request.peer))

    async def checkin(self, request: Request) -> Answer:
        node = self.caller(request)
        said = decode_json(await request.body.read(), CheckIn)
        self.fleet.saw(node.name, _bounded(said))
        return json_answer(self._told(node.name))

    async def signal(self, request: Request) -> Answer:
        """200 as soon as there is a deployment beyond `after`; 204 after `wait_s`."""
        node = self.caller(request)
        query = request.query
        after, wait_s = _number(query.get("after")), min(_number(query.get("wait_s"), 30), WAIT_S_MAX)
        self.fleet.seen(node.name)
        if self.waiting_count >= self.signal_count_max:
            self.refused["signals"] += 1
            raise UnavailableError(
                f"{self.waiting_count} nodes wait for a signal, which is the most", retry_after_s=self.poll_s
            )
        self.waiting_count += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self.telling.beyond(node.name, int(after))
        finally:
            self.waiting_count -= 1
        self.fleet.seen(node.name)
        deployment = self.telling.published(node.name)
        return json_answer({"deployment": deployment}) if deployment > after else Answer(b"", 204)

    async def report(self, request: Request) -> Answer:
        node = self.caller(request)
        said = decode_json(await request.body.read(), _REPORTS)
        row = self.fleet.reports.get(node.name, ReportRow(node=node.name, at_s=0.0))
        for one in said if isinstance(said, list) else (said,):
            row = _reported(row, one)
        await self.fleet.write(Put(row))
        self.fleet.seen(node.name)
        return Answer(b"", 204)

    async def answered(self, request: Request) -> Answer:
        node = self.caller(request)
        said = await request.json(Answered)
        await self.asks.answer(node.name, request.names["ask"], said)
        return Answer(b"", 204)

    def _told(self, node: str) -> CheckedIn:
        return CheckedIn(
            deployment=self.telling.published(node),
            poll_s=self.poll_s,
            time=self.fleet.clock.wall(),
            asks=self.asks.of(node),
        )


def node_protocol(side: NodeSide) -> Protocol:
    routes = (
        Route("POST", "/fleet/v1/enrol", side.enrol),
        Route("POST", "/fleet/v1/checkin", side.checkin),
        Route("GET", "/fleet/v1/signal", side.signal, is_always_taken=True),
        Route("POST", "/fleet/v1/reports", side.report),
        Route("POST", "/fleet/v1/asks/{ask}", side.answered),
    )
    return Protocol(("/fleet/v1",), routes)


def _reported(before: ReportRow, said: Report) -> ReportRow:
    """With one report more; of an older one than the last only what was dropped counts."""
    dropped = dict(Counter(before.dropped) + Counter(dict(list(said.dropped.items())[:DROPPED_COUNT_MAX])))
    if said.time < before.at_s:
        return msgspec.structs.replace(before, dropped=dropped)
    metrics = list(said.metrics.items())[:METRIC_COUNT_MAX]
    kept = {name: value for name, value in metrics if len(name) <= METRIC_CHARACTERS_MAX}
    return ReportRow(node=before.node, at_s=said.time, metrics=kept, dropped=dropped)


def _bounded(said: CheckIn) -> CheckIn:
    if len(said.running) <= RUNNING_COUNT_MAX and len(said.facts) <= RUNNING_COUNT_MAX:
        return said
    running = dict(list(said.running.items())[:RUNNING_COUNT_MAX])
    facts = dict(list(said.facts.items())[:RUNNING_COUNT_MAX])
    return msgspec.structs.replace(said, running=running, facts=facts)


def _number(text: str | None, default: float = 0) -> float:
    try:
        found = float(text) if text else default
    except ValueError:
        return default
    return found if 0 <= found < 2**53 else default
