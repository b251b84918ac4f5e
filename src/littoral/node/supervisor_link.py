"""The node's end of the link to its supervisor (`supervisor_messages`)."""

import asyncio
import contextlib
import socket
from collections.abc import Iterable

import msgspec

from littoral.errors import NodeError, SettingError
from littoral.lifeline import Lifeline
from littoral.node.supervise import ChildState
from littoral.node.supervisor_messages import LINK_VARIABLE, PACKET_BYTES_MAX, States, Want
from littoral.settings import number, text

__all__ = ["SupervisorLink"]


class SupervisorLink:
    """The node's end: `vectors.collections.ShardHosts` over the link. For one event loop; `async with` it."""

    def __init__(self, link: socket.socket, lifeline: Lifeline) -> None:
        link.setblocking(False)
        self._link = link
        self._lifeline = lifeline
        self._listening: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self.states: dict[str, ChildState] = {}

    @classmethod
    def from_environment(cls) -> "SupervisorLink":
        """For the node process: from here on it lives and dies with the supervisor that started it.

        Raises SettingError if none did.
        """
        if not text(LINK_VARIABLE):
            raise SettingError(
                f"environment variable `{LINK_VARIABLE}` is not set", hint="a node is started by `littoral up`"
            )
        lifeline = Lifeline.attach()
        link = socket.socket(fileno=number(LINK_VARIABLE))
        link.set_inheritable(False)
        return cls(link, lifeline)

    async def __aenter__(self) -> "SupervisorLink":
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
        self._link.close()

    def ready(self, address: str = "") -> None:
        """Tells the supervisor that this node serves: from now on a crash is followed by a quick restart."""
        self._lifeline.ready(address)

    def alive(self) -> None:
        """Tells the supervisor that this node's loop goes round."""
        self._lifeline.alive()

    def looked(self, problem: str = "") -> None:
        """Tells the supervisor that this node has read its site file again. problem: why it goes on as it was."""
        self._lifeline.looked(problem)

    def failed(self, reason: str) -> None:
        """Tells the supervisor why this node ends. Before it was ever ready, that ends the supervisor as well."""
        self._lifeline.failed(reason)

    async def want(self, shard_folders: Iterable[str]) -> None:
        """From now on these hosts are to run, and no others. Raises NodeError if the supervisor does not listen."""
        packet = msgspec.msgpack.encode(Want(sorted(shard_folders)))
        try:
            await asyncio.get_running_loop().sock_sendall(self._link, packet)
        except OSError as error:
            raise NodeError(f"supervisor does not listen: {error.strerror}") from error

    def state_of(self, shard_folder: str) -> str:
        """How the supervisor sees this host, in one line."""
        return str(self.states.get(shard_folder, "not started"))

    def restart_count(self, shard_folder: str) -> int:
        """How often it was started again; 0 for one that was not started."""
        state = self.states.get(shard_folder)
        return 0 if state is None else state.restart_count

    async def next_states(self) -> dict[str, ChildState]:
        """Waits for the next report."""
        async with self._news:
            await self._news.wait()
        return self.states

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        packet = b"-"
        while packet:
            packet = await loop.sock_recv(self._link, PACKET_BYTES_MAX)
            self.states = msgspec.msgpack.decode(packet, type=States).children if packet else {}
            async with self._news:
                self._news.notify_all()
