"""A fleet on this machine for benchmarks: its orchestrator is a process of its own, which may be killed."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["Orchestrator", "free_port", "orchestrator", "until"]

END_S = 30.0


class Orchestrator:
    """`littoral orchestrator up` on a port that stays. token: of a publisher."""

    def __init__(self, folder: Path, poll_s: float) -> None:
        self.port = free_port()
        self.file = folder / "orchestrator.toml"
        keys = ("--keys-to", str(folder / "people"), "--delegate-uploads")
        done = subprocess.run(
            littoral("orchestrator", "init", str(folder), *keys), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        self.token = done.stdout.strip().splitlines()[-1].strip()
        text = self.file.read_text()
        self.file.write_text(text.replace("127.0.0.1:8680", f"127.0.0.1:{self.port}"))
        self._set("poll_s", f"{poll_s:g}")
        self._process: subprocess.Popen[bytes] | None = None

    def _set(self, key: str, value: str) -> None:
        self.file.write_text(self.file.read_text().replace("[orchestrator]\n", f"[orchestrator]\n{key} = {value}\n", 1))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.file.with_name("stderr.txt").open("ab") as errors:
            self._process = subprocess.Popen(littoral("orchestrator", "up", str(self.file)), stderr=errors)
        until(self.is_up, 60)

    def is_up(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def end(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(END_S)
            self._process = None

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer. Raises OSError where there is none, or it is no good one."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        asked = urllib.request.Request(f"http://{self.address}{path}", data, headers, method=method)
        with urllib.request.urlopen(asked, timeout=30) as reply:
            return json.loads(reply.read() or b"null")

    def trust(self) -> bytes:
        headers = {"authorization": f"Bearer {self.token}"}
        asked = urllib.request.Request(f"http://{self.address}/api/fleet/trust", headers=headers)
        with urllib.request.urlopen(asked, timeout=30) as reply:
            return bytes(reply.read())


@contextlib.contextmanager
def orchestrator(folder: Path, poll_s: float = 1.0) -> Iterator[Orchestrator]:
    found = Orchestrator(folder, poll_s)
    found.start()
    try:
        yield found
    finally:
        found.end()


def littoral(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "littoral", *arguments]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def until(is_so: Callable[[], bool], within_s: float) -> None:
    """Raises TimeoutError."""
    end = time.perf_counter() + within_s
    while not is_so():
        if time.perf_counter() > end:
            raise TimeoutError(f"not so within {within_s:g} s")
        time.sleep(0.05)
