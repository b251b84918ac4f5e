"""What waits in a route: all messages in order, or the latest of each topic. Pure: messages and times in, drops out.

A message of QoS 1 is lost only where the site file says so (an age, the latest alone): that a queue is full of those is
told by `is_over`, and then no more are read.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Literal, NamedTuple

from littoral.mqtt.message import Message

__all__ = ["REASONS", "Bounds", "Dropped", "Queue", "Reason"]

Reason = Literal["superseded", "full", "aged", "oversize", "unmatched", "refused", "failed", "unpublished"]

REASONS: dict[Reason, str] = {
    "superseded": 'A newer message of its topic came (`keep = "latest"`)',
    "full": "The queue was full (QoS 0)",
    "aged": "It waited for longer than `age_ms`",
    "oversize": "Its payload is larger than `payload_bytes_max`",
    "unmatched": "Its topic is not the route's",
    "refused": "The pipeline does not take it: acknowledged, told on `errors`",
    "failed": "The pipeline failed with it, several times at QoS 1",
    "unpublished": "Its answer could not be published",
}


class Bounds(NamedTuple):
    """Of one queue. keeps_latest: of each topic only the newest message waits."""

    count_max: int = 100
    bytes_max: int = 64 << 20
    age_s: float | None = None
    keeps_latest: bool = False


class Dropped(NamedTuple):
    message: Message
    reason: Reason


class Queue:
    """size_bytes: of all payloads that wait."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._all: deque[Message] = deque()
        self._latest: OrderedDict[str, Message] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._all) + len(self._latest)

    @property
    def is_over(self) -> bool:
        """Full of messages that may not be dropped."""
        return len(self) > self._bounds.count_max or self.size_bytes > self._bounds.bytes_max

    @property
    def is_half_empty(self) -> bool:
        return len(self) * 2 <= self._bounds.count_max and self.size_bytes * 2 <= self._bounds.bytes_max

    def oldest_s(self, now: float) -> float:
        """For how long the oldest message waits; 0 where none does."""
        first = self._all[0] if self._all else next(iter(self._latest.values()), None)
        return 0.0 if first is None else max(0.0, now - first.arrived_at)

    def put(self, message: Message) -> list[Dropped]:
        """What it pushed out. Of QoS 1 nothing but what is superseded."""
        dropped: list[Dropped] = []
        if not self._bounds.keeps_latest:
            self._all.append(message)
        elif (older := self._latest.get(message.topic)) is None:
            self._latest[message.topic] = message
        else:
            self._latest[message.topic] = message  # at the older one's place: no topic is put off for ever
            self.size_bytes -= len(older.payload)
            dropped.append(Dropped(older, "superseded"))
        self.size_bytes += len(message.payload)
        while self.is_over and (lost := self._first_of_qos_0()) is not None:
            dropped.append(Dropped(lost, "full"))
        return dropped

    def take(self, now: float) -> tuple[Message | None, list[Dropped]]:
        """The message whose turn it is, and those that are too old for it."""
        dropped: list[Dropped] = []
        while (message := self._pop()) is not None:
            if self._bounds.age_s is None or now - message.arrived_at <= self._bounds.age_s:
                return message, dropped
            dropped.append(Dropped(message, "aged"))
        return None, dropped

    def forget_acknowledgeable(self) -> int:
        """Lets go of every message of QoS 1, which the broker is about to send again. How many there were."""
        again = [message for message in self._waiting() if message.qos]
        for message in again:
            self._remove(message)
        return len(again)

    def _waiting(self) -> Iterator[Message]:
        yield from self._all
        yield from self._latest.values()

    def _first_of_qos_0(self) -> Message | None:
        found = next((message for message in self._waiting() if not message.qos), None)
        if found is not None:
            self._remove(found)
        return found

    def _pop(self) -> Message | None:
        if self._all:
            message = self._all.popleft()
        elif self._latest:
            _, message = self._latest.popitem(last=False)
        else:
            return None
        self.size_bytes -= len(message.payload)
        return message

    def _remove(self, message: Message) -> None:
        if self._bounds.keeps_latest:
            del self._latest[message.topic]
        else:
            self._all.remove(message)
        self.size_bytes -= len(message.payload)
