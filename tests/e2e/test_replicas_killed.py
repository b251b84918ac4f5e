"""kill -9 of nodes and of shard hosts at random moments: no acknowledged write is lost, and both replicas end alike."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import replica_process
from littoral.vectors.replication.entries import Version
from replica_process import SIZE
from supervised import short_folder
from waiting import until_async, until_true

pytestmark = pytest.mark.e2e

PROCESS = Path(replica_process.__file__)
NAMES = ("a", "b")
IDS = 400
ROUNDS = 20
ANSWER_S = 30.0


class EndedError(Exception):
    """The node ended before it answered: nobody knows what became of the write."""


class NodeProcess:
    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.process = self._started()

    def _started(self) -> "subprocess.Popen[bytes]":
        peers = [name for name in NAMES if name != self.name]
        with (self.folder / f"{self.name}.err").open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-P", str(PROCESS), self.name, str(self.folder), *peers],
                stderr=errors,
                env={**os.environ, "PYTHONPATH": str(PROCESS.parent)},
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        self.process = self._started()

    async def ask(self, **asked: Any) -> Any:
        """Raises EndedError; waits for a node that is starting."""
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await self._connected()
                try:
                    writer.write(json.dumps(asked).encode() + b"\n")
                    line = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise EndedError from error
        if not line:
            raise EndedError
        said = json.loads(line)
        if "error" in said:
            raise EndedError(said["error"])
        return said["ok"]

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return await asyncio.open_unix_connection(self.folder / f"{self.name}.ask", limit=1 << 24)
            await asyncio.sleep(0.02)


class Promised:
    """The latest acknowledged version of each point, and its turn (None: deleted)."""

    def __init__(self) -> None:
        self.of: dict[int, tuple[Version, int | None]] = {}
        self.count = 0

    def add(self, ids: list[int], stamp: list[Any], turn: int | None) -> None:
        self.count += 1
        version = Version(stamp[0], stamp[1], 0)
        for one in ids:
            if one not in self.of or version.beats(self.of[one][0]):
                self.of[one] = (version, turn)


async def write(nodes: list[NodeProcess], seed: int, promised: Promised, stop: asyncio.Event) -> None:
    rng = random.Random(seed)
    for turn in range(seed * 1_000_000, (seed + 1) * 1_000_000):
        if stop.is_set():
            return
        node, ids = rng.choice(nodes), rng.sample(range(IDS), rng.randrange(1, 20))
        with contextlib.suppress(EndedError):
            if rng.random() < 0.7:
                rows = [[rng.random() for _ in range(SIZE)] for _ in ids]
                promised.add(ids, await node.ask(do="upsert", ids=ids, vectors=rows, turn=turn), turn)
            elif rng.random() < 0.6:
                promised.add(ids, await node.ask(do="delete", ids=ids), None)
            else:
                promised.add(ids[:1], await node.ask(do="merge", ids=ids[:1], turn=turn), turn)


async def until_alike(nodes: list[NodeProcess]) -> None:
    for _ in range(1000):
        with contextlib.suppress(EndedError):  # a host may be starting still
            told = [await node.ask(do="root") for node in nodes]
            if told[0] == told[1]:
                return
        await asyncio.sleep(0.05)
    raise AssertionError("the replicas never were alike")


async def points(node: NodeProcess) -> dict[str, Any]:
    """Asked for until its host, which may be starting, answers."""
    found: list[dict[str, Any]] = []

    async def is_told() -> bool:
        with contextlib.suppress(EndedError):
            found.append(await node.ask(do="points"))
        return bool(found)

    await until_true(is_told)
    return found[0]


@pytest.fixture
def nodes() -> Iterator[list[NodeProcess]]:
    with short_folder() as folder:
        running = [NodeProcess(name, folder) for name in NAMES]
        yield running
        for node in running:
            node.kill()


async def test_two_replicas_may_be_killed_at_any_moment(nodes: list[NodeProcess]) -> None:
    rng, promised, stop = random.Random(8), Promised(), asyncio.Event()
    writers = [asyncio.create_task(write(nodes, seed, promised, stop)) for seed in range(1, 5)]
    for turn in range(ROUNDS):
        enough = promised.count + rng.randrange(1, 60)
        # All writers may wait for the one node that is starting.
        await until_async(lambda enough=enough: promised.count >= enough or any(one.done() for one in writers))
        node = rng.choice(nodes)
        if turn % 2:
            node.kill()
            await asyncio.sleep(rng.random() * 0.3)
            node.start()
        else:
            with contextlib.suppress(EndedError, ProcessLookupError):
                os.kill((await node.ask(do="hosts"))[0] or 0, signal.SIGKILL)
    stop.set()
    await asyncio.gather(*writers)
    await until_alike(nodes)
    first, second = [await points(node) for node in nodes]
    assert first == second
    for one, (version, turn) in promised.of.items():
        time, origin, vectors, payload = first[str(one)]
        found = Version(time, origin, 0)
        assert not version.beats(found)
        if found == version:
            assert (payload["turn"] if vectors else None) == turn
    assert promised.count > 200
