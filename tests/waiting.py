"""Waiting for a condition that other threads bring about, with an end."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

ATTEMPTS = 60_000
PAUSE_S = 0.001


def until(condition: Callable[[], bool], *, attempts: int = ATTEMPTS) -> None:
    """Returns as soon as the condition holds; fails after a minute and more.

    attempts: more where several processes must come up first, on a machine with other things to do.
    """
    pause = threading.Event()
    for _ in range(attempts):
        if condition():
            return
        pause.wait(PAUSE_S)
    raise AssertionError("the condition never held")


async def until_async(condition: Callable[[], bool], *, attempts: int = ATTEMPTS) -> None:
    """As `until`, for coroutines. attempts: a millisecond each, or longer."""
    for _ in range(attempts):
        if condition():
            return
        await asyncio.sleep(PAUSE_S)
    raise AssertionError("the condition never held")


async def until_true(condition: Callable[[], Awaitable[bool]], *, attempts: int = ATTEMPTS) -> None:
    """As `until_async`, for what has to be asked."""
    for _ in range(attempts):
        if await condition():
            return
        await asyncio.sleep(PAUSE_S)
    raise AssertionError("the condition never held")
