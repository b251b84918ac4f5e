"""A node runs on uvloop; whoever embeds the server may have another loop. Both must do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from http_app import App, served


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def app() -> App:
    return App()


@pytest.fixture
async def address(app: App) -> AsyncIterator[str]:
    async with served(app) as address:
        yield address
