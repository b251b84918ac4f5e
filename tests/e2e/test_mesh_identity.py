"""Real processes join a site by the command line, speak over Zenoh, renew, revoke; some on machines without a time."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from command import command, environment, littoral
from littoral.clock import SYSTEM
from littoral.mesh.identity.identity import Identity
from mesh_site import DAY_S, MovedClock, found, free_port, joined
from needs import need
from waiting import until

pytestmark = pytest.mark.e2e

TESTS = Path(__file__).parents[1]
IN_1970 = "@1970-01-02 00:00:00"
ASK_TRIES = 20


def faketime() -> Path | None:
    found_files = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return found_files[0] if found_files else None


class Process:
    """One node. at: what its machine takes the time for."""

    def __init__(self, data: Path, port: int, protocol: str, *peers: str, at: str | None = None) -> None:
        extra = {}
        if at is not None:
            need(faketime(), "libfaketime (Debian: faketime)")
            extra = {"LD_PRELOAD": str(faketime()), "FAKETIME": at, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.process = subprocess.Popen(
            [sys.executable, TESTS / "mesh_node.py", data, str(port), protocol, *peers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment(), **extra, "PYTHONPATH": str(TESTS)},
        )
        assert self._read() == "here"

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._read()

    def hears(self, peer: str) -> bool:
        """Whether the peer answers, within some seconds."""
        return any(self.say(f"ask {peer}").startswith("hello") for _ in range(ASK_TRIES))

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture
def started() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def start(stack: contextlib.ExitStack, *arguments: object, at: str | None = None) -> Process:
    process = Process(*arguments, at=at)  # type: ignore[arg-type]
    stack.callback(process.close)
    return process


@contextlib.contextmanager
def door_of(data: Path, log: Path) -> Iterator[str]:
    """HOST:PORT of the door that `littoral mesh door` opens."""
    with log.open("w") as file:
        arguments = command("mesh", "door", data, "--listen", "127.0.0.1:0")
        process = subprocess.Popen(arguments, stderr=file, env=environment())
    try:
        until(lambda: "is open at" in log.read_text())
        yield log.read_text().splitlines()[0].rpartition(" ")[2]
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_two_nodes_join_and_speak_and_one_is_revoked(tmp_path: Path, started: contextlib.ExitStack) -> None:
    ports = free_port(), free_port()
    a, b = tmp_path / "a", tmp_path / "b"
    place = f"quic/127.0.0.1:{ports[0]}"
    done = littoral("mesh", "init", a, "--site", "farm", "--name", "gw-1", "--endpoint", place, folder=tmp_path)
    assert done.code == 0, done.err
    made = littoral("mesh", "token", a, "gw-2", "--json").json
    with door_of(a, tmp_path / "door.log") as at:
        endpoint = f"quic/127.0.0.1:{ports[1]}"
        status = littoral(
            "mesh", "join", b, "--at", at, "--token", made["token"], "--name", "gw-2", "--endpoint", endpoint, "--json"
        ).json
    assert [node["name"] for node in status["nodes"]] == ["gw-1", "gw-2"]
    first = start(started, a, ports[0], "quic", f"gw-2=127.0.0.1:{ports[1]}")
    second = start(started, b, ports[1], "quic", f"gw-1=127.0.0.1:{ports[0]}")
    assert first.hears("gw-2")
    assert second.say("ask gw-1") == "hello gw-2"
    assert littoral("doctor", b).code == 0
    assert first.say("revoke gw-2") == "revoked"
    assert "node `gw-2` was revoked" in second.say("ask gw-1")
    assert first.say("refused") == "{'revoked': 1}"
    assert "node `gw-2` was revoked" in first.say("ask gw-2")


@pytest.mark.parametrize(
    ("who", "protocol"), [("asks", "quic"), ("answers", "quic"), ("both", "quic"), ("both", "tls")]
)
def test_a_machine_in_1970_speaks_with_the_others(
    tmp_path: Path, started: contextlib.ExitStack, protocol: Literal["quic", "tls"], who: str
) -> None:
    a, b, ports = _two(tmp_path, 0)
    start(started, a, ports[0], protocol, "gw-2", at=IN_1970 if who in ("answers", "both") else None)
    asking = start(
        started, b, ports[1], protocol, f"gw-1=127.0.0.1:{ports[0]}", at=IN_1970 if who in ("asks", "both") else None
    )
    assert asking.hears("gw-1")


def test_a_machine_in_1970_renews_over_the_mesh(tmp_path: Path, started: contextlib.ExitStack) -> None:
    """Its own certificate is 25 days old: due by the site's time, which it kept on disk."""
    a, b, ports = _two(tmp_path, 25)
    start(started, a, ports[0], "quic", "gw-2")
    second = start(started, b, ports[1], "quic", f"gw-1=127.0.0.1:{ports[0]}", at=IN_1970)
    before = Identity.open(b, SYSTEM).credential.certificate
    assert second.hears("gw-1")
    assert second.say("renew") == "renewed"
    after = Identity.open(b, SYSTEM).credential.certificate
    assert after.expires_at_s > before.expires_at_s + 20 * DAY_S


def test_zenoh_refuses_an_ended_certificate_and_the_door_renews_it(
    tmp_path: Path, started: contextlib.ExitStack
) -> None:
    a, b, ports = _two(tmp_path, 40)
    _renewed_by_itself(a)
    start(started, a, ports[0], "quic", "gw-2")
    late = start(started, b, ports[1], "quic", f"gw-1=127.0.0.1:{ports[0]}")
    assert late.say("ask gw-1").startswith("no: ")
    late.close()
    failed = littoral("doctor", b)
    assert failed.code == 1
    assert "this node's certificate ended 10.0 days ago" in failed.out
    with door_of(a, tmp_path / "door.log") as at:
        assert littoral("mesh", "renew", b, "--at", at).code == 0
    again = start(started, b, ports[1], "quic", f"gw-1=127.0.0.1:{ports[0]}")
    assert again.hears("gw-1")


def _two(tmp_path: Path, days_ago: float) -> tuple[Path, Path, tuple[int, int]]:
    """gw-1 and gw-2, whose certificates were made then; their clocks on disk are of now."""
    clock = MovedClock(wall_s=SYSTEM.wall() - days_ago * DAY_S)
    ports = free_port(), free_port()
    first = found(tmp_path, clock, endpoints=[f"quic/127.0.0.1:{ports[0]}"])
    second = asyncio.run(joined(tmp_path, first, "gw-2", clock))
    clock.move(days_ago * DAY_S)
    for identity in (first, second):
        identity.clock.save(now=True)
    return tmp_path / "gw-1", tmp_path / "gw-2", ports


def _renewed_by_itself(data: Path) -> None:
    import random

    from littoral.mesh.identity.renewal import Renewal

    async def nobody(_peer: str, _service: str, _body: bytes) -> bytes:
        raise AssertionError("an issuer asks nobody")

    assert asyncio.run(Renewal(Identity.open(data, SYSTEM), nobody, random.Random(0)).tick())
