"""What one HTTP server bounds."""

from typing import NamedTuple

__all__ = ["Limits"]


class Limits(NamedTuple):
    """Of one server.

    header_s: for the head of a request, and for the pause between two on one connection. bodies_bytes_max: all bodies
    that are held at one time. handshake_s, handshake_count_max, handshake_address_count_max: of TLS, for each,
    of all and of one address. stalled_s: a caller that takes no byte of its answer for so long is hung up on.
    """

    body_bytes_max: int = 16 << 20
    bodies_bytes_max: int = 128 << 20
    body_s: float = 20.0
    header_bytes_max: int = 64 << 10
    header_s: float = 15.0
    connection_count_max: int = 512
    handshake_s: float = 10.0
    handshake_count_max: int = 128
    handshake_address_count_max: int = 32
    stalled_s: float = 30.0
