"""TLS of a server: certificates that are read anew when their files change, while connections go on."""

import logging
import ssl
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import SettingError

__all__ = ["Certificates"]

LOOK_AGAIN_S = 1.0
Changed = tuple[tuple[int, int, int], ...]

_log = logging.getLogger("littoral.web")


class Certificates:
    """certificate, key, clients: files of PEM; with `clients`, who connects must show a certificate of these.
    protocol: what is spoken, as ALPN calls it.

    `context` is for the server; each handshake takes what the files say then. Files that do not belong together (one is
    written, the other not yet) are told in the log, and the last good ones stay. Raises SettingError at the start.
    """

    def __init__(
        self, certificate: Path, key: Path, clients: Path | None, clock: Clock, *, protocol: str = "http/1.1"
    ) -> None:
        self._files = [certificate, key] + ([clients] if clients else [])
        self._certificate, self._key, self._clients = certificate, key, clients
        self._clock = clock
        self._protocol = protocol
        self._looked_at_s = clock.monotonic()
        self._changed = self._look()
        self._current = self._read()
        self.context = self._read()
        self.context.sni_callback = self._hello

    def current(self) -> ssl.SSLContext:
        """As the files are, looked at no more than once in a second."""
        now_s = self._clock.monotonic()
        if now_s - self._looked_at_s >= LOOK_AGAIN_S:
            self._looked_at_s = now_s
            if (changed := self._look()) != self._changed:
                self._renew(changed)
        return self._current

    def _hello(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self.current()

    def _renew(self, changed: Changed) -> None:
        try:
            self._current = self._read()
        except SettingError as error:
            _log.error("%s; the last good certificate stays", error)
            return
        self._changed = changed

    def _look(self) -> Changed:
        found = []
        for file in self._files:
            try:
                seen = file.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((seen.st_mtime_ns, seen.st_size, seen.st_ino))
        return tuple(found)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        # A resumed session would not look at the caller's certificate again.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.set_alpn_protocols([self._protocol])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_refuse_password)
            if self._clients is not None:
                context.load_verify_locations(self._clients)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:
            told = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            files = ", ".join(f"`{file}`" for file in self._files)
            raise SettingError(
                f"TLS: {files}: {told}", hint="PEM, a key without a password that belongs to the certificate"
            ) from error
        return context


def _refuse_password() -> str:
    raise ValueError("the key has a password")
