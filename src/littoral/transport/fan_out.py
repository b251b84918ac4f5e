"""One request to many peers at once, for any network that can ask one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from littoral.errors import LittoralError
from littoral.transport.interface import Reply

__all__ = ["replies"]


async def replies(peers: Iterable[str], ask: Callable[[str], Awaitable[bytes]]) -> AsyncIterator[Reply]:
    """One reply for each peer, in the order they come. `ask` is bounded in time; left early, cancels the rest."""

    async def reply(peer: str) -> Reply:
        try:
            return Reply(peer, await ask(peer), None)
        except LittoralError as error:
            return Reply(peer, None, error)

    tasks = [asyncio.ensure_future(reply(peer)) for peer in dict.fromkeys(peers)]
    try:
        for finished in asyncio.as_completed(tasks):
            yield await finished
    finally:
        for task in tasks:
            task.cancel()
