"""SpiderMonkey, in a Firefox without a window: a page runs the cases, and posts what comes out to the server here."""

import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from engines.host import HERE, RUN_TIMEOUT_S, Host, started
from needs import need

__all__ = ["firefox", "firefox_at"]

BODY_BYTES_MAX = 64 << 20
TYPES = {".html": "text/html", ".mjs": "text/javascript", ".json": "application/json"}
# Only pages that share nothing with others may have threads that share a memory.
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
# A fresh profile looks for updates, tells of itself and shows a welcome, unless told otherwise.
PREFERENCES: Mapping[str, bool | int | str] = {
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "browser.aboutwelcome.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.ipc.processPrelaunch.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "security.sandbox.content.level": 0,
    "services.settings.server": "",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.unified": False,
    "trailhead.firstrun.didSeeAboutWelcome": True,
}


def firefox(*, baseline: bool) -> Host:
    """With one of SpiderMonkey's two compilers alone."""
    tiers = {
        "javascript.options.wasm_baselinejit": baseline,
        "javascript.options.wasm_optimizingjit": not baseline,
    }

    def run(cases: Path, out: Path) -> None:
        with _server(cases, out) as server:
            page = f"http://127.0.0.1:{server.server_address[1]}/page.html"
            with firefox_at(page, out / "home", tiers):
                is_done = server.is_done.wait(RUN_TIMEOUT_S)
        assert is_done, f"not done within {RUN_TIMEOUT_S} s: {server.posted} cases came"
        assert server.failure == ""

    return run


@contextmanager
def firefox_at(page: str, home: Path, preferences: Mapping[str, bool | int | str] | None = None) -> Iterator[None]:
    """Firefox with that page, inside the block. home: a folder to be made, with its profile."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    need(program, "Firefox (Debian: `firefox-esr`)")
    profile = home / "profile"
    profile.mkdir(parents=True)
    lines = [f"user_pref({_js(k)}, {_js(v)});\n" for k, v in {**PREFERENCES, **(preferences or {})}.items()]
    (profile / "user.js").write_text("".join(lines))
    command = [str(program), "--headless", "--no-remote", "--profile", profile, page]
    with started(command, {"HOME": str(home), "MOZ_HEADLESS": "1", "MOZ_CRASHREPORTER_DISABLE": "1"}):
        yield


def _js(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool | int) else f'"{value}"'


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cases: Path, out: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.out, self.folders = out, (HERE, cases, out)
        self.is_done = threading.Event()
        self.failure = ""
        self.posted = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Browsers drop connections when they leave."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        name = Path(self.path.partition("?")[0]).name
        found = next((file for folder in self.server.folders if (file := folder / name).is_file()), None)
        if found is None:
            self._answer(404, "text/plain", b"")
        else:
            self._answer(200, TYPES.get(found.suffix, "application/octet-stream"), found.read_bytes())

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        assert length <= BODY_BYTES_MAX
        body, name = self.rfile.read(length), Path(self.path).name
        self._answer(200, "text/plain", b"")
        if name == "done":
            self.server.failure = body.decode()
            self.server.is_done.set()
        else:
            (self.server.out / name).write_bytes(body)
            self.server.posted += 1

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in ISOLATED.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _server(cases: Path, out: Path) -> Iterator[_Server]:
    with _Server(cases, out) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
