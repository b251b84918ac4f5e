"""Where a supervisor is told of another site file: a socket in the data folder, for this user and root alone.

Whoever asks sends a line of JSON and the text of the file, ends its side, and gets a line of JSON when the trial is
over. One caller at a time; who sends nothing makes room for the next.
"""

import contextlib
import selectors
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from littoral.clock import Clock
from littoral.errors import UnavailableError
from littoral.node.config.trial import Outcome
from littoral.node.site import FILE_BYTES_MAX
from littoral.vectors.layout import listen, socket_path

__all__ = ["Asked", "Control", "ask_supervisor"]

FOLDER = ".control"
HEAD_BYTES_MAX = 256
READ_BYTES = 1 << 16
ANSWER_BYTES_MAX = 1 << 16
DEADLINE_S_MAX = 3600.0
SPARE_S = 30.0
"""Beyond the deadline: for the supervisor to end what did not serve."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First line of what is sent. deadline_s: for the node to serve."""

    deadline_s: float


Begin = Callable[[bytes, Callable[[Outcome], None], float], None]
Watch = Callable[[socket.socket, Callable[[], object]], None]


class Control:
    """The supervisor's end. begin: called with a text, what to call at the end, and the deadline."""

    def __init__(self, data: Path, selector: selectors.BaseSelector, begin: Begin) -> None:
        """Raises OSError where there can be no socket."""
        folder = data / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        self._listener = listen(folder)
        self._selector = selector
        self._begin = begin
        self._caller: socket.socket | None = None
        self._heard = b""
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Whoever waits is hung up on."""
        self._hang_up()
        self._selector.unregister(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            caller = self._listener.accept()[0]
            self._hang_up()
            caller.setblocking(False)
            self._caller, self._heard = caller, b""
            self._selector.register(caller, selectors.EVENT_READ, self._listen)

    def _listen(self) -> None:
        assert self._caller is not None
        try:
            data = self._caller.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._hang_up()
            return
        self._heard += data
        if len(self._heard) > HEAD_BYTES_MAX + FILE_BYTES_MAX:
            self._hang_up()
        elif not data:
            self._all_is_heard()

    def _all_is_heard(self) -> None:
        """The caller is no longer listened to; it waits for the outcome, and the next may come."""
        caller, self._caller = self._caller, None
        assert caller is not None
        self._selector.unregister(caller)
        head, _, text = self._heard.partition(b"\n")
        try:
            asked = msgspec.json.decode(head[:HEAD_BYTES_MAX], type=Asked)
        except (msgspec.DecodeError, UnicodeDecodeError):
            caller.close()
            return

        def settle(outcome: Outcome) -> None:
            with contextlib.suppress(OSError):
                caller.send(msgspec.json.encode(outcome) + b"\n")
            caller.close()

        self._begin(text, settle, min(max(0.0, asked.deadline_s), DEADLINE_S_MAX))

    def _hang_up(self) -> None:
        if self._caller is not None:
            self._selector.unregister(self._caller)
            self._caller.close()
            self._caller = None


def ask_supervisor(data: Path, text: bytes, deadline_s: float, clock: Clock) -> Outcome | None:
    """What became of this text in the node on that data folder; None where no supervisor runs.

    Raises UnavailableError.
    """
    until = clock.monotonic() + deadline_s + SPARE_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        try:
            with socket_path(data / FOLDER) as path:
                caller.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError as error:
            raise UnavailableError(
                f"`{data / FOLDER}`: {error.strerror}", hint="ask as the user that the node runs as, or as root"
            ) from error
        try:
            caller.settimeout(deadline_s + SPARE_S)
            caller.sendall(msgspec.json.encode(Asked(deadline_s)) + b"\n" + text)
            caller.shutdown(socket.SHUT_WR)
            answer = b""
            while not answer.endswith(b"\n") and (data_read := _read(caller, until - clock.monotonic())):
                answer += data_read
            return msgspec.json.decode(answer, type=Outcome)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnavailableError(
                "the supervisor hung up: whether the node took the site file is not known",
                hint="`littoral config diff SITE` tells what it runs",
            ) from error


def _read(caller: socket.socket, left_s: float) -> bytes:
    caller.settimeout(max(0.001, left_s))
    return caller.recv(ANSWER_BYTES_MAX)
