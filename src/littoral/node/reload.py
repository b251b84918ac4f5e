"""Signals to a running node. SIGHUP: every model's path is looked at again, as by its `load`. SIGUSR1: so is the site
file."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

from littoral.node.config.hot import Hot
from littoral.node.supervisor_link import SupervisorLink

__all__ = ["reloading"]


@contextlib.asynccontextmanager
async def reloading(hot: Hot, link: SupervisorLink) -> AsyncIterator[None]:
    """Until the block ends. Signals that come during a reload lead to one more."""

    async def refresh() -> None:
        if hot.node.repository is not None:
            await hot.node.repository.refresh(is_asked=True)

    async def look() -> None:
        link.looked(await hot.take())

    async with contextlib.AsyncExitStack() as stack:
        for number, act in ((signal.SIGHUP, refresh), (signal.SIGUSR1, look)):
            await stack.enter_async_context(_on_signal(number, act))
        yield


@contextlib.asynccontextmanager
async def _on_signal(number: signal.Signals, act: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    asked = asyncio.Event()

    async def go_on() -> None:
        while True:
            await asked.wait()
            asked.clear()
            await act()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, asked.set)
    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
