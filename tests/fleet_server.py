"""A fleet that real nodes are in: its repositories in a folder, and what an orchestrator says, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fleet_trust import NODE, Fleet
from littoral.clock import SYSTEM
from littoral.updates.metadata.ceremony import begin, new_offline_keys
from littoral.updates.metadata.keys import KeyRing
from littoral.updates.metadata.store import FolderStore
from littoral.updates.trust.trust_file import TrustFile
from littoral.updates.wire import Desired, Gates

BASE = "/fleet/v1/"
CLAIM, TOKEN = "claim-1", "token-1"
SHORT = Gates(canary_s=0.5, watch_s=1.0, p99_ratio_max=1000.0)
"""So that a test does not wait; what is slow is judged by tests of its own."""


class RealFleet(Fleet):
    """At the machine's own time."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.clock = SYSTEM  # type: ignore[assignment]
        self.store = FolderStore(folder / "served")
        self.ring = KeyRing(folder / "online")
        self.root_keys, self.targets_keys = offline = new_offline_keys(folder / "offline")
        self.image, self.director, roots = begin(self.store, self.ring, offline)
        self.trust = TrustFile.of(*roots, url)
        self.deployment = 0

    def run(self, models: dict[str, str], *, gates: Gates = SHORT, node: str = NODE, **more: Any) -> int:
        """What the node is to run: target by name. The number of the deployment."""
        self.deployment += 1
        desired = Desired(node=node, deployment=self.deployment, models=models, gates=gates, **more)
        self.director.tell(node, desired, self.image.targets_for(desired))
        return self.deployment


class Orchestrator:
    """checked_in, reports, answers: what nodes have said. asks: what they are asked at the next check-in."""

    def __init__(self, folder: Path) -> None:
        self.checked_in: list[dict[str, Any]] = []
        self.enrolled: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.asks: list[dict[str, Any]] = []
        self.told = threading.Condition()
        self.port = 0
        self._folder = folder
        self._server: ThreadingHTTPServer | None = None
        self.start()
        self.fleet = RealFleet(folder, self.url)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        handler = type("OfOne", (Handler,), {"orchestrator": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def run(self, models: dict[str, str], **more: Any) -> int:
        """As `Fleet.run`; whoever waits hears of it."""
        with self.told:
            number = self.fleet.run(models, **more)
            self.told.notify_all()
        return number

    def hear(self, path: str, body: Any) -> object:
        """What a node says, and the answer; None for a path that there is none of."""
        if path == "checkin":
            asks, self.asks[:] = list(self.asks), []
            self.checked_in.append(body)
            return {"deployment": self.fleet.deployment, "poll_s": 1.0, "time": SYSTEM.wall(), "asks": asks}
        if path == "reports":
            self.reports.extend(body)
            return {}
        if path.startswith("asks/"):
            self.answers[path.removeprefix("asks/")] = body
            return {}
        return None

    def enrol(self, body: dict[str, Any]) -> object:
        self.enrolled.append(body)
        return {"node": NODE, "token": TOKEN, "poll_s": 1.0} if body["claim"] == CLAIM else None

    def newer_than(self, after: int, wait_s: float) -> int | None:
        with self.told:
            is_new = self.told.wait_for(lambda: self.fleet.deployment > after, wait_s)
        return self.fleet.deployment if is_new else None

    def file(self, path: str) -> bytes | None:
        found = self._folder / "served" / path
        return found.read_bytes() if found.is_file() else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    orchestrator: Orchestrator

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path, _, query = self.path.removeprefix(BASE).partition("?")
        if path == "signal":
            asked = dict(part.split("=") for part in query.split("&"))
            newest = self.orchestrator.newer_than(int(asked["after"]), float(asked["wait_s"]))
            self._say(*((204, None) if newest is None else (200, {"deployment": newest})))
        elif (data := self.orchestrator.file(path)) is None:
            self._say(404, {"error": "there is no such file"})
        else:
            self._file(data)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.removeprefix(BASE)
        if path == "enrol":
            said = self.orchestrator.enrol(body)
            self._say(*((403, {"error": "claim is unknown"}) if said is None else (200, said)))
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._say(401, {"error": "token is unknown"})
        else:
            said = self.orchestrator.hear(path, body)
            self._say(404 if said is None else 200, said)

    def _file(self, data: bytes) -> None:
        if (wanted := self.headers.get("Range")) is None:
            self.send_response(200)
        else:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            end = min(len(data), int(last) + 1) if last else len(data)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(data)}")
            data = data[int(first) : end]
        self._body(data)

    def _say(self, status: int, told: object) -> None:
        self.send_response(status)
        if status == 204:
            self.end_headers()
            return
        self.send_header("Content-Type", "application/json")
        self._body(json.dumps(told).encode())

    def _body(self, data: bytes) -> None:
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def orchestrating(folder: Path) -> Iterator[Orchestrator]:
    made = Orchestrator(folder)
    try:
        yield made
    finally:
        made.stop()
