"""Quarantine of a guest that fails again and again: refused at once for a while, then tried by single calls.

A guest's failure is a trap, a deadline, or memory it did not get; what an agent refuses does not count. Pure but for
the clock; its owner has a lock.
"""

from collections import deque
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from littoral.clock import SYSTEM, Clock
from littoral.errors import AgentError, SandboxError, UnavailableError

__all__ = ["Quarantine", "QuarantineLimits", "QuarantineState"]

PAUSE_GROWTH_MAX = 32


class QuarantineLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`failures` within `window_s`, among the latest `2 × failures` calls, lead to a pause of `pause_s`.

    It doubles each time the call after it fails too.
    """

    failures: Annotated[int, Meta(ge=1, le=1000, description="So many failures, of at most twice as many calls")] = 5
    window_s: Annotated[float, Meta(gt=0, le=86_400, description="In this time")] = 60.0
    pause_s: Annotated[
        float,
        Meta(gt=0, le=3600, description="Refused for so long; doubled while the next call fails too, up to 32 ×"),
    ] = 5.0


class QuarantineState(NamedTuple):
    """reason: of the latest failure. retry_s: until a call is let through again."""

    name: str
    failures: int
    reason: str
    retry_s: float

    def __str__(self) -> str:
        return f"{self.name} is in quarantine after {self.failures} failures, the latest: {self.reason}"


class Quarantine:
    """Of one pool. name: as in messages, such as ``agent `decode` ``. entered: how often, since the start."""

    def __init__(self, name: str, limits: QuarantineLimits | None = None, *, clock: Clock = SYSTEM) -> None:
        self.name = name
        self.entered = 0
        self._limits = limits or QuarantineLimits()
        self._clock = clock
        self._outcomes: deque[float | None] = deque(maxlen=2 * self._limits.failures)  # when it failed, or None
        self._reason = ""
        self._until: float | None = None
        self._growth = 1

    @property
    def state(self) -> QuarantineState | None:
        """None while the guest may be called."""
        if self._until is None:
            return None
        return QuarantineState(
            self.name, len(self._failures()), self._reason, max(0.0, self._until - self._clock.monotonic())
        )

    def check(self) -> None:
        """Before a call. Raises UnavailableError during a pause; after one a single call a pause is let through."""
        if self._until is None:
            return
        now = self._clock.monotonic()
        if now < self._until:
            wait_s = self._until - now
            raise UnavailableError(f"{self.state}", hint=f"tried again in {wait_s:.3g} s", retry_after_s=wait_s)
        self._until = now + self._limits.pause_s * self._growth

    def succeeded(self) -> None:
        """After a call that gave an answer, or was refused by the guest in order: the guest works."""
        self._outcomes.append(None)
        if self._until is not None:
            self._outcomes.clear()
            self._until, self._growth = None, 1

    def failed(self, error: BaseException) -> None:
        """After a call that did not. What is not the guest's failure says nothing of it."""
        if isinstance(error, AgentError):
            self.succeeded()
            return
        if not isinstance(error, SandboxError):
            return
        now = self._clock.monotonic()
        self._outcomes.append(now)
        self._reason = error.message
        if self._until is not None:  # the one that was let through
            self._growth = min(self._growth * 2, PAUSE_GROWTH_MAX)
        elif sum(now - at <= self._limits.window_s for at in self._failures()) < self._limits.failures:
            return
        else:
            self.entered += 1
        self._until = now + self._limits.pause_s * self._growth

    def _failures(self) -> list[float]:
        return [at for at in self._outcomes if at is not None]
