"""Where the broker is and what it is shown: address, TLS, user and password, each read again at every attempt."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from littoral.errors import InputError, SettingError
from littoral.settings import from_environment

if TYPE_CHECKING:
    import ssl

__all__ = ["Broker", "Credentials", "parse_broker"]

PORTS = {"mqtt": 1883, "mqtts": 8883}
SECRET_BYTES_MAX = 4096


class Credentials(NamedTuple):
    """user: '' = none. A password comes from a file or from an environment variable; neither = none."""

    user: str = ""
    password_file: Path | None = None
    password_variable: str = ""

    def password(self) -> str | None:
        """Raises SettingError where it cannot be had."""
        if self.password_file is not None:
            return _first_line(self.password_file)
        if not self.password_variable:
            return None
        if (found := from_environment(self.password_variable)) is None:
            raise SettingError(f"environment variable `{self.password_variable}` is not set")
        return found


class Broker(NamedTuple):
    """version: 5, or 3 for 3.1.1. ca, certificate, key: files of TLS; without `ca` the machine's are trusted."""

    host: str
    port: int
    is_secured: bool = False
    version: int = 5
    keep_alive_s: int = 30
    credentials: Credentials = Credentials()
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def address(self) -> str:
        scheme = "mqtts" if self.is_secured else "mqtt"
        return f"{scheme}://[{self.host}]:{self.port}" if ":" in self.host else f"{scheme}://{self.host}:{self.port}"

    def tls(self) -> "ssl.SSLContext | None":
        """None without TLS. Raises SettingError for a file that is not there, or is no certificate or key."""
        if not self.is_secured:
            return None
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:
            files = ", ".join(f"`{path}`" for path in (self.ca, self.certificate, self.key) if path is not None)
            raise SettingError(f"TLS of the broker, {files}: {error.strerror or error}") from error
        return context


def parse_broker(text: str) -> tuple[bool, str, int]:
    """Whether it is secured, host, port. Raises InputError for anything but `mqtt[s]://HOST[:PORT]`."""
    refused = InputError("must be `mqtt://HOST[:PORT]` or, with TLS, `mqtts://HOST[:PORT]`")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise refused from error
    if parts.username is not None or parts.password is not None:
        raise InputError("must not hold user and password", hint="give `user` and `password_file` or `password_env`")
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise refused
    return parts.scheme == "mqtts", parts.hostname, port or PORTS[parts.scheme]


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(SECRET_BYTES_MAX + 1)
        if len(data) > SECRET_BYTES_MAX:
            raise SettingError(f"password file `{path}` has over {SECRET_BYTES_MAX} bytes")
        return data.decode().partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise SettingError(f"password file `{path}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"password file `{path}` is no UTF-8 text") from error
