"""Where a pipeline's input came from: what a step may say of it beside the value it is given.

It goes with the task that runs the pipeline, so that steps which do not ask for it need not pass it on.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property

__all__ = ["NOWHERE", "Origin", "coming_from", "origin"]


@dataclass(frozen=True)
class Origin:
    """data: the input as it came. id: what its sender calls it, or ''. topic, wildcards: of MQTT. at: Unix time."""

    data: bytes = b""
    id: str = ""
    topic: str = ""
    wildcards: tuple[str, ...] = ()
    at: float = 0.0

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the input, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


NOWHERE = Origin()
_ORIGIN: ContextVar[Origin] = ContextVar("littoral_origin", default=NOWHERE)


def origin() -> Origin:
    """Of the input that the running pipeline was given."""
    return _ORIGIN.get()


@contextlib.contextmanager
def coming_from(where: Origin) -> Iterator[None]:
    """Around the run of a pipeline."""
    token = _ORIGIN.set(where)
    try:
        yield
    finally:
        _ORIGIN.reset(token)
