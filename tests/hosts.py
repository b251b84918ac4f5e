"""Shard hosts as real processes, for tests that look at them from outside."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from littoral import settings
from littoral.vectors import frames, layout
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from waiting import until

SIZE = 8
PATIENCE_S = 60


def make_folder(data: Path, name: str = "frames") -> Path:
    """A shard's folder in a collection's, as `Collections.create` makes them."""
    folder = data / layout.COLLECTIONS / name / "shard-0"
    folder.mkdir(parents=True, mode=0o700)
    file = layout.CollectionFile(CollectionConfig(VectorParams(SIZE, "Dot")), ["shard-0"])
    (folder.parent / layout.COLLECTION_FILE).write_bytes(msgspec.json.encode(file))
    return folder


def vectors(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((count, SIZE)).astype("<f4")


def upsert(ids: Sequence[int], *, call: int = 1, acknowledge: Any = "applied", rows: Any = None) -> frames.Upsert:
    rows = vectors(len(ids)) if rows is None else rows
    return frames.Upsert(call=call, points=PointBatch(list(ids), rows.tobytes()), acknowledge=acknowledge)


class Client:
    """A blocking client of a host, that can also misbehave."""

    def __init__(self, folder: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            with layout.socket_path(folder) as path:
                self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.socket.settimeout(PATIENCE_S)
        self._frames = frames.Frames()
        self._answers: list[frames.Answer] = []

    def send(self, request: frames.Request) -> None:
        self.socket.sendall(frames.encode(request))

    def answer(self) -> frames.Answer:
        while not self._answers:
            if not (data := self.socket.recv(1 << 16)):
                raise EOFError("the host hung up")
            self._answers += [frames.decode_answer(body) for body in self._frames.feed(data)]
        return self._answers.pop(0)

    def arrived(self) -> int:
        """How many more answers are here, without waiting."""
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while data := self.socket.recv(1 << 20):
                self._answers += [frames.decode_answer(body) for body in self._frames.feed(data)]
        self.socket.settimeout(PATIENCE_S)
        return len(self._answers)

    def ask(self, request: frames.Request) -> Any:
        self.send(request)
        answer = self.answer()
        if isinstance(answer, frames.Failure):
            raise frames.error_of(answer)
        return answer

    def is_hung_up(self) -> bool:
        with contextlib.suppress(ConnectionResetError):
            return not self.socket.recv(1)
        return True

    def close(self) -> None:
        self.socket.close()


class Host:
    """A shard host that lives by a pipe of ours."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.is_over = False
        self._clients: list[Client] = []
        lifeline, self._ours = os.pipe()
        self._status, status = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "littoral.vectors.shard_process", str(folder)],
            env=settings.environment(LITTORAL_LIFELINE_FD=str(lifeline), LITTORAL_STATUS_FD=str(status), **variables),
            pass_fds=[lifeline, status],
            stderr=subprocess.PIPE,
        )
        os.close(lifeline)
        os.close(status)

    def report(self) -> str:
        """Waits for the next line to the supervisor; '' after the end."""
        return os.read(self._status, 4096).decode()

    def abandon(self) -> None:
        """Closes the lifeline, as the death of the supervisor does."""
        if self._ours >= 0:
            os.close(self._ours)
        self._ours = -1

    def connect(self) -> Client:
        """A new client; closed with the host."""
        before = len(self._clients)

        def try_it() -> bool:
            assert self.process.poll() is None, self.wait()
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                self._clients.append(Client(self.folder))
            return len(self._clients) > before

        until(try_it)
        return self._clients[-1]

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """What is sent to it inside the block piles up, and is all there when it goes on."""
        self.signal(signal.SIGSTOP)
        yield
        self.signal(signal.SIGCONT)

    def wait(self) -> tuple[int, str]:
        """Waits for its end: exit code and what it wrote to stderr."""
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        for client in self._clients:
            client.close()
        self.abandon()
        os.close(self._status)
        self.is_over = True
        return self.process.returncode, errors.decode()


@contextlib.contextmanager
def host_of(folder: Path, **variables: str) -> Iterator[Host]:
    host = Host(folder, **variables)
    try:
        yield host
    finally:
        if not host.is_over:
            host.process.kill()
            host.wait()
