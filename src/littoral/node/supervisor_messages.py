"""Between node and supervisor: the node says which shard hosts it wants, the supervisor says how its children are.

One packet, one msgpack message, on an inherited socket pair. Both messages are whole states, so that any one may be
lost with its process: a node that starts says again what it wants.
"""

import socket

import msgspec

from littoral.node.supervise import ChildState

__all__ = ["LINK_VARIABLE", "PACKET_BYTES_MAX", "States", "Want", "link_pair"]

LINK_VARIABLE = "LITTORAL_LINK_FD"
PACKET_BYTES_MAX = 128 << 10


class Want(msgspec.Struct):
    """Folders of shards, relative to the data folder."""

    hosts: list[str]


class States(msgspec.Struct):
    """Every child by name; a shard host's name is its folder."""

    children: dict[str, ChildState]


def link_pair() -> tuple[socket.socket, socket.socket]:
    """Supervisor's end, node's end."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
