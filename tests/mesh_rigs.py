"""The nodes of a small mesh over one network or another, for the contract that all of them keep."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import mesh_process
from littoral.clock import SYSTEM
from littoral.errors import PeerError
from littoral.mesh.zenoh_options import ZenohOptions
from littoral.mesh.zenoh_transport import ZenohTransport
from littoral.transport import Transport
from littoral.transport.desk import Rights
from littoral.transport.fake import Network
from littoral.transport.measured import MeasuredTransport
from littoral.transport.traffic import Traffic
from mesh_certificates import Authority
from ports import free_ports
from waiting import until_async

NAMES = ("gw-1", "gw-2", "gw-3", "gw-4")
BODY_BYTES_MAX = 6 << 20
LEASE_S = 1.5
TRY_S = 5.0


class Counted(Transport, Protocol):
    """Every implementation counts alike."""

    traffic: Traffic


class Rig(Protocol):
    async def join(self, name: str, *, rights: Rights | None = None) -> Counted:
        """A node in this process."""
        ...

    async def spawn(self, name: str) -> None:
        """A node that may be killed and frozen; serves `echo` and `never`."""
        ...

    def kill(self, name: str) -> None: ...

    def freeze(self, name: str) -> None: ...

    def thaw(self, name: str) -> None: ...

    async def close(self) -> None: ...


async def echo(_: str, body: bytes) -> bytes:
    return body


async def never(_: str, _body: bytes) -> bytes:
    return await asyncio.get_running_loop().create_future()


async def reached(node: Transport, peer: str, service: str, body: bytes = b"") -> bytes:
    """What the peer answers, as soon as it does: who looks for it may still have the link of before."""
    for _ in range(3000):
        with contextlib.suppress(PeerError):
            return await node.request(peer, service, body, deadline_s=TRY_S)
        await asyncio.sleep(0.02)
    raise AssertionError(f"{peer} never answered")


async def meet(*nodes: Transport, others: int = 0) -> None:
    """Until all of them see each other, and so many others."""
    names = {node.name for node in nodes}
    await until_async(lambda: all(names <= node.alive() and len(node.alive()) >= len(names) + others for node in nodes))


class FakeRig:
    def __init__(self) -> None:
        self._network = Network(lease_s=LEASE_S)
        self._ends: list[Counted] = []

    async def join(self, name: str, *, rights: Rights | None = None) -> Counted:
        end = self._network.join(name, body_bytes_max=BODY_BYTES_MAX, rights=rights)
        self._ends.append(end)
        return end

    async def spawn(self, name: str) -> None:
        end = await self.join(name)
        await end.serve("echo", echo)
        await end.serve("never", never)

    def kill(self, name: str) -> None:
        self._network.kill(name)

    def freeze(self, name: str) -> None:
        self._network.freeze(name)

    def thaw(self, name: str) -> None:
        self._network.thaw(name)

    async def close(self) -> None:
        for end in self._ends:
            await end.close()


class MeasuredRig(FakeRig):
    """As a node's own parts see the network: through what measures it."""

    async def join(self, name: str, *, rights: Rights | None = None) -> Counted:
        return MeasuredTransport(await super().join(name, rights=rights), SYSTEM)


@dataclass
class ZenohRig:
    folder: Path
    protocol: Literal["quic", "tls"]
    ports: dict[str, int] = field(default_factory=lambda: dict(zip(NAMES, free_ports(len(NAMES)), strict=True)))
    _ends: list[ZenohTransport] = field(default_factory=list)
    _processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.authority = Authority(self.folder)
        self.lease_s = LEASE_S

    def options(self, name: str) -> ZenohOptions:
        made = self.authority.issue(name)
        return ZenohOptions(
            site="site",
            name=name,
            listen=f"127.0.0.1:{self.ports.get(name, 0)}",
            peers={other: f"127.0.0.1:{port}" for other, port in self.ports.items() if other != name},
            ca=made.ca,
            certificate=made.certificate,
            key=made.key,
            protocol=self.protocol,
            body_bytes_max=BODY_BYTES_MAX,
            lease_ms=round(LEASE_S * 1000),
        )

    async def join(self, name: str, *, rights: Rights | None = None) -> ZenohTransport:
        return await self.open(self.options(name), rights=rights)

    async def open(self, options: ZenohOptions, *, rights: Rights | None = None) -> ZenohTransport:
        end = await ZenohTransport.open(options, rights=rights)
        self._ends.append(end)
        return end

    async def spawn(self, name: str) -> None:
        self._processes[name] = process = await started(self.options(name))
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 120) == b"ready\n"

    def kill(self, name: str) -> None:
        self._processes[name].kill()

    def freeze(self, name: str) -> None:
        os.kill(self._processes[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.kill(self._processes[name].pid, signal.SIGCONT)

    async def close(self) -> None:
        for end in self._ends:
            await end.close()
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def started(options: ZenohOptions) -> asyncio.subprocess.Process:
    """A node as a process."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        mesh_process.__file__,
        json.dumps(asdict(options), default=str),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
