"""workerd from the package registry by its lock, kept for all runs; vector databases that misbehave as told."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from bench.isolated import LOCK, PACKAGES, workerd_of

from engines.commands import pinned_node
from engines.host import fetch, kept
from needs import need

__all__ = ["Database", "Miniflare", "Question", "database", "in_miniflare", "isolates", "points"]


def isolates() -> Path:
    """A folder with Miniflare and workerd; no script of a package runs."""
    npm = shutil.which("npm")
    need(npm, "npm (Debian: `npm`)")

    def make(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PACKAGES / name, folder)
        fetch([str(npm), "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], folder)

    folder = kept("isolates", LOCK.read_text(), make)
    need(workerd_of(folder).exists(), f"`{workerd_of(folder).name}` of the lock")
    return folder


class Question(NamedTuple):
    path: str
    headers: Mapping[str, str]
    body: Any


class Database(NamedTuple):
    """questions: what it was asked, in order."""

    url: str
    questions: list[Question]


def points(*ids: int) -> tuple[int, Any]:
    """A good answer in Qdrant's words."""
    found = [{"id": i, "version": 1, "score": 1 - i / 10, "payload": {"i": i}} for i in ids]
    return 200, {"result": {"points": found}, "status": "ok", "time": 0.001}


@contextmanager
def database(answer: Callable[[Question], tuple[int, Any]], *, late_s: float = 0) -> Iterator[Database]:
    """Answers at Qdrant's route what it is told to. late_s: only after that, or when the test is over."""
    over = threading.Event()
    questions: list[Question] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            question = Question(self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(body))
            questions.append(question)
            status, said = answer(question)
            over.wait(late_s)
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Silent."""

        def handle(self) -> None:
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Database(f"http://127.0.0.1:{server.server_port}", questions)
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Miniflare(NamedTuple):
    """A worker with a KV namespace."""

    address: str
    process: "subprocess.Popen[str]"

    def keys(self, line: str = "keys") -> list[str]:
        """Of the namespace; after `put KEY VALUE`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        found: list[str] = json.loads(self.process.stdout.readline())
        return found


@contextmanager
def in_miniflare(bundle: Path, store: Path, **bindings: str) -> Iterator[Miniflare]:
    """store: folder that the namespace is kept in."""
    script = Path(__file__).with_name("miniflare.mjs")
    command = [pinned_node(), script, isolates(), bundle, store, json.dumps(bindings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Miniflare(process.stdout.readline().strip(), process)
        process.communicate(timeout=120)
