"""What became of steps that were asked for over HTTP: by outcome, in bytes and seconds."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

from littoral.clock import Clock
from littoral.errors import (
    ForbiddenError,
    LittoralError,
    NotFoundError,
    RequestError,
    TooLargeError,
    TooOftenError,
    UnauthorizedError,
    UnavailableError,
)
from littoral.telemetry import Spread

__all__ = ["OUTCOMES", "Tally", "outcome_of"]

_OUTCOMES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    ((UnauthorizedError, ForbiddenError), "denied"),
    (NotFoundError, "unknown"),
    (TooLargeError, "large"),
    (TooOftenError, "often"),
    (UnavailableError, "busy"),
    (RequestError, "wrong"),
    (LittoralError, "failed"),
    (asyncio.CancelledError, "left"),
)
OUTCOMES = ("answered", *(word for _, word in _OUTCOMES))


def outcome_of(error: BaseException) -> str:
    """In one word: `left` where nobody waited any more."""
    return next((word for kind, word in _OUTCOMES if isinstance(error, kind)), "failed")


class Tally:
    """outcomes: one of `OUTCOMES` each. bytes: `sent` and `received`, of frames. spread: of those answered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.outcomes: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.spread = Spread()
        self.busy = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Around one step."""
        began_s = self._clock.monotonic()
        self.busy += 1
        try:
            yield
        except BaseException as error:
            self.outcomes[outcome_of(error)] += 1
            raise
        finally:
            self.busy -= 1
        self.outcomes["answered"] += 1
        self.spread.observe(self._clock.monotonic() - began_s)
