"""Where others reach a server, it asks for tokens and speaks TLS, or its file says in words that it does not."""

import ipaddress
from typing import NamedTuple

__all__ = ["Exposure", "is_loopback"]

_TABLES = {"token": "[auth]", "TLS": "[tls]"}


class Exposure(NamedTuple):
    """allowed: what the file says may be lacking beyond loopback, under `TABLE.beyond_loopback`."""

    has_tokens: bool
    has_tls: bool
    allowed: str
    table: str = "node"

    def refusal(self, host: str) -> tuple[str, str] | None:
        """What is wrong with listening there, and what to do; None: nothing."""
        lacking = [word for word, is_there in (("token", self.has_tokens), ("TLS", self.has_tls)) if not is_there]
        allowed = self.allowed.partition("without ")[2]
        if is_loopback(host) or all(word in allowed for word in lacking):
            return None
        words = f"without {' and '.join(lacking)}"
        tables = " and ".join(f"`{_TABLES[word]}`" for word in lacking)
        return (
            f"others reach it, {words}",
            f'add {tables}, listen at 127.0.0.1, or say `{self.table}.beyond_loopback = "{words}"`',
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address that is listened at."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
