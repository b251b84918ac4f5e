"""SIGHUP: every model's path is looked at again, as by its `load`."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from littoral.node.node import Node

__all__ = ["reloading"]


@contextlib.asynccontextmanager
async def reloading(node: Node) -> AsyncIterator[None]:
    """Until the block ends. Signals that come during a reload lead to one more."""
    asked = asyncio.Event()

    async def reload() -> None:
        while node.repository is not None:
            await asked.wait()
            asked.clear()
            await node.repository.refresh(is_asked=True)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    task = asyncio.create_task(reload())
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
