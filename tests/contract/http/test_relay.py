"""The relay in front of a server of another kind, on both loops: every byte once, in order; who goes first."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from littoral.web import Relay, RelayLimits, relaying
from supervised import short_folder
from waiting import until_async

BYTES = os.urandom(3 << 20)
Run = Callable[[Coroutine[Any, Any, None]], None]
Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.param
    return found


@contextlib.asynccontextmanager
async def echoing(limits: RelayLimits | None = None) -> AsyncIterator[Relay]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        await closed(writer)

    with short_folder() as folder:
        server = await asyncio.start_unix_server(echo, folder / "s")
        async with relaying("127.0.0.1", 0, folder / "s", limits=limits) as relay:
            yield relay
        server.close()
        await until_async(lambda: len(asyncio.all_tasks()) == 1)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def opened(relay: Relay) -> Opened:
    host, _, port = relay.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def test_what_is_sent_comes_back_whole(run: Run) -> None:
    """Begun before the server is reached, and longer than what lies between."""

    async def ask(relay: Relay) -> bytes:
        reader, writer = await opened(relay)

        async def send() -> None:
            writer.write(BYTES)
            await writer.drain()

        sending = asyncio.create_task(send())
        digest = hashlib.sha256()
        for _ in range(0, len(BYTES), 1 << 16):
            digest.update(await reader.readexactly(1 << 16))
        await sending
        await closed(writer)
        return digest.digest()

    async def test() -> None:
        async with echoing() as relay:
            found = await asyncio.gather(*(ask(relay) for _ in range(8)))
        assert set(found) == {hashlib.sha256(BYTES).digest()}

    run(test())


def test_an_end_is_handed_on_both_ways(run: Run) -> None:
    async def test() -> None:
        ended = asyncio.Event()

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.read(1 << 10) == b"end":
                writer.write(b"bye")
                await closed(writer)
            elif not await reader.read(1 << 10):
                ended.set()
                await closed(writer)

        with short_folder() as folder:
            server = await asyncio.start_unix_server(once, folder / "s")
            async with relaying("127.0.0.1", 0, folder / "s") as relay:
                reader, writer = await opened(relay)
                writer.write(b"end")
                assert await reader.read() == b"bye"
                await closed(writer)
                assert relay.dropped == {"silent": 1}, "three bytes are no preface"
                _, other = await opened(relay)
                other.write(b"go on")
                await closed(other)
                await ended.wait()
            server.close()
        await until_async(lambda: len(asyncio.all_tasks()) == 1)

    run(test())


def test_who_is_vouched_for_goes_last(run: Run) -> None:
    async def test() -> None:
        async with echoing(RelayLimits(connection_count_max=9, address_count_max=3)) as relay:
            known = await opened(relay)
            known[1].write(b"x")
            assert await known[0].readexactly(1) == b"x"
            names = [name for name in relay.names if relay.address_of(name) == "127.0.0.1"]
            assert len(names) == 1
            relay.vouch(names[0])
            others = [await opened(relay) for _ in range(5)]
            await until_async(lambda: relay.dropped == {"address": 3})
            for reader, writer in others[:3]:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                await closed(writer)
            for reader, writer in (known, *others[3:]):
                writer.write(b"y")
                assert await reader.readexactly(1) == b"y"
                await closed(writer)

    run(test())


def test_a_server_that_is_not_there_is_counted(run: Run, tmp_path: Path) -> None:
    async def test() -> None:
        async with relaying("127.0.0.1", 0, tmp_path / "none") as relay:
            reader, writer = await opened(relay)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            await closed(writer)
            assert relay.dropped == {"lacking": 1}

    run(test())
