"""Who is behind what runs now: set where a request comes in, asked where something is written down.

It goes with the task. What the node does by itself is the node's.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

__all__ = ["ANYBODY", "CALLER", "DEMAND", "NODE", "called_by", "needs"]

NODE, ANYBODY = "node", "anybody"
CALLER: ContextVar[str] = ContextVar("littoral_caller", default=NODE)
"""A token as NAME#ID, `mqtt:ROUTE`, ANYBODY where no token is asked for, NODE."""

DEMAND: ContextVar[Callable[[str, str], None] | None] = ContextVar("littoral_demand", default=None)
"""Holds a role against the token of who asks; None where no token is asked for."""


def needs(role: str, what: str) -> None:
    """For a request of which only its body tells that it needs more than its route. Raises ForbiddenError."""
    if (demand := DEMAND.get()) is not None:
        demand(role, what)


@contextlib.contextmanager
def called_by(who: str) -> Iterator[None]:
    """Around what is done for somebody."""
    token = CALLER.set(who)
    try:
        yield
    finally:
        CALLER.reset(token)
