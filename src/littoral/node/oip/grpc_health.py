"""The standard health service of gRPC, as those who run containers probe it: `Check` alone.

A watcher would hold one of the calls that a node has at a time; clients take `UNIMPLEMENTED` for that, as the protocol
says (https://github.com/grpc/grpc/blob/master/doc/health-checking.md). A request is one text and an answer one number:
on the wire they are what protobuf's wrappers are.
"""

from enum import IntEnum

from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import StringValue, UInt32Value

from littoral.errors import InputError, NotFoundError

__all__ = ["HEALTH", "Health", "asked_service", "health_answer"]

HEALTH = "grpc.health.v1.Health"


class Health(IntEnum):
    """`HealthCheckResponse.ServingStatus`."""

    SERVING = 1
    NOT_SERVING = 2


def asked_service(data: bytes, known: str) -> None:
    """Which service is asked for: the whole server, or the one that is known. Raises InputError, NotFoundError."""
    try:
        name = StringValue.FromString(data).value
    except DecodeError as error:
        raise InputError(f"what came is no `HealthCheckRequest`: {error}") from error
    if name not in ("", known):
        raise NotFoundError(f"service `{name[:80]}` is unknown, known: `{known}`, and none for the node")


def health_answer(status: Health) -> bytes:
    """A `HealthCheckResponse`."""
    return bytes(UInt32Value(value=status).SerializeToString())
