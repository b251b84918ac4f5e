"""Addresses as files and command lines have them."""

from typing import NamedTuple
from urllib.parse import urlsplit

from littoral.errors import SettingError

__all__ = ["Address", "is_own_address", "parse_address"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`host:port`, `[::1]:port`. Raises SettingError."""
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if is_bracketed else host
    is_number = port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535
    if not colon or not bare or not is_number or (":" in bare) != is_bracketed or any(c.isspace() for c in bare):
        raise SettingError(f"address `{text}` is not HOST:PORT, such as `127.0.0.1:8642` or `[::1]:8642`")
    return Address(bare, int(port))


def is_own_address(url: str) -> bool:
    """Whether an address is one of this machine's own, by its name alone."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname in LOOPBACK and parts.username is None
