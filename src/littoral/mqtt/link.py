"""A connection that is opened again whenever it ends, after ever longer pauses that differ from node to node."""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from littoral.clock import SYSTEM, Clock
from littoral.errors import LittoralError, UnavailableError
from littoral.mqtt.back_off import BackOff
from littoral.mqtt.broker import Broker
from littoral.mqtt.connection import Connection, Outgoing, Session
from littoral.mqtt.message import Message

__all__ = ["Link", "LinkState", "Subscription"]

STEADY_S = 10.0

_log = logging.getLogger("littoral.mqtt")


@dataclass(frozen=True)
class Subscription:
    topic: str
    qos: int


@dataclass
class LinkState:
    """open_count: connections so far. last: why the latest ended, or was not to be had."""

    is_open: bool = False
    open_count: int = 0
    failure_count: int = 0
    last: str = ""


def _nothing(_: object) -> None:
    pass


class Link:
    """Run `stay` in a task."""

    def __init__(
        self,
        broker: Broker,
        session: Session,
        *,
        subscription: Subscription | None = None,
        on_message: Callable[[Message], None] = _nothing,
        on_session: Callable[[bool], None] = _nothing,
        rng: random.Random | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.state = LinkState()
        self._broker = broker
        self._session = session
        self._subscription = subscription
        self._on_message = on_message
        self._on_session = on_session
        self._clock = clock
        self._back_off = BackOff(rng or random.Random())  # noqa: S311  pauses are no secret
        self._connection: Connection | None = None
        self._is_open = asyncio.Event()
        self._was_subscribed = False

    async def stay(self) -> None:
        """For ever: open, stay as long as it lasts, pause, again."""
        while True:
            began = self._clock.monotonic()
            try:
                self._note(await self._stay_once())
            except LittoralError as error:
                self.state.failure_count += 1
                self._note(str(error))
            if self._clock.monotonic() - began > STEADY_S:
                self._back_off.reset()
            await asyncio.sleep(self._back_off.next_s())

    async def connection(self) -> Connection:
        """The open connection, once there is one."""
        while self._connection is None or not self._connection.is_open:
            self._is_open.clear()
            await self._is_open.wait()
        return self._connection

    async def publish(self, message: Outgoing) -> None:
        """QoS 1: until the broker has it, over as many connections as that takes. QoS 0: over the one that is there.

        Raises as `Connection.publish`; UnavailableError only at QoS 0.
        """
        if not message.qos:
            if self._connection is None:
                raise self._closed()
            await self._connection.publish(message)
            return
        while True:
            connection = await self.connection()
            try:
                await connection.publish(message)
            except UnavailableError:
                continue
            return

    async def _stay_once(self) -> str:
        connection = await Connection.open(
            self._broker, self._session, self._on_message, on_session=self._on_session, clock=self._clock
        )
        try:
            await self._subscribe(connection)
            self._connection = connection
            self.state.is_open = True
            self.state.open_count += 1
            self._is_open.set()
            _log.info("`%s`: connected to %s", self._session.client_id, self._broker.address)
            return await asyncio.shield(connection.ended)
        finally:
            self._connection = None
            self.state.is_open = False
            connection.close()

    async def _subscribe(self, connection: Connection) -> None:
        """A broker that still knows the client knows what it wants as well."""
        if self._subscription is None or (connection.has_session and self._was_subscribed):
            return
        await connection.subscribe(self._subscription.topic, self._subscription.qos)
        self._was_subscribed = True

    def _note(self, reason: str) -> None:
        if reason != self.state.last or not self._back_off.failure_count:
            _log.warning("`%s`: %s", self._session.client_id, reason)
        self.state.last = reason

    def _closed(self) -> UnavailableError:
        return UnavailableError(f"broker `{self._broker.address}`: not connected: {self.state.last or 'not yet'}")
