"""A real Mosquitto for tests, on a port of its own, which can be stopped, killed and started again."""

import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from needs import need
from ports import free_port
from waiting import until

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
COMMON = """
set_tcp_nodelay true
per_listener_settings false
persistence true
persistence_location {folder}/
autosave_interval 1
autosave_on_changes false
max_queued_messages 100000
user root
log_dest file {folder}/log.txt
listener {port} 127.0.0.1
"""
ANYBODY = "allow_anonymous true\n"


class Certificates(NamedTuple):
    """Files, PEM. The broker is `localhost`; `client` holds certificate and key."""

    ca: Path
    broker: Path
    broker_key: Path
    client: Path
    stranger_ca: Path


class Broker:
    """port: kept over restarts. lines: more of its configuration."""

    def __init__(self, folder: Path, lines: str = ANYBODY) -> None:
        need(MOSQUITTO, "mosquitto")
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self._file = folder / "mosquitto.conf"
        self._file.write_text(COMMON.format(folder=folder, port=self.port) + lines)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        assert MOSQUITTO is not None
        self._process = subprocess.Popen([MOSQUITTO, "-c", self._file], stdin=subprocess.DEVNULL)
        until(self._listens)

    def stop(self) -> None:
        """As a machine that is shut down: it writes down what it knows."""
        self.end(signal.SIGTERM)

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(60)
        self._process = None

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@contextlib.contextmanager
def running_broker(folder: Path, lines: str = ANYBODY) -> Iterator[Broker]:
    broker = Broker(folder, lines)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


def certificates(folder: Path) -> Certificates:
    """Made by openssl: two authorities, a broker's certificate and a client's."""
    need(shutil.which("openssl"), "openssl")
    for name in ("ca", "stranger"):
        _openssl(
            folder, "req", "-x509", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"
        )
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name in ("broker", "client"):
        _openssl(folder, "req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signing)
    both = folder / "both.pem"
    both.write_text((folder / "client.pem").read_text() + (folder / "client.key").read_text())
    return Certificates(folder / "ca.pem", folder / "broker.pem", folder / "broker.key", both, folder / "stranger.pem")


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
