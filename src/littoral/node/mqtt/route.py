"""One route: messages of a topic, through a pipeline, to a topic; each acknowledged when nothing of it can be lost.

It has a client of its own towards the broker, so that its bound on what may be under way is its own as well. Answers go
over the node's one publisher: a route that takes no more messages still gets rid of its answers.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import msgspec

from littoral.clock import SYSTEM, Clock
from littoral.errors import InputError, PeerError, RequestError, UnavailableError
from littoral.mqtt.back_off import BackOff
from littoral.mqtt.broker import Broker
from littoral.mqtt.connection import Outgoing, Session
from littoral.mqtt.link import Link, LinkState, Subscription
from littoral.mqtt.message import ID_PROPERTY, Answerable, Message
from littoral.node.mqtt.again import Again
from littoral.node.mqtt.judgement import Verdict, judged
from littoral.node.mqtt.queue import Bounds, Dropped, Queue, Reason
from littoral.node.mqtt_topics import caught, check_topic, filled, shared
from littoral.node.node import ServedPipeline
from littoral.node.observed import Observed
from littoral.node.origin import Origin, coming_from
from littoral.node.pipelines_api import pipeline_input, result_of, status_error
from littoral.node.request_rate import Rate
from littoral.telemetry import Kind, root_span, traceparent
from littoral.web.caller import called_by
from littoral.web.failures import failure_of

__all__ = ["Plan", "Refused", "Route", "RouteStatistics"]

TRY_COUNT_MAX = 3
JSON = "application/json"
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0

_log = logging.getLogger("littoral.mqtt")


class Plan(NamedTuple):
    """As the site file says. publish, errors: templates of topics. barred: filters of topics that nothing goes to."""

    name: str
    topic: str
    publish: str | None = None
    errors: str | None = None
    qos: int = 1
    share: str | None = None
    is_retained: bool = False
    parallel: int = 4
    deadline_ms: float = 30_000
    bounds: Bounds = Bounds()
    tenant: str = ""
    barred: Sequence[str] = ()


class Refused(NamedTuple):
    """The latest message that was dropped. at: Unix time. why: as it is said on the topic of errors."""

    at: float
    reason: Reason
    why: str


class RouteStatistics(NamedTuple):
    """messages: that came, those that came again included. Each is answered, dropped, known already, or still here."""

    link: LinkState
    messages: int
    answered: int
    again: int
    retries: int
    dropped: Mapping[Reason, int]
    waiting: int
    waiting_bytes: int
    oldest_s: float
    busy: int
    refused: Refused | None = None


class Route:
    """For one event loop. publisher: the node's connection for answers."""

    def __init__(
        self,
        plan: Plan,
        served: ServedPipeline,
        broker: Broker,
        session: Session,
        publisher: Link,
        observed: Observed,
        *,
        done_file: Path | None = None,
        rate: Rate | None = None,
        rng: random.Random | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        """done_file: for what must be known after a crash; None = nothing is. rate: that messages may come at."""
        self.plan = plan
        self._rate = rate
        self._served = served
        self._publisher = publisher
        self._observed = observed
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  pauses are no secret
        self._queue = Queue(plan.bounds)
        self._again = Again(done_file)
        self._has_more = asyncio.Event()
        self._paused: Answerable | None = None
        self._messages = self._answered = self._retries = self._busy = 0
        self._dropped: Counter[Reason] = Counter()
        self._refused: Refused | None = None
        self._link = Link(
            broker,
            session,
            subscription=Subscription(shared(plan.topic, plan.share), plan.qos),
            on_message=self._arrived,
            on_session=self._met,
            rng=self._rng,
            clock=clock,
        )

    async def run(self) -> None:
        """For ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._link.stay())
                for _ in range(self.plan.parallel):
                    group.create_task(self._work())
        finally:
            self._again.close()

    def statistics(self) -> RouteStatistics:
        """Counts since the start."""
        return RouteStatistics(
            self._link.state,
            self._messages,
            self._answered,
            self._again.count,
            self._retries,
            dict(self._dropped),
            len(self._queue),
            self._queue.size_bytes,
            self._queue.oldest_s(self._clock.monotonic()),
            self._busy,
            self._refused,
        )

    def _met(self, has_session: bool) -> None:
        """What is not acknowledged comes again if the broker knows us; else what we have is all there is."""
        if has_session:
            self._messages -= self._queue.forget_acknowledgeable()
        else:
            self._again.broker_forgot()

    def _arrived(self, message: Message) -> None:
        self._messages += 1
        if self._again.is_known(message):
            return
        if caught(self.plan.topic, message.topic) is None:
            self._drop(Dropped(message, "unmatched"))
            return
        for dropped in self._queue.put(message):
            self._drop(dropped)
        if self._queue.is_over:
            message.connection.pause()
            self._paused = message.connection
        self._has_more.set()

    async def _work(self) -> None:
        while True:
            message = await self._next()
            if self._again.is_known(message):
                continue
            work = self._again.begin(message)
            self._busy += 1
            try:
                with self._traced(message):
                    await self._handle(message)
            except BaseException:
                self._again.forget(work)
                raise
            finally:
                self._busy -= 1
            self._again.end(work)

    def _traced(self, message: Message) -> AbstractContextManager[object]:
        """The sender says in user properties (MQTT 5) what it does over HTTP in headers."""
        said = message.properties.get
        trace = self._observed.traced(said("traceparent"), said("tracestate"), message.id or None)
        told = {"messaging.system": "mqtt", "messaging.destination.name": self.plan.topic}
        return root_span(trace, f"mqtt {self.plan.name}", Kind.CONSUMER, told)

    async def _next(self) -> Message:
        while True:
            message, aged = self._queue.take(self._clock.monotonic())
            for dropped in aged:
                self._drop(dropped)
            if self._paused is not None and self._queue.is_half_empty:
                self._paused.resume()
                self._paused = None
            if message is not None:
                return message
            self._has_more.clear()
            await self._has_more.wait()

    def _drop(self, dropped: Dropped) -> None:
        self._dropped[dropped.reason] += 1
        dropped.message.acknowledge()

    async def _handle(self, message: Message) -> None:
        """Returns when the message may be acknowledged."""
        if message.is_cut:
            await self._refuse(message, "oversize", f"message has {message.size} bytes")
            return
        pauses = BackOff(self._rng, RETRY_FIRST_S, RETRY_MAX_S)
        while True:
            try:
                answer = await self._run(message)
            except Exception as error:  # noqa: BLE001  every message is either answered or counted
                if (reason := self._reason(error, message, pauses.failure_count + 1)) is not None:
                    await self._refuse(message, reason, failure_of(error).message)
                    return
                self._retries += 1
                await asyncio.sleep(pauses.next_s())
            else:
                await self._tell(message, answer)
                return

    def _reason(self, error: Exception, message: Message, try_count: int) -> Reason | None:
        """Why it is dropped, or None to try again."""
        verdict = judged(error)
        if verdict is Verdict.REFUSED:
            return "refused"
        if not message.qos or (verdict is Verdict.BROKEN and try_count >= TRY_COUNT_MAX):
            return "failed"
        age_s = self.plan.bounds.age_s
        return "aged" if age_s is not None and self._clock.monotonic() - message.arrived_at > age_s else None

    async def _run(self, message: Message) -> bytes:
        wildcards = caught(self.plan.topic, message.topic) or ()
        where = Origin(message.payload, message.id, message.topic, wildcards, self._clock.wall())
        owner = f"{self.plan.tenant}/" if self.plan.tenant else ""
        caller = called_by(f"{owner}mqtt:{self.plan.name}")
        if self._rate is not None:
            self._rate.take()
        with self._observed.pipeline(self._served.name) as outcome, coming_from(where), caller:
            began = self._clock.monotonic()
            value = pipeline_input(self._served, message.payload, message.media_type)
            answer = await self._served.pipeline.run(value, deadline_ms=self.plan.deadline_ms)
            outcome.stages_ms = answer.how.stages
            said = {
                "status": "ok",
                "time": self._clock.monotonic() - began,
                "result": result_of(answer.value, self._served.pipeline.gives),
                "how": answer.how,
            }
            return msgspec.json.encode(said | _about(message))

    async def _tell(self, message: Message, answer: bytes) -> None:
        if await self._publish(message, self._answer_topic, answer):
            self._answered += 1
        else:
            self._dropped["unpublished"] += 1

    async def _refuse(self, message: Message, reason: Reason, why: str) -> None:
        """Counts it, and says why to whoever asked, and on the topic of errors."""
        self._dropped[reason] += 1
        self._refused = Refused(self._clock.wall(), reason, why)
        said = status_error(why, 0, self._clock.monotonic() - message.arrived_at)
        told = msgspec.json.encode(dict(said) | _about(message) | {"reason": reason})  # type: ignore[call-overload]
        await self._publish(message, self._error_topic, told)
        if message.response_topic:
            await self._publish(message, self._answer_topic, told)

    def _answer_topic(self, message: Message) -> str | None:
        """Raises InputError where the message would make it one that cannot be."""
        if message.response_topic:
            check_topic(message.response_topic)
            if caught(self.plan.topic, message.response_topic) is not None:
                raise InputError("response topic is the route's own")
            return message.response_topic
        return self._filled(self.plan.publish, message)

    def _error_topic(self, message: Message) -> str | None:
        return self._filled(self.plan.errors, message)

    def _filled(self, template: str | None, message: Message) -> str | None:
        if template is None:
            return None
        return filled(template, caught(self.plan.topic, message.topic) or (), {ID_PROPERTY: message.id or "-"})

    async def _publish(self, message: Message, topic_of: Callable[[Message], str | None], payload: bytes) -> bool:
        """Whether the broker has it, or none was to be told."""
        try:
            if (topic := topic_of(message)) is None:
                return True
            if any(caught(barred, topic) is not None for barred in self.plan.barred):
                raise InputError(f"topic `{topic}` is that of a route of somebody else")
            properties = {ID_PROPERTY: message.id} if message.id else {}
            if parent := traceparent():
                properties["traceparent"] = parent
            outgoing = Outgoing(
                topic, payload, self.plan.qos, self.plan.is_retained, message.correlation, JSON, properties
            )
            await self._publisher.publish(outgoing)
        except (RequestError, PeerError, UnavailableError) as error:
            _log.warning("`%s`: answer is lost: %s", self.plan.name, error)
            return False
        return True


def _about(message: Message) -> dict[str, str]:
    return {"topic": message.topic} | ({ID_PROPERTY: message.id} if message.id else {})
