"""kill -9 of shard host, node and supervisor while answers and labels are kept: each that was acknowledged is there."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from answers_writer import LABELS, SIZE, nothing
from kept_answers import asked, entry
from littoral.answers.store import StoreBounds
from littoral.clock import SYSTEM
from littoral.node.gateway.answers_collection import AnswersEmbedder, open_store
from littoral.node.supervise import Patience
from littoral.node.supervisor import embedded
from littoral.vectors.collections import Collections
from waiting import until

pytestmark = pytest.mark.e2e

SUPERVISOR = """
import sys
from pathlib import Path
from littoral.node.supervise import Patience
from littoral.node.supervisor import Supervisor
command = [sys.executable, "-m", "answers_writer", sys.argv[1], sys.argv[2]]
Supervisor(Path(sys.argv[1]), command, patience=Patience(pause_max_ready_s=0.05)).run_until_signal()
"""
MORE = 25
LIVES = 3
KILLED = ("littoral.vectors.shard_process", "answers_writer", "littoral.vectors.shard_process", "supervisor")


class Told:
    """What nodes said that was acknowledged."""

    def __init__(self) -> None:
        self.kept: set[int] = set()
        self.observed: Counter[int] = Counter()
        self.lines = 0

    def take(self, line: str) -> None:
        word, number, *_ = line.split()
        if word == "kept":
            self.kept.add(int(number))
        elif word == "observed":
            self.observed[int(number)] += 1
        self.lines += 1


@contextlib.contextmanager
def supervised(data: Path, first: int, told: Told) -> Iterator[subprocess.Popen[str]]:
    """A supervisor over a node that writes; killed at the end, and everything with it."""
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(data), str(first)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        assert process.stdout is not None
        out = process.stdout
        reader = threading.Thread(target=lambda: [told.take(line) for line in out if line.endswith("\n")])
        reader.start()
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            reader.join()


def children(data: Path, module: str) -> list[int]:
    """Processes of this module on these data."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = place.read_bytes().split(b"\0")
            if module.encode() in words and any(word.startswith(bytes(data)) for word in words):
                found.append(int(place.parent.name))
    return found


def test_no_acknowledged_answer_or_label_is_lost(tmp_path: Path) -> None:
    told = Told()
    for life in range(LIVES):
        with supervised(tmp_path, life * 1_000_000, told):
            for victim in KILLED:
                enough = told.lines + MORE
                until(lambda enough=enough: told.lines >= enough)
                if victim != "supervisor":
                    (pid, *_) = children(tmp_path, victim)
                    os.kill(pid, signal.SIGKILL)
                    until(lambda pid=pid, victim=victim: any(one != pid for one in children(tmp_path, victim)))
    assert len(told.kept) >= LIVES * MORE // (LABELS + 1)
    asyncio.run(_all_there(tmp_path, told))


async def _all_there(data: Path, told: Told) -> None:
    with embedded(data, patience=Patience(pause_max_ready_s=0.05)) as link:
        async with link:
            collections = await Collections.open(data, link)
            embedder = AnswersEmbedder(SIZE, (), nothing)
            opened = open_store(collections, data / "beside", "answers", embedder, StoreBounds(), SYSTEM, print)
            async with opened as store:
                for number in told.kept:
                    assert await store.exact(asked(entry(number))) == entry(number, expires_at_s=0)
                for number, count in told.observed.items():
                    near = await store.entry(entry(number).id)
                    assert near is not None
                    assert len(near.observations) >= count
                await store._room.looked_through()
                assert store.stats().entries == await collections.get("answers").count() >= len(told.kept)
            await collections.close()
