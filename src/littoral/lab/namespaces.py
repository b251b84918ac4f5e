"""Linux network namespaces, each with one TUN device whose packets come to this process. For root."""

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from littoral.errors import NodeError, SetupError

__all__ = [
    "HOST_ADDRESS",
    "Port",
    "address_of",
    "checked_machine",
    "close",
    "connect",
    "left_over",
    "namespace_of",
    "open_port",
    "remove",
]

TUN = Path("/dev/net/tun")
NAMESPACES = Path("/run/netns")
NETWORK, NETWORK_BITS = "10.77.0", 24
HOST_ADDRESS = f"{NETWORK}.254"
DEVICE = "wan0"
MTU = 1500
_SET_INTERFACE = 0x400454CA
_TUN_WITHOUT_HEADER = 0x1001
_NETWORK = 0x40000000
DEVICE_CHARACTERS_MAX = 15


class Port(NamedTuple):
    """A node's end: number, namespace (None: the host's own), and file of its TUN device."""

    number: int
    namespace: str | None
    file: int


def namespace_of(lab: str, number: int) -> str:
    return f"littoral-{lab}-{number}"


def address_of(number: int) -> str:
    """Of a node inside the lab; 0: of the host."""
    return f"{NETWORK}.{number}" if number else HOST_ADDRESS


def checked_machine() -> None:
    """Raises SetupError where this machine cannot have a lab."""
    if os.name != "posix" or not Path("/proc/self/ns/net").exists():
        raise SetupError("a lab needs network namespaces, which only Linux has")
    if os.geteuid() != 0:
        raise SetupError("a lab makes network namespaces, which root alone may", hint="sudo littoral lab …")
    if shutil.which("ip") is None:
        raise SetupError("a lab needs the program `ip`", hint="apt-get install iproute2")
    if not TUN.exists():
        raise SetupError(f"a lab needs `{TUN}`", hint="modprobe tun; in a container: --device /dev/net/tun")


def open_port(lab: str, number: int) -> Port:
    """A namespace with a device and the node's address; for the host, the device alone. Raises NodeError."""
    made_as = f"lt{os.getpid() % 1_000_000}-{number}"
    if not number and len(f"littoral-{lab}") <= DEVICE_CHARACTERS_MAX:
        made_as = f"littoral-{lab}"
    file = _tun(made_as)
    name = namespace_of(lab, number) if number else None
    try:
        if name is None:
            _ip("addr", "add", f"{address_of(0)}/{NETWORK_BITS}", "dev", made_as)
            _ip("link", "set", made_as, "mtu", str(MTU), "up")
        else:
            _ip("netns", "add", name)
            _ip("link", "set", made_as, "netns", name, "name", DEVICE)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "addr", "add", f"{address_of(number)}/{NETWORK_BITS}", "dev", DEVICE)
            _ip("-n", name, "link", "set", DEVICE, "mtu", str(MTU), "up")
    except NodeError:
        close(Port(number, name, file))
        raise
    return Port(number, name, file)


def close(port: Port) -> None:
    """Removes namespace and device."""
    os.close(port.file)
    if port.namespace is not None and (NAMESPACES / port.namespace).exists():
        _ip("netns", "delete", port.namespace)


def connect(namespace: str, address: tuple[str, int], timeout_s: float) -> socket.socket:
    """A connection by TCP from inside a namespace. Raises OSError."""

    def made() -> socket.socket:
        with (NAMESPACES / namespace).open("rb") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _NETWORK):
                raise OSError(ctypes.get_errno(), f"namespace `{namespace}`")
        return socket.create_connection(address, timeout_s)

    # A thread of its own: it alone is in the namespace from then on, and ends with this.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(made).result()


def left_over(lab: str) -> list[str]:
    """Namespaces of a lab of this name whose process did not end well."""
    if not NAMESPACES.exists():
        return []
    return sorted(path.name for path in NAMESPACES.iterdir() if path.name.startswith(f"littoral-{lab}-"))


def remove(namespaces: list[str]) -> None:
    for name in namespaces:
        _ip("netns", "delete", name)


def _tun(name: str) -> int:
    try:
        file = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SetupError(f"a lab needs `{TUN}`: {error.strerror}", hint="sudo littoral lab …") from error
    try:
        fcntl.ioctl(file, _SET_INTERFACE, struct.pack("16sH", name.encode(), _TUN_WITHOUT_HEADER))
    except OSError as error:
        os.close(file)
        raise NodeError(
            f"network device `{name}`: {error.strerror}", hint="does a lab of this name run already?"
        ) from error
    return file


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"`ip {' '.join(arguments)}`: {done.stderr.strip() or done.returncode}")
