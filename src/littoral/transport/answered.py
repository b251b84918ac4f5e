"""What was asked of late and what became of it, by caller and mark: what is asked again is not done again.

A caller marks its requests, each once. Whether one arrived and what its answer was can be asked by the mark, when a
link that was replaced may have lost the one or the other.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple

from littoral.errors import LittoralError, PeerError

__all__ = ["AGAIN", "Answered", "Fate", "Found"]

AGAIN = "again"
"""The service that tells what became of a request. Its body is the mark."""

REMEMBERED_COUNT_MAX = 8192
"""Of requests: more than come between a loss and the question after it."""

KEPT_BYTES_MAX = 8 << 20
KEPT_ANSWER_BYTES_MAX = 256 << 10
"""Of larger answers only that they were given is kept."""


class Fate(Enum):
    """Of a request. FORGOTTEN: it was answered, and the answer is not kept any more."""

    UNKNOWN = b"?"
    UNDER_WAY = b"."
    ANSWERED = b"="
    FAILED = b"!"
    FORGOTTEN = b"-"


class Found(NamedTuple):
    """answer: of one that was answered; error: of one that failed."""

    fate: Fate
    answer: bytes = b""
    error: LittoralError | None = None


Outcome = bytes | LittoralError
_Key = tuple[str, str]


class Answered:
    """Of one node, for one event loop. Bounded: the oldest answers go first, then what is known of their requests."""

    def __init__(self) -> None:
        self._running: dict[_Key, asyncio.Future[Outcome]] = {}
        self._ended: dict[_Key, Outcome | None] = {}
        self._kept: deque[_Key] = deque()
        self._kept_bytes = 0

    def find(self, caller: str, mark: str) -> Found:
        """What became of a request."""
        key = (caller, mark)
        if key in self._running:
            return Found(Fate.UNDER_WAY)
        if key not in self._ended:
            return Found(Fate.UNKNOWN)
        if (outcome := self._ended[key]) is None:
            return Found(Fate.FORGOTTEN)
        if isinstance(outcome, LittoralError):
            return Found(Fate.FAILED, error=outcome)
        return Found(Fate.ANSWERED, outcome)

    async def once(self, caller: str, mark: str, work: Callable[[], Awaitable[bytes]]) -> bytes:
        """What `work` gives or raises, which is done for the first request of this mark alone."""
        key = (caller, mark)
        if (running := self._running.get(key)) is not None:
            return _given(await asyncio.shield(running))
        if key in self._ended:
            return _given(self._ended[key])
        running = self._running[key] = asyncio.get_running_loop().create_future()
        try:
            outcome: Outcome = await work()
        except LittoralError as error:
            outcome = error
        except BaseException:
            running.cancel()
            raise
        finally:
            del self._running[key]
        running.set_result(outcome)
        self._keep(key, outcome)
        return _given(outcome)

    def _keep(self, key: _Key, outcome: Outcome) -> None:
        size_bytes = _size_bytes(outcome)
        is_kept = size_bytes <= KEPT_ANSWER_BYTES_MAX
        self._ended[key] = outcome if is_kept else None
        if is_kept:
            self._kept.append(key)
            self._kept_bytes += size_bytes
        while self._kept_bytes > KEPT_BYTES_MAX:
            self._let_go(self._kept.popleft())
        while len(self._ended) > REMEMBERED_COUNT_MAX:
            oldest = next(iter(self._ended))
            if self._kept and self._kept[0] == oldest:
                self._let_go(self._kept.popleft())
            del self._ended[oldest]

    def _let_go(self, key: _Key) -> None:
        if (outcome := self._ended[key]) is not None:
            self._kept_bytes -= _size_bytes(outcome)
            self._ended[key] = None


def _size_bytes(outcome: Outcome) -> int:
    return len(outcome) if isinstance(outcome, bytes) else 0


def _given(outcome: Outcome | None) -> bytes:
    if outcome is None:
        raise PeerError("the answer was given before, and is not kept any more")
    if isinstance(outcome, LittoralError):
        raise outcome
    return outcome
