"""The tables of a file that say who may ask: `auth` and `tls`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["AuthTable", "BeyondLoopback", "TlsTable"]

File = Annotated[str, Meta(min_length=1, max_length=4096)]

BeyondLoopback = Literal["with token and TLS", "without TLS", "without token", "without token and TLS"]
"""What is lacking where others reach the node; the words stand in the site file, so that nobody does it by accident."""


class AuthTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every request needs a token."""

    tokens: Annotated[File, Meta(description="File of tokens, digests only; `littoral tokens new` makes it")] = (
        "tokens.json"
    )
    probes: Annotated[bool, Meta(description="Whether `/livez`, `/readyz` and their like need one too")] = False
    metrics: Annotated[bool, Meta(description="Whether `/metrics` needs one")] = True


class TlsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """HTTP and gRPC over TLS; new files count for the next connection, without a restart."""

    certificate: Annotated[File, Meta(description="File of PEM: this node's certificate and its chain")]
    key: Annotated[File, Meta(description="File of PEM: its key, which only the node's user should be able to read")]
    clients: Annotated[
        File | None,
        Meta(description="File of PEM: authorities; only callers with a certificate of one of these are let in"),
    ] = None
