"""A whole supervised node as real processes, and what is left of it."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from waiting import until

TINY_NODE = Path(__file__).parent / "tiny_node.py"
SUPERVISE = (
    "import sys; from pathlib import Path; from littoral.node.supervisor import Supervisor;"
    "Supervisor(Path(sys.argv[1]), [sys.executable, *sys.argv[2:]]).run_until_signal()"
)


class Node:
    """`littoral up` in small: a supervisor process over a tiny node."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self._errors = data / "stderr.txt"  # a file: a pipe would stay open in an orphan, and hide it by waiting
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", SUPERVISE, str(data), str(TINY_NODE), str(data), *options], stderr=errors
            )

    def connect(self) -> "NodeClient":
        clients: list[NodeClient] = []

        def try_it() -> bool:
            with contextlib.suppress(OSError):
                clients.append(NodeClient(self.data))
            return bool(clients)

        until(try_it)
        return clients[0]

    def ask(self, **request: Any) -> Any:
        """One question on a connection of its own, repeated until there is an answer."""
        answers: list[Any] = []

        def try_it() -> bool:
            with contextlib.suppress(OSError), NodeClient(self.data) as client:
                answers.append(client.ask(**request))
            return bool(answers)

        until(try_it)
        return answers[0]

    def children(self) -> dict[str, int]:
        """Process ids of node and hosts, once all run."""
        found: dict[str, int] = {}

        def all_run() -> bool:
            found.clear()
            found.update(self.ask(do="children"))
            return len(found) == 2 and all(found.values())

        until(all_run)
        return found

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and what was written to stderr."""
        self.process.send_signal(number)
        return self.process.wait(60), self._errors.read_text()


class NodeClient:
    def __init__(self, data: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(data / "node.sock"))
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(60)
        self._stream = self._socket.makefile("rwb")

    def ask(self, **request: Any) -> Any:
        """Raises ConnectionError if the node goes away, AssertionError for an error of the node."""
        self._stream.write(json.dumps(request).encode() + b"\n")
        self._stream.flush()
        if not (line := self._stream.readline()):
            raise ConnectionResetError("the node went away")
        said = json.loads(line)
        assert "ok" in said, said
        return said["ok"]

    def __enter__(self) -> "NodeClient":
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()
        self._socket.close()


@contextlib.contextmanager
def node_on(data: Path, *options: str) -> Iterator[Node]:
    node = Node(data, *options)
    try:
        yield node
    finally:
        if node.process.returncode is None:
            node.end(signal.SIGKILL)


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="littoral-") as name:
        yield Path(name)


@contextlib.contextmanager
def watched(pids: list[int]) -> Iterator[Any]:
    """Gives a function that tells which of these processes still run, safe against reuse of their numbers."""
    handles = {pid: os.pidfd_open(pid) for pid in pids}

    def running() -> list[int]:
        return [pid for pid, handle in handles.items() if not select.select([handle], [], [], 0)[0]]

    try:
        yield running
    finally:
        for handle in handles.values():
            os.close(handle)
