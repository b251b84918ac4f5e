"""A lab without root: in a user namespace, whose root its user is, with networks and mounts of its own.

What begins here goes on as the same process with the same arguments, as root of the namespace. Its network is not the
machine's, so the pages of the nodes are reached through sockets on loopback, which are opened before.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from littoral.errors import NodeError, SetupError

__all__ = ["Relays", "enter", "lab_folder", "own_mounts", "sockets_before", "way_inside"]

RUN = Path("/run")
USERS = Path("/proc/self/uid_map")
PIECE_BYTES = 1 << 16


def is_inside() -> bool:
    """Whether this process is in a user namespace of one user."""
    return USERS.read_text().split()[2] == "1"


def user() -> int:
    """Who has begun this, as the machine sees it."""
    return int(USERS.read_text().split()[1]) if is_inside() else os.getuid()


def way_inside() -> str:
    """What brings a command of this user's to where this process is; empty where that is the machine."""
    return f"nsenter -t {os.getpid()} -U -n -m --preserve-credentials " if is_inside() else ""


def lab_folder() -> Path:
    """Where labs of this user are told what to do. Raises NodeError for a folder that is another's."""
    # Not `/run` for root itself: inside a user namespace that is another.
    folder = Path(f"/tmp/littoral-lab-{user()}")  # noqa: S108 (whose it is, is checked)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise NodeError(f"`{folder}` is not this user's", hint="remove it")
    return folder


def sockets_before(node_count: int, first_port: int) -> list[socket.socket]:
    """On loopback, one for each node: the ports from the first on, or any where one of them is taken."""
    opened = []
    for number in range(1, node_count + 1):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", first_port + number))
        except OSError:
            one.bind(("127.0.0.1", 0))
        one.listen()
        one.set_inheritable(True)
        opened.append(one)
    return opened


def enter(arguments: Sequence[str], sockets: Sequence[socket.socket]) -> NoReturn:
    """Goes on as `littoral ARGUMENTS --inside HANDLES` in a user namespace. Raises SetupError."""
    if (unshare := shutil.which("unshare")) is None:
        raise SetupError("a lab without root needs the program `unshare`", hint="apt-get install util-linux")
    handles = ",".join(str(one.fileno()) for one in sockets)
    namespaces = ["--user", "--map-root-user", "--net", "--mount"]
    littoral = [sys.executable, "-P", "-m", "littoral", *arguments, "--inside", handles]
    os.execv(unshare, [unshare, *namespaces, *littoral])  # noqa: S606


def own_mounts() -> None:
    """`/run`, where `ip` keeps what it makes. Raises SetupError."""
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(RUN)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"a lab without root cannot mount `{RUN}`: {done.stderr.strip()}", hint="sudo littoral lab …")


class Relays:
    """From each socket to a node, until `close`, in a thread of its own. places: of the nodes, by handle."""

    def __init__(self, places: Mapping[int, tuple[str, int]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._sockets = {socket.socket(fileno=handle): place for handle, place in places.items()}
        self._thread = threading.Thread(target=self._run, name="littoral-lab-relays")
        self._thread.start()

    def urls(self) -> list[str]:
        """Where the machine reaches each node."""
        return [f"http://127.0.0.1:{one.getsockname()[1]}" for one in self._sockets]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for one in self._sockets:
            one.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for one, place in self._sockets.items():
            self._loop.run_until_complete(asyncio.start_server(_relay(place), sock=one))
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


def _relay(place: tuple[str, int]) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*place)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copied(reader, far_writer), _copied(far_reader, writer))

    return relay


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one of the two ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()
