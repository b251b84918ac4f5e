"""`littoral up` as people start it, on a port of its own."""

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from command import command, environment
from command import littoral as cli
from ports import free_port
from processes import children_of
from raw_http import send
from site_folder import TEXT, site_folder
from waiting import until


class Up:
    """text: of the site file, with `PORT` where the port stands."""

    def __init__(self, folder: Path, text: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.site = folder / "site.toml"
        self.site.write_text(text.replace("PORT", str(self.port)))
        self.errors = folder / "stderr.txt"
        self.address = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(command("up", self.site, *options), env=environment(), stderr=errors)
        self.wait_ready()

    def wait_ready(self) -> None:
        until(self.is_ready)

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.errors.read_text()
        with contextlib.suppress(OSError):
            return send(self.address, "GET", "/readyz").status == 200
        return False

    def pid(self) -> int:
        """Of the node."""
        assert self.process is not None
        found: list[int] = []

        def is_there() -> bool:
            children = children_of(self.process.pid)  # type: ignore[union-attr]
            found[:] = [pid for pid, line in children.items() if "littoral.node.process" in line]
            return bool(found)

        until(is_there)
        return found[0]

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None


class Changing(Up):
    """With another site file beside its own. more: of the site's text."""

    def __init__(self, folder: Path, more: str = "") -> None:
        super().__init__(folder, TEXT.replace("127.0.0.1:0", "127.0.0.1:PORT") + more)
        self.text = self.site.read_text()
        self.new = folder / "new.toml"
        site_folder(folder, self.text)

    def apply(self, text: str, *options: object) -> tuple[int, str]:
        """Exit code, and what was said."""
        self.new.write_text(text)
        done = cli("config", "apply", self.site, self.new, *options)
        return done.code, done.err if done.code else done.out


@contextlib.contextmanager
def asked_all_along(ask: Callable[[], Any]) -> Iterator[list[Any]]:
    """One request after the other, until the block has ended: what came of each."""
    is_over, seen = threading.Event(), list[Any]()

    def go_on() -> None:
        while not is_over.is_set():
            seen.append(ask())

    asking = threading.Thread(target=go_on)
    asking.start()
    try:
        yield seen
    finally:
        is_over.set()
        asking.join()
