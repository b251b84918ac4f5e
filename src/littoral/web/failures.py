"""Errors as HTTP: which status an error of our tree has, and what is said of one that is none of ours."""

import errno
import logging
import math
import secrets
from typing import NamedTuple

from littoral.errors import (
    AgentError,
    ConflictError,
    DeadlineError,
    ForbiddenError,
    FullDiskError,
    InputError,
    LittoralError,
    NotFoundError,
    NotOfferedError,
    PeerError,
    QuotaError,
    RequestError,
    SlowRequestError,
    TooLargeError,
    TooOftenError,
    UnauthorizedError,
    UnavailableError,
)

__all__ = ["Failure", "failure_of"]

_STATUS: dict[type[LittoralError], int] = {
    InputError: 400,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    QuotaError: 403,
    NotFoundError: 404,
    SlowRequestError: 408,
    ConflictError: 409,
    TooLargeError: 413,
    TooOftenError: 429,
    NotOfferedError: 501,
    RequestError: 400,
    PeerError: 502,
    UnavailableError: 503,
    DeadlineError: 504,
    FullDiskError: 507,
    LittoralError: 500,
}
# docs/reference/agent-abi.md: −1 input, −2 too large, −3 unsupported; −4 … −7 are not the caller's; below −100 its own
_AGENT_TOO_LARGE = -2
_AGENT_CALLERS = (-1, -3)
_AGENT_OWN_MAX = -100

_FULL = (errno.ENOSPC, errno.EDQUOT)

_log = logging.getLogger("littoral.web")


class Failure(NamedTuple):
    """status: of HTTP. message: one line for the caller. headers: beside it."""

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()


def failure_of(error: Exception) -> Failure:
    """What a caller is told. An error that is none of ours goes to the log, under an id that the caller gets."""
    if isinstance(error, OSError) and error.errno in _FULL:
        error = FullDiskError(
            f"`{error.filename or 'disk'}`: {error.strerror}", hint="make room; what needs no disk goes on meanwhile"
        )
    if not isinstance(error, LittoralError):
        number = secrets.token_hex(4)
        _log.error("internal error %s", number, exc_info=error)
        return Failure(500, f"internal error `{number}` · hint: the node's log says more under this id")
    if isinstance(error, UnavailableError | TooOftenError):
        return Failure(_status(error), str(error), (("retry-after", str(max(1, math.ceil(error.retry_after_s)))),))
    if isinstance(error, UnauthorizedError):
        return Failure(401, str(error), (("www-authenticate", 'Bearer realm="littoral"'),))
    if isinstance(error, TooLargeError | SlowRequestError):
        return Failure(_status(error), str(error), (("connection", "close"),))
    return Failure(_status(error), str(error))


def _status(error: LittoralError) -> int:
    if isinstance(error, AgentError):
        return _agent_status(error.number)
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def _agent_status(number: int) -> int:
    if number == _AGENT_TOO_LARGE:
        return 413
    return 422 if number in _AGENT_CALLERS or number <= _AGENT_OWN_MAX else 500
