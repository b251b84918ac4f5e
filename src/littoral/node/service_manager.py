"""What systemd, or another that started this process by its rules, is told: sd_notify(3), without a library.

It is told that the node serves, that it stops, and, where it asks for that (`WatchdogSec=`), that the node is alive.
"""

import contextlib
import os
import socket

from littoral.settings import number, text

__all__ = ["SHARE", "ServiceManager", "watchdog_s"]

SHARE = 0.25
"""Of the time after which it would give this process up."""


def watchdog_s() -> float | None:
    """After how many seconds without a sign of life a service is given up; None where nobody asks.

    Raises SettingError.
    """
    return number("WATCHDOG_USEC") / 1e6 if text("WATCHDOG_USEC") else None


class ServiceManager:
    """Told by the supervisor alone. Nothing is done where nobody wants to know."""

    def __init__(self, address: str, alive_every_s: float | None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.alive_every_s = alive_every_s
        """How often it wants a sign of life; None = never."""

    @classmethod
    def attach(cls) -> "ServiceManager":
        """From the environment. Raises SettingError."""
        is_watched = text("WATCHDOG_PID") in ("", str(os.getpid()))
        limit_s = watchdog_s() if is_watched and text("NOTIFY_SOCKET") else None
        return cls(text("NOTIFY_SOCKET"), None if limit_s is None else SHARE * limit_s)

    def ready(self, address: str) -> None:
        """The node serves there."""
        self._tell(f"READY=1\nSTATUS=serves http://{address}")

    def status(self, words: str) -> None:
        """One line for people."""
        self._tell(f"STATUS={words}")

    def alive(self) -> None:
        """A sign of life."""
        if self.alive_every_s is not None:
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1\nSTATUS=stops")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        # Who does not listen, or is slow, is no reason to wait.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.setblocking(False)
            to.sendto(message.encode(), self._address)
