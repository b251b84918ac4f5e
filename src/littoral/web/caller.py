"""Who is behind what runs now: set where a request comes in, asked where something is written down.

It goes with the task. What the node does by itself is the node's.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["ANYBODY", "CALLER", "NODE", "called_by"]

NODE, ANYBODY = "node", "anybody"
CALLER: ContextVar[str] = ContextVar("littoral_caller", default=NODE)
"""A token as NAME#ID, `mqtt:ROUTE`, ANYBODY where no token is asked for, NODE."""


@contextlib.contextmanager
def called_by(who: str) -> Iterator[None]:
    """Around what is done for somebody."""
    token = CALLER.set(who)
    try:
        yield
    finally:
        CALLER.reset(token)
