"""The supervisor with real children: its end, theirs, and who may ask it for what."""

import os
import signal
import socket
import sys
from pathlib import Path

import msgspec
import pytest

from littoral.errors import NodeError, SettingError, UnavailableError
from littoral.node.supervisor import Supervisor
from littoral.node.supervisor_link import SupervisorLink
from littoral.node.supervisor_messages import States, Want, link_pair
from supervised import node_on, short_folder, watched
from waiting import until

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_order(number: int) -> None:
    with short_folder() as data, node_on(data) as node, watched(list(node.children().values())) as running:
        assert node.end(number) == (0, "")
        assert running() == []


def test_a_node_that_does_not_obey_is_killed_and_its_hosts_end_in_order() -> None:
    with (
        short_folder() as data,
        node_on(data, "--stubborn") as node,
        watched(list(node.children().values())) as running,
    ):
        assert node.end() == (0, "")
        assert running() == []


def test_hosts_outlive_the_node_and_serve_the_next_one() -> None:
    with short_folder() as data, node_on(data) as node:
        before = node.children()
        node.ask(do="upsert", ids=[1], vectors=[[0] * 16], payloads=[None], acknowledge="applied")
        with watched([before["node"]]) as running:
            os.kill(before["node"], signal.SIGKILL)
            until(lambda: not running())
        assert node.ask(do="count") == 1
        after = node.children()
    assert after.pop("node") != before.pop("node")
    assert after == before


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise SystemExit(3)", "node: ended before it was ready: exit code 3"),
        (
            "from littoral.lifeline import Lifeline; Lifeline.attach().failed('the file is wrong')",
            "the file is wrong",
        ),
    ],
)
def test_a_node_that_cannot_start_ends_the_supervisor(script: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=message):
        Supervisor(tmp_path, [sys.executable, "-P", "-c", script]).run()


def test_a_node_that_has_served_is_started_again(tmp_path: Path) -> None:
    script = "from littoral.lifeline import Lifeline; it = Lifeline.attach(); it.ready('here'); it.failed('no more')"
    told: list[str] = []

    def tell(address: str) -> None:
        told.append(address)
        if len(told) == 3:
            supervisor.stop()

    supervisor = Supervisor(tmp_path, [sys.executable, "-P", "-c", script], on_ready=tell)
    supervisor.run()
    assert told == ["here"] * 3


def test_one_folder_has_one_supervisor() -> None:
    with short_folder() as data, node_on(data) as node:
        node.children()
        with pytest.raises(UnavailableError, match=f"is in use by process {node.process.pid}"):
            Supervisor(data, None, lock_wait_s=0.0).run()
        assert node.ask(do="count") == 0


@pytest.mark.parametrize(
    "packet",
    [
        b"\xc1",
        msgspec.msgpack.encode({"hosts": 7}),
        msgspec.msgpack.encode(Want(["/etc"])),
        msgspec.msgpack.encode(Want(["collections/../../etc"])),
        msgspec.msgpack.encode(Want(["collections/a/../b"])),
        msgspec.msgpack.encode(Want(["collections/a//b"])),
        msgspec.msgpack.encode(Want(["other/a/b"])),
        msgspec.msgpack.encode(Want([f"collections/{i}/s" for i in range(300)])),
    ],
)
def test_a_node_that_asks_for_anything_else_is_not_listened_to(tmp_path: Path, packet: bytes) -> None:
    ours, theirs = link_pair()
    supervisor = Supervisor(tmp_path, None, link=ours)
    theirs.settimeout(60)
    theirs.send(packet)
    supervisor._listen()
    assert supervisor._core.states() == {}
    assert theirs.recv(100) == b""
    theirs.close()
    supervisor._close()


def test_a_node_that_takes_no_news_gets_the_latest_in_the_end(tmp_path: Path) -> None:
    ours, theirs = link_pair()
    supervisor = Supervisor(tmp_path, None, link=ours)
    theirs.settimeout(60)
    for turn in range(2000):
        supervisor._core.want([f"collections/a/s{turn}"], 0.0)
        supervisor._tell()
    until(lambda: supervisor._told == supervisor._core.states() or _drain(theirs, supervisor))
    theirs.close()
    supervisor._close()


def _drain(link: socket.socket, supervisor: Supervisor) -> bool:
    states = msgspec.msgpack.decode(link.recv(1 << 17), type=States)
    supervisor._tell()
    return states.children == supervisor._core.states()


def test_without_a_supervisor_there_is_no_link() -> None:
    with pytest.raises(SettingError, match="a node is started by `littoral up`"):
        SupervisorLink.from_environment()
