"""Real processes join a site by the command line, speak over Zenoh, renew, revoke; some on machines without a time."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

import mesh_node
from command import command, environment, littoral
from littoral.clock import SYSTEM
from littoral.mesh.identity.founding import new_root
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.rollover import begin_rollover, finish_rollover, rollover_state
from mesh_site import DAY_S, MovedClock, found, joined
from needs import need
from ports import free_port
from waiting import until

pytestmark = pytest.mark.e2e

TESTS = Path(__file__).parents[1]
IN_1970 = "@1970-01-02 00:00:00"


def faketime() -> Path | None:
    found_files = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return found_files[0] if found_files else None


class Process:
    """One node. at: what its machine takes the time for."""

    def __init__(self, data: Path, port: int, protocol: str, *, at: str | None = None) -> None:
        extra = {}
        if at is not None:
            need(faketime(), "libfaketime (Debian: faketime)")
            extra = {"LD_PRELOAD": str(faketime()), "FAKETIME": at, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.process = subprocess.Popen(
            [sys.executable, mesh_node.__file__, data, str(port), protocol],
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
        """True once the peer answers; fails when it does not within a minute: a handshake that the machine is too busy
        for in a second and a half begins again."""
        until(lambda: self.say(f"ask {peer}").startswith("hello"))
        return True

    def settles(self, answer: str) -> bool:
        """True once a round of its keeper ends so: the system may give a port back late, and then it tries again."""
        until(lambda: self.say("tick") == answer)
        return True

    def learns(self, number: int, writer: "Process") -> bool:
        """True once it has that roster, while its keeper and the writer's go their rounds."""
        until(lambda: writer.say("tick") and self.say("tick").startswith(f"roster {number},"))
        return True

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
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
        assert process.wait(60) == 0


def joins(data: Path, name: str, site: Path, at: str) -> int:
    """By the command line; its port."""
    port = free_port()
    token = littoral("mesh", "token", site, name, "--json").json["token"]
    place = ("--endpoint", f"quic/127.0.0.1:{port}")
    report = littoral("mesh", "join", data, "--at", at, "--token", token, "--name", name, *place, "--json").json
    assert name in [node["name"] for node in report["nodes"]]
    return port


def test_nodes_join_while_others_run_and_one_is_revoked(tmp_path: Path, started: contextlib.ExitStack) -> None:
    """Nobody is told of anybody but by the roster."""
    a, b, c, port = tmp_path / "a", tmp_path / "b", tmp_path / "c", free_port()
    place = f"quic/127.0.0.1:{port}"
    done = littoral("mesh", "init", a, "--site", "farm", "--name", "gw-1", "--endpoint", place, folder=tmp_path)
    assert done.code == 0, done.err
    with door_of(a, tmp_path / "door.log") as at:
        second = start(started, b, joins(b, "gw-2", a, at), "quic")
        first = start(started, a, port, "quic")
        assert first.hears("gw-2")
        third = start(started, c, joins(c, "gw-3", a, at), "quic")
    assert first.settles("roster 3, renewed 0, no failure")
    assert third.hears("gw-1")
    assert second.learns(3, first)
    assert third.hears("gw-2")
    assert littoral("doctor", b).code == 0
    assert littoral("mesh", "revoke", a, "gw-2").code == 0
    assert first.settles("roster 4, renewed 0, no failure")
    assert "node `gw-2` was revoked" in first.say("ask gw-2")
    assert second.say("ask gw-1").startswith("no: ")
    assert second.hears("gw-3")
    assert third.learns(4, first)
    assert second.say("ask gw-3").startswith("no: ")
    assert third.hears("gw-1")


def test_a_stolen_certificate_of_a_node_that_stays_is_refused_by_all(
    tmp_path: Path, started: contextlib.ExitStack
) -> None:
    """The thief has a copy of the node's folder, from before it renewed."""
    a, b, c, port = tmp_path / "a", tmp_path / "b", tmp_path / "c", free_port()
    place = f"quic/127.0.0.1:{port}"
    assert (
        littoral("mesh", "init", a, "--site", "farm", "--name", "gw-1", "--endpoint", place, folder=tmp_path).code == 0
    )
    with door_of(a, tmp_path / "door.log") as at:
        second_port, third_port = joins(b, "gw-2", a, at), joins(c, "gw-3", a, at)
        shutil.copytree(b, tmp_path / "stolen")
        assert littoral("mesh", "renew", b, "--at", at).code == 0
    first = start(started, a, port, "quic")
    third = start(started, c, third_port, "quic")
    thief = start(started, tmp_path / "stolen", free_port(), "quic")
    assert third.hears("gw-1")
    assert thief.hears("gw-1")
    serial = Identity.open(tmp_path / "stolen", SYSTEM).credential.certificate.serial
    assert littoral("mesh", "revoke", a, "gw-2", "--serial", serial).code == 0
    number = Identity.open(a, SYSTEM).documents.numbers()["roster"]
    second = start(started, b, second_port, "quic")
    until(lambda: first.say("tick").startswith(f"roster {number}, "))
    until(lambda: renewed_to(b, first, second) == 1)
    assert second.settles(f"roster {number}, renewed 0, no failure")
    assert third.learns(number, first)
    for node in ("gw-1", "gw-3"):
        assert second.hears(node)
        assert thief.say(f"ask {node}").startswith("no: ")


def test_a_site_goes_over_to_another_authority(tmp_path: Path, started: contextlib.ExitStack) -> None:
    """gw-3 is off while it begins, and trusts the old authority only: Zenoh lets it in by the cross-signature."""
    clock, ports = MovedClock(wall_s=SYSTEM.wall()), [free_port() for _ in range(3)]
    places = [[f"quic/127.0.0.1:{port}"] for port in ports]
    root = new_root("farm", clock)
    founder = found(tmp_path, clock, root=root, endpoints=places[0])
    for name, place in (("gw-2", places[1]), ("gw-3", places[2])):
        asyncio.run(joined(tmp_path, founder, name, clock, endpoints=place))
    a, b, c = (tmp_path / name for name in ("gw-1", "gw-2", "gw-3"))
    shutil.copytree(c, tmp_path / "stolen")
    first, second = start(started, a, ports[0], "quic"), start(started, b, ports[1], "quic")
    assert second.learns(3, first)
    begin_rollover(Identity.open(a, SYSTEM), root, within_s=0)
    authority = Identity.open(a, SYSTEM).trust.digest
    until(lambda: all(has_renewed(data, authority, first, second) for data in (a, b)))
    third = start(started, c, ports[2], "quic")
    for node in ("gw-1", "gw-2"):
        until(lambda node=node: hears_in_a_round(third, node, first, second))
    until(lambda: has_renewed(c, authority, first, second, third))
    until(lambda: first.say("tick") and waited_for(a) == [])
    finish_rollover(Identity.open(a, SYSTEM))
    until(lambda: all(anchor_count(data, first, second, third) == 1 for data in (a, b, c)))
    until(lambda: hears_in_a_round(third, "gw-2", second, third))
    thief = start(started, tmp_path / "stolen", free_port(), "quic")
    assert thief.say("ask gw-1").startswith("no: ")


def hears_in_a_round(asking: Process, peer: str, *nodes: Process) -> bool:
    """Of these: one that could not make its links anew does it in the next."""
    for node in nodes:
        node.say("tick")
    return asking.say(f"ask {peer}").startswith("hello")


def has_renewed(data: Path, authority: str, *nodes: Process) -> bool:
    """Whether its certificate is by that authority, after a round of these."""
    for node in nodes:
        node.say("tick")
    identity = Identity.open(data, SYSTEM)
    return identity.trust.digest == authority and not identity.is_behind


def waited_for(data: Path) -> list[str]:
    state = rollover_state(Identity.open(data, SYSTEM))
    return [] if state is None else state.waiting


def anchor_count(data: Path, *nodes: Process) -> int:
    for node in nodes:
        node.say("tick")
    return (data / "mesh" / "issuing.pem").read_bytes().count(b"BEGIN")


def renewed_to(data: Path, *nodes: Process) -> int:
    """Generation of a node's certificate after a round of these. One in which the system gives a port back late ends
    with an error, and has renewed all the same."""
    for node in nodes:
        node.say("tick")
    return Identity.open(data, SYSTEM).credential.certificate.generation


@pytest.mark.parametrize(
    ("who", "protocol"), [("asks", "quic"), ("answers", "quic"), ("both", "quic"), ("both", "tls")]
)
def test_a_machine_in_1970_speaks_with_the_others(
    tmp_path: Path, started: contextlib.ExitStack, protocol: Literal["quic", "tls"], who: str
) -> None:
    a, b, ports = _two(tmp_path, 0, protocol)
    start(started, a, ports[0], protocol, at=IN_1970 if who in ("answers", "both") else None)
    asking = start(started, b, ports[1], protocol, at=IN_1970 if who in ("asks", "both") else None)
    assert asking.hears("gw-1")


def test_a_machine_in_1970_renews_over_the_mesh(tmp_path: Path, started: contextlib.ExitStack) -> None:
    """Its own certificate is 25 days old: due by the time it kept on disk. The new one is good for a start."""
    a, b, ports = _two(tmp_path, 25)
    start(started, a, ports[0], "quic")
    second = start(started, b, ports[1], "quic", at=IN_1970)
    before = Identity.open(b, SYSTEM).credential.certificate
    assert second.hears("gw-1")
    assert second.say("renew") == "True"
    after = Identity.open(b, SYSTEM).credential.certificate
    assert after.expires_at_s > before.expires_at_s + 20 * DAY_S
    second.close()
    again = start(started, b, ports[1], "quic", at=IN_1970)
    assert again.hears("gw-1")


def test_zenoh_refuses_an_ended_certificate_and_the_door_renews_it(
    tmp_path: Path, started: contextlib.ExitStack
) -> None:
    a, b, ports = _two(tmp_path, 40)
    first = start(started, a, ports[0], "quic")
    assert first.settles("roster 2, renewed 0, no failure")
    late = start(started, b, ports[1], "quic")
    assert late.say("ask gw-1").startswith("no: ")
    late.close()
    failed = littoral("doctor", b)
    assert failed.code == 1
    assert "this node's certificate ended 10.0 days ago" in failed.out
    with door_of(a, tmp_path / "door.log") as at:
        assert littoral("mesh", "renew", b, "--at", at).code == 0
    again = start(started, b, ports[1], "quic")
    assert again.hears("gw-1")


def _two(
    tmp_path: Path, days_ago: float, protocol: Literal["quic", "tls"] = "quic"
) -> tuple[Path, Path, tuple[int, int]]:
    """gw-1 and gw-2, whose certificates were made then; their clocks on disk are of now."""
    clock = MovedClock(wall_s=SYSTEM.wall() - days_ago * DAY_S)
    ports = free_port(), free_port()
    places = [f"{protocol}/127.0.0.1:{port}" for port in ports]
    first = found(tmp_path, clock, endpoints=places[:1])
    second = asyncio.run(joined(tmp_path, first, "gw-2", clock, endpoints=places[1:]))
    clock.move(days_ago * DAY_S)
    for identity in (first, second):
        identity.clock.save(now=True)
    return tmp_path / "gw-1", tmp_path / "gw-2", ports
