"""One message of a broker, as a route sees it."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

__all__ = ["ID_PROPERTY", "Answerable", "Message"]

ID_PROPERTY = "id"
"""The user property (MQTT 5) by which a publisher says which message this is."""


class Answerable(Protocol):
    """The connection that a message came over."""

    @property
    def is_open(self) -> bool: ...

    def acknowledge(self, number: int) -> None: ...

    def pause(self) -> None:
        """Nothing more is read from it until `resume`."""
        ...

    def resume(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Message:
    """arrived_at: monotonic seconds. size: bytes on the wire, more than `payload` has where that was cut.

    response_topic, correlation, properties: of MQTT 5, else empty.
    """

    topic: str
    payload: bytes
    qos: int
    number: int
    is_again: bool
    connection: Answerable
    arrived_at: float
    size: int
    is_cut: bool = False
    response_topic: str = ""
    correlation: bytes | None = None
    media_type: str = ""
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """What its publisher calls it, or ''."""
        return self.properties.get(ID_PROPERTY, "")

    @cached_property
    def payload_digest(self) -> str:
        """SHA-256 of the payload, hexadecimal."""
        return hashlib.sha256(self.payload).hexdigest()

    @cached_property
    def key(self) -> tuple[str, str, str, str, bytes | None]:
        """Equal for two deliveries of one message."""
        return self.topic, self.payload_digest, self.id, self.response_topic, self.correlation

    @cached_property
    def digest(self) -> bytes:
        """Of `key`, 16 bytes."""
        return hashlib.blake2b(repr(self.key).encode(), digest_size=16).digest()

    def acknowledge(self) -> None:
        """Tells the broker that it need not keep this message; after its connection has ended it means nothing."""
        if self.qos and self.connection.is_open:
            self.connection.acknowledge(self.number)
