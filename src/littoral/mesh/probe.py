"""What an endpoint answers, looked at from outside: Zenoh tells of every fault at one as of a timeout.

TLS over TCP is spoken in full, with this node's certificate, so that both sides' objections are heard. Of QUIC only the
first exchange is: a datagram of no known version, which every server answers by naming those it has.
"""

import contextlib
import secrets
import socket
import ssl
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from littoral.errors import InputError
from littoral.mesh.roster import split_endpoint

__all__ = ["Met", "Probed", "probe"]

CONNECT_S = 3.0
ALERT_S = 1.0
QUIC_TRIES = 3
QUIC_BYTES = 1200
DATAGRAM_BYTES_MAX = 2048
_NO_VERSION = 0x1A2A3A4A


class Met(StrEnum):
    """How far it came."""

    NO_ADDRESS = "no-address"
    CLOSED = "closed"
    SILENT = "silent"
    UNREACHABLE = "unreachable"
    OTHER_TRANSPORT = "other-transport"
    OTHER_PROTOCOL = "other-protocol"
    REFUSED = "refused"
    ANSWERS = "answers"


class Probed(NamedTuple):
    """shown: the certificate of the other side, DER, as far as one was seen. told: its or the system's words."""

    met: Met
    told: str = ""
    shown: bytes | None = None


def probe(endpoint: str, credential: Path) -> Probed:
    """endpoint: as in the roster. credential: this node's key and chain. Takes seconds. Raises InputError."""
    protocol, host, port = split_endpoint(endpoint)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        return Probed(Met.NO_ADDRESS, error.strerror or str(error))
    if protocol == "tls":
        found = _tls(family, address, credential)
        return _of_other(found, _quic(family, address), "quic/")
    if protocol == "quic":
        found = _quic(family, address)
        return _of_other(found, _tcp(family, address), "tls/")
    raise InputError(f"endpoint `{endpoint}` is neither of `tls/` nor of `quic/`")


def _of_other(found: Probed, other: Probed, name: str) -> Probed:
    """Nothing there, but something at the same port of the other transport: that is the fault."""
    if found.met in (Met.CLOSED, Met.SILENT) and other.met is Met.ANSWERS:
        return Probed(Met.OTHER_TRANSPORT, name)
    return found


@contextlib.contextmanager
def _connected(family: int, address: object) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_S)
        connection.connect(address)  # type: ignore[arg-type]
        yield connection


def _tcp(family: int, address: object) -> Probed:
    try:
        with _connected(family, address):
            return Probed(Met.ANSWERS)
    except OSError as error:
        return _unreached(error)


def _tls(family: int, address: object, credential: Path) -> Probed:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(credential)
    try:
        with _connected(family, address) as connection:
            try:
                with context.wrap_socket(connection) as secured:
                    return _heard(secured)
            except (ssl.SSLError, ConnectionResetError, BrokenPipeError, TimeoutError) as error:
                return Probed(Met.OTHER_PROTOCOL, _words(error))
    except OSError as error:
        return _unreached(error)


def _heard(secured: ssl.SSLSocket) -> Probed:
    """In TLS 1.3 the other side judges this one's certificate after the handshake: its objection comes as an alert."""
    shown = secured.getpeercert(binary_form=True)
    secured.settimeout(ALERT_S)
    try:
        ended = not secured.recv(1)
    except TimeoutError:
        return Probed(Met.ANSWERS, shown=shown)
    except (ssl.SSLError, ConnectionResetError) as error:
        return Probed(Met.REFUSED, _words(error), shown)
    return Probed(Met.REFUSED, "it ended the connection", shown) if ended else Probed(Met.ANSWERS, shown=shown)


def _quic(family: int, address: object) -> Probed:
    """Version negotiation (RFC 9000, 6): three tries, because datagrams get lost."""
    with socket.socket(family, socket.SOCK_DGRAM) as channel:
        channel.settimeout(CONNECT_S / QUIC_TRIES)
        answer = b""
        try:
            channel.connect(address)  # type: ignore[arg-type]
            for _ in range(QUIC_TRIES):
                channel.send(_unknown_version())
                with contextlib.suppress(TimeoutError):
                    answer = channel.recv(DATAGRAM_BYTES_MAX)
                    break
        except OSError as error:
            return _unreached(error)
    if not answer:
        return Probed(Met.SILENT, f"{QUIC_TRIES} datagrams without an answer")
    is_quic = len(answer) >= 7 and answer[0] & 0x80 and answer[1:5] == bytes(4)
    return Probed(Met.ANSWERS) if is_quic else Probed(Met.OTHER_PROTOCOL, "its answer is not QUIC's")


def _unknown_version() -> bytes:
    """A long header with ids of eight bytes, padded to what a server must answer."""
    head = b"\xc0" + _NO_VERSION.to_bytes(4) + b"\x08" + secrets.token_bytes(8) + b"\x08" + secrets.token_bytes(8)
    return head.ljust(QUIC_BYTES, b"\0")


def _unreached(error: OSError) -> Probed:
    if isinstance(error, ConnectionRefusedError):
        return Probed(Met.CLOSED, error.strerror or "")
    if isinstance(error, TimeoutError):
        return Probed(Met.SILENT, f"no answer in {CONNECT_S:.0f} s")
    return Probed(Met.UNREACHABLE, error.strerror or str(error))


def _words(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error.strerror or error)
