"""A message on a node's topic as soon as there is a deployment for it: the node checks in at once.

Nothing is believed because of it, so whoever else may publish there makes nodes ask, no more.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import LittoralError, SetupError
from littoral.orchestrator.file import SignalTable
from littoral.orchestrator.telling import Telling
from littoral.tables.broker import broker_of

__all__ = ["MqttSignal"]

_log = logging.getLogger("littoral.orchestrator")


class MqttSignal:
    """For one event loop. Of each node the newest deployment waits while the broker is away, and no more."""

    def __init__(self, table: SignalTable, path_of: Callable[[str], Path], name: str, clock: Clock) -> None:
        """Raises SetupError without `mqtt`."""
        try:
            from littoral.mqtt.connection import Session
            from littoral.mqtt.link import Link
        except ModuleNotFoundError as error:
            raise SetupError("table `mqtt` needs paho-mqtt", hint="pip install 'littoral[mqtt]'") from error
        self.sent = 0
        self._topic = table.topic
        self._waiting: dict[str, int] = {}
        self._is_any = asyncio.Event()
        session = Session(f"{table.client_id or name}.signal")
        self._link = Link(broker_of(table, path_of), session, clock=clock)

    @property
    def is_open(self) -> bool:
        return self._link.state.is_open

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def ring(self, node: str, deployment: int) -> None:
        self._waiting[node] = deployment
        self._is_any.set()

    @contextlib.asynccontextmanager
    async def signalling(self, telling: Telling) -> AsyncIterator[None]:
        """Until the block ends."""
        telling.listeners.append(self.ring)
        tasks = [asyncio.create_task(self._link.stay()), asyncio.create_task(self._publish())]
        try:
            yield
        finally:
            telling.listeners.remove(self.ring)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _publish(self) -> None:
        from littoral.mqtt.connection import Outgoing

        while True:
            await self._is_any.wait()
            self._is_any.clear()
            while self._waiting:
                node, deployment = next(iter(self._waiting.items()))
                payload = json.dumps({"deployment": deployment}).encode()
                message = Outgoing(self._topic.format(node=node), payload, 1, is_retained=True)
                try:
                    await self._link.publish(message)
                    self.sent += 1
                except LittoralError as error:  # the broker refuses it: the node hears of it by its next check-in
                    _log.warning("signal for `%s`: %s", node, error)
                if self._waiting.get(node) == deployment:
                    del self._waiting[node]
