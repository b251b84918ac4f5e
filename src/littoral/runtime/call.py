"""What a piece of work knows of the call it is done for: when its answer is of no more use, and how urgent it is.

It goes with the task (a context variable), so that queues far below the request can put urgent calls first.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NamedTuple

__all__ = ["PRIORITY_MAX", "Call", "Waits", "calling", "current_call"]

PRIORITY_MAX = 9


class Waits:
    """Seconds that a call has waited for instances and threads so far; written wherever it waits."""

    def __init__(self) -> None:
        self.seconds = 0.0


class Call(NamedTuple):
    """deadline_s: on the clock's `monotonic`; None = none. priority: 0 … 9, higher goes first. waits: where they are
    added up, if somebody asks. tenant: whose it is; '' = the operator's.
    """

    deadline_s: float | None = None
    priority: int = 0
    waits: Waits | None = None
    tenant: str = ""

    def waited(self, seconds: float) -> None:
        """Adds a wait."""
        if self.waits is not None:
            self.waits.seconds += seconds

    def order(self) -> tuple[int, float]:
        """Sorts calls: by priority, then by deadline."""
        return (-self.priority, float("inf") if self.deadline_s is None else self.deadline_s)


NO_CALL = Call()
_CALL: ContextVar[Call] = ContextVar("littoral_call", default=NO_CALL)


def current_call() -> Call:
    """The call that the running task works for."""
    return _CALL.get()


@contextlib.contextmanager
def calling(call: Call) -> Iterator[None]:
    """Inside the block, and in tasks made there, work is done for this call; outer deadlines and tenants stay."""
    outer, tenant = _CALL.get().deadline_s, _CALL.get().tenant
    if outer is not None and (call.deadline_s is None or outer < call.deadline_s):
        call = call._replace(deadline_s=outer)
    if tenant and not call.tenant:
        call = call._replace(tenant=tenant)
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)
