"""A node as a service: what systemd is told, by a real node to a real socket, and the unit that is shipped."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import command, environment
from needs import need
from processes import children_of
from site_folder import site_folder

pytestmark = pytest.mark.e2e

UNIT = Path(__file__).parents[2] / "deploy/systemd/littoral.service"
LIMIT_S = 0.8
ANSWER_S = 120.0
MESSAGES_MAX = 500
EXPOSURE_MAX = 20
"""Tenths of what `systemd-analyze security` counts."""


class Manager:
    """A socket that listens as systemd's does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def until(self, line: str) -> str:
        """The first message with this line."""
        self._socket.settimeout(ANSWER_S)
        heard = []
        for _ in range(MESSAGES_MAX):
            heard.append(self._socket.recv(4096).decode())
            if line in heard[-1].split("\n"):
                return heard[-1]
        raise AssertionError(f"{line!r} is not among {sorted(set(heard))}")

    def until_silence(self) -> None:
        """For as long as it would wait."""
        self._socket.settimeout(LIMIT_S)
        with contextlib.suppress(TimeoutError):
            while True:
                self._socket.recv(4096)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    where = f"{tmp_path}/notify" if request.param == "path" else f"@littoral-test-{os.getpid()}"
    found = Manager(where)
    yield found
    found.close()


@pytest.fixture
def service(manager: Manager, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    wanted = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(int(LIMIT_S * 1e6))}
    process = subprocess.Popen(command("up", site_folder(tmp_path)), env=environment() | wanted)
    yield process
    process.terminate()
    process.wait(ANSWER_S)


def node_of(service: subprocess.Popen[bytes]) -> int:
    (node,) = (pid for pid, line in children_of(service.pid).items() if "littoral.node.process" in line)
    return node


def test_systemd_hears_of_a_node_that_serves_hangs_dies_and_stops(
    manager: Manager, service: subprocess.Popen[bytes]
) -> None:
    manager.until("WATCHDOG=1")  # while it starts, too
    assert "STATUS=serves http://127.0.0.1:" in manager.until("READY=1")
    manager.until("WATCHDOG=1")
    node = node_of(service)
    os.kill(node, signal.SIGSTOP)
    manager.until_silence()
    os.kill(node, signal.SIGCONT)
    manager.until("WATCHDOG=1")
    os.kill(node, signal.SIGKILL)
    manager.until("STATUS=the node ended, killed by SIGKILL: it is started again")
    manager.until("READY=1")
    manager.until("WATCHDOG=1")
    service.terminate()
    manager.until("STOPPING=1")
    assert service.wait(ANSWER_S) == 0


@pytest.mark.parametrize("name", [UNIT.name, "littoral-orchestrator.service"])
def test_a_unit_is_one_and_is_as_closed_as_it_says(name: str, tmp_path: Path) -> None:
    need(analyze := shutil.which("systemd-analyze"), "systemd")
    assert analyze is not None
    text = UNIT.with_name(name).read_text()
    program = Path(sys.executable).with_name("littoral")
    file = tmp_path / name
    file.write_text(text.replace("/usr/local/bin/littoral", str(program)))
    verified = subprocess.run([analyze, "verify", file], capture_output=True, text=True, timeout=ANSWER_S)
    assert (verified.returncode, verified.stderr) == (0, "")
    options = ("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager")
    closed = subprocess.run([analyze, *options, file], capture_output=True, text=True, timeout=ANSWER_S)
    assert closed.returncode == 0, closed.stdout
    keys = {line.partition("=")[0] for line in text.splitlines()}
    assert not keys & {"MemoryDenyWriteExecute", "LimitAS", "LimitDATA"}, "the engine cannot live with these"
