"""Real processes over HTTPS: a busy site has steps done in the data centre, and does them itself again when it is not;
the orchestrator is killed and frozen meanwhile, and no request is lost.
"""

import json
import shutil
import signal
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from command import command, environment
from littoral.errors import PeerError
from littoral.updates.calls import Calls
from littoral.updates.wire import CheckIn
from mesh_certificates import Authority
from modules_in_text import model
from ports import free_port
from supervised import short_folder
from upped import Up
from waiting import until

pytestmark = pytest.mark.e2e

FLEET = "fleet:orchestrator"
CALLERS = 7
"""All of their steps together take less than the second that a call waits for an instance at most."""
SPILL_STEPS = 3.0
"""So many steps one after another are too long for the site."""
TURNS = 5_000_000
BUSY = f"""(local $i i32)
  (loop $again
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $i) (i32.const {TURNS}))))
  (v128.store (i32.const 1088) (f32x4.mul (v128.load (i32.const 1024)) (v128.load (i32.const 1024))))"""
WORKER = """
[node]
name = "dc-1"
listen = "127.0.0.1:PORT"
[auth]
probes = false
[tls]
certificate = "certificate.pem"
key = "key.pem"
[placement]
[models.m]
path = "m.wasm"
instances = { min = 1, max = 2 }
"""
SITE = """
[node]
name = "gw-1"
listen = "127.0.0.1:PORT"
[updates]
trust = "fleet.json"
claim = "claim"
poll_s = 1
node = "gw-1"
[placement]
fallback = true
tries = 0.0
spill_ms = SPILL
[models.m]
path = "m.wasm"
instances = { min = 1, max = 1 }
[pipelines.here]
steps = [{ model = "m" }]
[pipelines.any]
steps = [{ model = "m", place = "auto", residency = "any" }]
[pipelines.site]
steps = [{ model = "m", place = "auto" }]
"""
FILE = """
[orchestrator]
name = "reef"
listen = "127.0.0.1:PORT"
ca = "ca.pem"
[auth]
tokens = "tokens.json"
[tls]
certificate = "certificate.pem"
key = "key.pem"
[inference]
node_steps_per_s = 1000.0
[inference.nodes.dc-1]
url = "https://127.0.0.1:WORKER"
token = "dc-1.token"
ca = "ca.pem"
"""


class Secure(Up):
    """A node behind TLS."""

    def __init__(self, folder: Path, text: str, authority: Authority) -> None:
        super().__init__(folder, text)
        certify(folder, authority)
        self._trusted = ssl.create_default_context(cafile=str(authority.ca))

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.errors.read_text()
        return is_ready(f"https://{self.address}", self._trusted)


class Orchestrator:
    """`littoral orchestrator` as people run it, at one port."""

    def __init__(self, folder: Path, authority: Authority, worker: Secure) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._more = {"LITTORAL_FLEET": self.url, "LITTORAL_CA": str(authority.ca)}
        self._trusted = ssl.create_default_context(cafile=str(authority.ca))
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        certify(folder, authority)
        text = FILE.replace("PORT", str(self.port)).replace("WORKER", str(worker.port))
        (folder / "orchestrator.toml").write_text(text)
        made = self.verb("tokens", "new", worker.site, "fleet", "--roles", "steps", "--json")
        (folder / "dc-1.token").write_text(json.loads(made)["token"])
        self._more["LITTORAL_TOKEN"] = self.verb("orchestrator", "init", folder, "--keys-to", folder / "people").strip()

    def verb(self, *words: object) -> str:
        done = subprocess.run(
            command(*words), capture_output=True, text=True, env=environment() | self._more, timeout=300
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def start(self) -> None:
        with (self.folder / "stderr.txt").open("ab") as errors:
            words = command("orchestrator", "up", self.folder / "orchestrator.toml")
            self._process = subprocess.Popen(words, env=environment(), stderr=errors)
        until(lambda: is_ready(self.url, self._trusted))

    def freeze(self) -> None:
        """It takes connections, and says nothing on them, until it thaws."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def steps(self, outcome: str) -> float:
        """Of the metric."""
        headers = {"Authorization": f"Bearer {self._more['LITTORAL_TOKEN']}"}
        request = urllib.request.Request(f"{self.url}/metrics", headers=headers)
        with urllib.request.urlopen(request, timeout=60, context=self._trusted) as answer:
            lines = answer.read().decode().splitlines()
        wanted = f'littoral_fleet_steps_total{{outcome="{outcome}"}} '
        return next(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


def certify(folder: Path, authority: Authority) -> None:
    made = authority.issue(folder.name)
    for source, name in ((made.certificate, "certificate.pem"), (made.key, "key.pem"), (authority.ca, "ca.pem")):
        shutil.copy(source, folder / name)


def is_ready(url: str, trusted: ssl.SSLContext) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=60, context=trusted) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Load:
    """Callers that ask the site one thing after another; each answer is the one that is right, by its bits."""

    def __init__(self, site: Up, count: int) -> None:
        self._site = site
        self._stops = threading.Event()
        self.nodes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(count)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stops.set()
        for thread in self._threads:
            thread.join()

    def until_done_by(self, node: str, more: int) -> None:
        """So many more steps were done there."""
        wanted = self.nodes[node] + more
        until(lambda: self.nodes[node] >= wanted)

    def _ask(self, number: int) -> None:
        values = [number + 0.1, number + 0.2, -number - 0.3, 1e-3 * number]
        right = None
        while not self._stops.is_set():
            try:
                found, how = run(self._site, "any", values)
            except (OSError, ValueError) as error:
                body = error.read().decode() if isinstance(error, urllib.error.HTTPError) else ""
                self.wrong.append(f"{error} {body}")
                return
            right = right or found
            if found != right:
                self.wrong.append(f"{found}, before {right}")
            self.nodes[how["placement"][0]["node"]] += 1


def run(site: Up, pipeline: str, values: list[float]) -> tuple[list[float], dict[str, Any]]:
    body = json.dumps({"inputs": {"x": values}}).encode()
    headers = {"content-type": "application/json", "cache-control": "no-store", "littoral-deadline-ms": "120000"}
    request = urllib.request.Request(f"http://{site.address}/pipelines/{pipeline}", body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=180) as answer:
        told = json.load(answer)
    return told["result"]["outputs"]["y"]["data"], told["how"]


def where(site: Up, pipeline: str = "any") -> str:
    return str(run(site, pipeline, [1.0, 2.0, 3.0, 4.0])[1]["placement"][0]["node"])


def heard_at(site: Up) -> float:
    """When the node last heard of its orchestrator."""
    with urllib.request.urlopen(f"http://{site.address}/api/updates", timeout=60) as answer:
        return float(json.load(answer)["heard_at"])


@pytest.fixture
def processes() -> Iterator[tuple[Orchestrator, Up]]:
    """What a step takes on this machine decides how much is too much for the site."""
    with short_folder() as folder:
        authority = Authority(folder / "ca")
        wasm = model(BUSY)
        worker = Secure(folder / "dc-1", WORKER, authority)
        (folder / "dc-1/m.wasm").write_bytes(wasm)
        orchestrator = Orchestrator(folder / "hq", authority, worker)
        site = Up(folder / "gw-1", SITE)
        (folder / "gw-1/m.wasm").write_bytes(wasm)
        try:
            worker.start()
            orchestrator.start()
            (claim,) = json.loads(orchestrator.verb("fleet", "claims", "new", "--json"))
            (folder / "gw-1/fleet.json").write_text(orchestrator.verb("fleet", "trust"))
            (folder / "gw-1/claim").write_text(claim["code"])
            site.site.write_text(site.site.read_text().replace("SPILL", "600000"))
            site.start()
            step_ms = median(run(site, "here", [1.0] * 4)[1]["stages"]["m"] for _ in range(7))
            site.end()
            site.site.write_text(site.site.read_text().replace("600000", f"{SPILL_STEPS * step_ms:.3f}"))
            site.start()
            yield orchestrator, site
        finally:
            site.end(signal.SIGKILL)
            worker.end(signal.SIGKILL)
            orchestrator.kill()


def test_a_busy_site_goes_out_and_comes_back(processes: tuple[Orchestrator, Up]) -> None:
    orchestrator, site = processes
    until(lambda: where(site) == "gw-1")
    with Load(site, CALLERS) as load:
        load.until_done_by(FLEET, 20)
        assert where(site, "site") == "gw-1"
        orchestrator.kill()
        load.until_done_by("gw-1", 20)
        orchestrator.start()
        load.until_done_by(FLEET, 10)
        orchestrator.freeze()
        load.until_done_by("gw-1", 20)
    assert load.wrong == [], "steps that were out when it froze were done at home, in time"
    calls = Calls(orchestrator.url, (orchestrator.folder / "ca.pem").read_text(), "token", timeout_s=1.0)
    with pytest.raises(PeerError, match="timed out"):
        calls.check_in(CheckIn(deployment=0, state="idle"))
    frozen_at = heard_at(site)
    orchestrator.thaw()
    until(lambda: heard_at(site) > frozen_at)
    assert orchestrator.steps("answered") >= 10
    until(lambda: where(site) == "gw-1")
