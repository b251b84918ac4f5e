"""What Zenoh says, made part of our log, and of it: whose connections were refused, and which messages.

Zenoh tells of what it refused nowhere but in its log, and writes that to standard output. So a process
that wants to know takes that over: its own output goes on to where it went, Zenoh's lines come here.
"""

import logging
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import ClassVar, TextIO

from littoral.mesh.zenoh_session import log_to_standard_output

__all__ = ["MISNAMED", "ZenohLog", "refusal_in"]

LEVELS = (
    "error,zenoh_link_commons::quic=warn,zenoh_link_quic=warn,zenoh_link_tls=warn,"
    "zenoh::net::routing::interceptor=trace,zenoh::net::routing::interceptor::access_control=error"
)
"""The last two: one line for each message that access control drops, and none for those that it lets pass."""
MISNAMED = "a message under a name that its link's certificate does not have"
INTERCEPTOR = "zenoh::net::routing::interceptor"
RECEIVING = "rx-"
"""Threads that take what comes in; what this node sends is bound too, and is not an attack on it."""
STANDARD_OUTPUT = 1
LINE_CHARACTERS_MAX = 4096
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(
    r"^\d{4}-\d\d-\d\dT\S+ +(?P<level>[A-Z]+) (?P<thread>.*?)(?P<part>zenoh\w*(?:::\w+)*): (?P<text>.*)$"
)
_REFUSAL = re.compile(r"invalid peer certificate: \w+(?: \w+)*|peer sent no certificates")

_log = logging.getLogger(__name__)


class ZenohLog:
    """Of this process, from `start` to its end. listeners: called in a thread with the reason of a refusal."""

    listeners: ClassVar[list[Callable[[str], None]]] = []

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._counts: Counter[str] = Counter()

    @classmethod
    def start(cls) -> None:
        """Before the first session, once for a process. Children inherit the taken-over output, which is passed on."""
        sys.stdout.flush()
        kept, (read, write) = os.dup(STANDARD_OUTPUT), os.pipe()
        os.dup2(write, STANDARD_OUTPUT)
        os.close(write)
        sys.stdout = os.fdopen(kept, "w", buffering=1, errors="backslashreplace")
        log = cls(sys.stdout)
        threading.Thread(target=log.read, args=[os.fdopen(read, errors="replace")], daemon=True).start()
        log_to_standard_output(LEVELS)

    def read(self, lines: TextIO) -> None:
        """Until they end."""
        while line := lines.readline(LINE_CHARACTERS_MAX):
            said = _LINE.match(_COLOUR.sub("", line))
            if said is None:
                self._out.write(line)
                self._out.flush()
            elif reason := refusal_in(said["text"]):
                self._refused(reason)
            elif said["part"] == INTERCEPTOR:
                if said["thread"].startswith(RECEIVING):
                    self._refused(MISNAMED)
            else:
                _log.warning("%s: %s", said["part"], said["text"])

    def _refused(self, reason: str) -> None:
        self._counts[reason] += 1
        count = self._counts[reason]
        if count & (count - 1) == 0:
            _log.warning("refused (%d of this kind so far): %s", count, reason)
        for listener in list(self.listeners):
            listener(reason)


def refusal_in(text: str) -> str | None:
    """Why a connection was refused, if that is what a line of Zenoh's log says."""
    found = _REFUSAL.search(text)
    return found[0] if found else None
