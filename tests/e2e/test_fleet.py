"""A fleet as people run it: an orchestrator begun by its verbs, two real nodes that enrol, versions that are signed, go
ring by ring, and are taken back; the orchestrator is killed ten times meanwhile.
"""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import command, environment
from modules_in_text import model
from ports import free_port
from raw_http import send, send_json
from supervised import short_folder
from upped import Up
from waiting import until

pytestmark = pytest.mark.e2e

SITE = """
[node]
name = "NAME"
listen = "127.0.0.1:PORT"

[models.m]
path = "fleet:m"

[updates]
trust = "fleet.json"
claim = "claim"
poll_s = 1
node = "NAME"
"""
GATES = {"canary_s": 0.2, "watch_s": 0.5, "p99_ratio_max": 1000.0}
GROUP = {"match": {"region": "north"}, "gates": GATES}
KILLS = 10


def times(factor: float, *, before: str = "") -> bytes:
    """y = x · factor. before: run first."""
    body = f"""{before}(v128.store (i32.const 1088)
      (f32x4.mul (v128.load (i32.const 1024)) (f32x4.splat (f32.const {factor}))))"""
    return model(body)


class Headquarters:
    """An orchestrator, from `littoral orchestrator init` on, and the keys of people beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.file = folder / "hq/orchestrator.toml"
        self.file.parent.mkdir(parents=True)
        self.file.write_text(
            f'[orchestrator]\nname = "reef"\nlisten = "127.0.0.1:{self.port}"\npoll_s = 1\noffline_s = 86_400\n\n'
            '[auth]\ntokens = "tokens.json"\n'
        )
        self.token = ""
        self.token = self.verb("orchestrator", "init", self.file.parent, "--keys-to", folder / "people").strip()
        self.process: subprocess.Popen[bytes] | None = None
        self.errors = folder / "hq.txt"

    def verb(self, *words: object, code: int = 0) -> str:
        more = {"LITTORAL_TOKEN": self.token, "LITTORAL_FLEET": self.url}
        done = subprocess.run(command(*words), capture_output=True, text=True, env=environment() | more, timeout=300)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout

    def told(self, *words: object) -> Any:
        return json.loads(self.verb("fleet", *words, "--json"))

    def start(self) -> None:
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(command("orchestrator", "up", self.file), env=environment(), stderr=errors)
        until(self.is_ready)

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.errors.read_text()
        try:
            return send(f"127.0.0.1:{self.port}", "GET", "/readyz").status == 200
        except OSError:
            return False

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()

    def ask(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        return send(f"127.0.0.1:{self.port}", "GET", f"/api/fleet/{path}", headers=headers).json

    def publish(self, wasm: bytes) -> str:
        """Registered, and signed by two of three; its target."""
        file = self.folder / "m.wasm"
        file.write_bytes(wasm)
        target = str(self.told("publish", file, "--name", "m")["target"])
        for number in (1, 3):
            self.verb("fleet", "sign", "--key", self.folder / f"people/targets-{number}.key", "--yes")
        return target

    def roll_out(self, target: str, **more: Any) -> str:
        order = json.dumps({"patience_s": 600} | more)
        words = ("--group", "north", "--model", f"m={target}", "--ring", "canary=50", "--order", order)
        return str(self.told("rollout", "start", *words)["id"])

    def until_ended(self, rollout: str, state: str) -> dict[str, Any]:
        until(lambda: self.ask(f"rollouts/{rollout}")["state"] not in ("running", "rolling_back"))
        found: dict[str, Any] = self.ask(f"rollouts/{rollout}")
        assert found["state"] == state, found
        return found


class Site(Up):
    """A node that enrols by the one code of all."""

    def __init__(self, folder: Path, name: str, trust: str, claim: str) -> None:
        super().__init__(folder / name, SITE.replace("NAME", name))
        self.site.with_name("fleet.json").write_text(trust)
        self.site.with_name("claim").write_text(claim)

    def factor(self) -> float | None:
        """What its model does; None while it has none."""
        asked = {"inputs": [{"name": "x", "shape": [4], "datatype": "FP32", "data": [1.0] * 4}]}
        said = send_json(self.address, "POST", "/v2/models/m/infer", asked)
        return float(said.json["outputs"][0]["data"][0]) if said.status == 200 else None


@pytest.fixture
def headquarters() -> Iterator[Headquarters]:
    with short_folder() as folder:
        found = Headquarters(folder)
        found.start()
        try:
            yield found
        finally:
            found.end()


@pytest.fixture
def sites(headquarters: Headquarters) -> Iterator[list[Site]]:
    group = headquarters.folder / "north.json"
    group.write_text(json.dumps(GROUP))
    headquarters.verb("fleet", "groups", "put", "north", group)
    (claim,) = headquarters.told("claims", "new", "--uses", "2", "--label", "region=north")
    trust = headquarters.verb("fleet", "trust")
    found = [Site(headquarters.folder, name, trust, claim["code"]) for name in ("gw-1", "gw-2")]
    try:
        for site in found:
            site.start()
        until(lambda: [one["online"] for one in headquarters.ask("nodes")] == [True, True])
        yield found
    finally:
        for site in found:
            site.end(signal.SIGKILL)


def test_a_fleet_from_its_first_version_to_the_way_back(headquarters: Headquarters, sites: list[Site]) -> None:
    """Ten kills of the orchestrator are in the middle of the second rollout."""
    first = headquarters.roll_out(headquarters.publish(times(2)))
    done = headquarters.until_ended(first, "done")
    assert [(ring["nodes"], ring["done"]) for ring in done["rings"]] == [(1, 1), (1, 1)]
    assert [site.factor() for site in sites] == [2.0, 2.0]

    ask_nodes(headquarters)
    write_stick(headquarters)

    second = headquarters.roll_out(headquarters.publish(times(3)))
    for _ in range(KILLS):
        headquarters.end()
        headquarters.start()
    headquarters.until_ended(second, "done")
    assert [site.factor() for site in sites] == [3.0, 3.0]
    assert all(not node["drift"] for node in headquarters.told("nodes"))

    third = headquarters.roll_out(headquarters.publish(times(4, before="unreachable")))
    ended = headquarters.until_ended(third, "aborted")
    assert "nodes of a ring failed, first `gw-" in ended["why"]
    until(lambda: not headquarters.ask(f"rollouts/{third}")["late"])
    assert [site.factor() for site in sites] == [3.0, 3.0]
    told = {node["name"] for node in headquarters.told("nodes") if node["deployment"] > 2}
    assert len(told) == 1, "the other ring never heard of it"

    headquarters.verb("fleet", "rollout", "rollback", second)
    headquarters.until_ended(second, "rolled_back")
    until(lambda: [site.factor() for site in sites] == [2.0, 2.0])
    headquarters.end(signal.SIGTERM)
    headquarters.verb("audit", "verify", headquarters.folder / "hq/data/audit")


def ask_nodes(headquarters: Headquarters) -> None:
    assert json.loads(headquarters.verb("fleet", "doctor", "gw-1"))
    headquarters.verb("fleet", "bundle", "gw-2", "-o", headquarters.folder / "bundle.tar.gz")
    assert (headquarters.folder / "bundle.tar.gz").read_bytes()[:2] == b"\x1f\x8b"
    headquarters.verb("fleet", "rollout", "show", "nothing", code=4)


def write_stick(headquarters: Headquarters) -> None:
    stick = headquarters.folder / "stick"
    headquarters.verb("fleet", "export", stick, "--node", "gw-1")
    files = {path.relative_to(stick).as_posix() for path in stick.rglob("*")}
    assert {"image/metadata/timestamp.json", "director/gw-1/metadata/timestamp.json"} <= files
    assert not any("gw-2" in name for name in files)
