"""What a look at a node or its machine finds: good or not, and what mends it."""

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Finding", "Status"]


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """check: what was looked at. subject: of which node, file or address."""

    check: str
    subject: str
    status: Status
    message: str
    hint: str | None = None
