"""What a route remembers so that a message that comes again is not worked on again.

A broker sends a message of QoS 1 again when a connection ended before it was acknowledged. The work on it may be going
on then, or be done. A publisher that sends one again itself, because it heard no answer, gets one.
"""

from collections import Counter
from pathlib import Path

from littoral.mqtt.message import Message
from littoral.node.mqtt.done import Done

__all__ = ["Again", "Work"]

DONE_COUNT_MAX = 4096

_Key = tuple[str, str, str, str, bytes | None]


class Work:
    """message: the delivery to acknowledge, which is the latest one."""

    def __init__(self, message: Message) -> None:
        self.message = message


class Again:
    """Bounded: the oldest is forgotten first, and would be worked on twice."""

    def __init__(self, path: Path | None = None, *, done_count_max: int = DONE_COUNT_MAX) -> None:
        """path: where messages with an id are kept that are done; None = in memory only."""
        self.count = 0
        """Messages that came again and were known."""
        self._done_count_max = done_count_max
        self._going_on: dict[_Key, list[Work]] = {}
        self._unacknowledged: Counter[_Key] = Counter()
        self._named = Done(done_count_max, path)

    def is_known(self, message: Message) -> bool:
        """Whether nothing is left to do but to acknowledge it, which is done here or at the end of the work."""
        if not message.qos:
            return False
        is_known = self._joins_work(message) or self._is_done(message)
        self.count += is_known
        return is_known

    def begin(self, message: Message) -> Work:
        """The pipeline is given this message now."""
        work = Work(message)
        self._going_on.setdefault(message.key, []).append(work)
        return work

    def end(self, work: Work) -> None:
        """It is done with for good: it is acknowledged, now or when it comes again."""
        key = work.message.key
        self.forget(work)
        if not work.message.qos:
            return
        if work.message.id:
            self._named.add(work.message.digest)
        if work.message.connection.is_open:
            work.message.acknowledge()
        else:
            self._unacknowledged[key] += 1
            if len(self._unacknowledged) > self._done_count_max:
                del self._unacknowledged[next(iter(self._unacknowledged))]

    def forget(self, work: Work) -> None:
        """The work ended without a result: if it comes again, it is new."""
        going_on = self._going_on[work.message.key]
        going_on.remove(work)
        if not going_on:
            del self._going_on[work.message.key]

    def close(self) -> None:
        """No more messages come."""
        self._named.close()

    def broker_forgot(self) -> None:
        """Nothing will come again."""
        self._unacknowledged.clear()

    def _joins_work(self, message: Message) -> bool:
        for work in self._going_on.get(message.key, ()):
            if not work.message.connection.is_open or message.id:
                if work.message.connection.is_open:
                    message.acknowledge()  # sent twice by its publisher: the first delivery stands for both
                else:
                    work.message = message
                return True
        return False

    def _is_done(self, message: Message) -> bool:
        key = message.key
        if not message.is_again:
            return False  # whoever sends it once more wants its answer once more
        if self._unacknowledged[key] > 0:
            self._unacknowledged[key] -= 1
            if not self._unacknowledged[key]:
                del self._unacknowledged[key]
        elif not (message.id and message.digest in self._named):
            return False
        message.acknowledge()
        return True
