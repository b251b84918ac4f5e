"""A line of the log as values, as JSON and as text: with the request that it belongs to, without secrets and payloads.

Of an error that nobody foresaw the class and the places are told, not its message, which may hold what a caller sent;
only at the level `debug` it is. What looks like a secret is cut out of every line.
"""

import logging
import re
import traceback
from datetime import UTC, datetime

import msgspec

from littoral.errors import LittoralError
from littoral.telemetry.trace_context import current_trace

__all__ = ["LEVELS", "Line", "as_json", "as_terminal", "as_text", "fits", "line_of", "without_secrets"]

LEVELS = ("debug", "info", "warning", "error")
MESSAGE_CHARACTERS_MAX = 4096
PLACES_MAX = 24
ROOT = "littoral."
HIDDEN = "…"

_USER = re.compile(r"(?<=://)[^/@\s`'\"]+@")
_NAMED = re.compile(
    r"(?i)\b((?:[\w-]*(?:password|passwd|secret|token|api[_-]?key)|authorization)[`'\"]?\s*[:=]\s*[`'\"]?)"
    r"(?:bearer\s+|basic\s+)?[^\s`'\",;&}]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")


class Line(msgspec.Struct, omit_defaults=True):
    """at: Unix time. part: who says it, such as `web`. request, trace: that it belongs to. failure: of an error nobody
    foresaw, its class and places. suppressed: lines of this kind that were not told before it.
    """

    number: int
    at: float
    level: str
    part: str
    message: str
    request: str = ""
    trace: str = ""
    failure: list[str] = []
    suppressed: int = 0

    @property
    def time(self) -> str:
        """RFC 3339, in UTC."""
        return datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line_of(record: logging.LogRecord, number: int, suppressed: int, *, tells_all: bool = False) -> Line:
    """tells_all: messages of unforeseen errors too."""
    trace = current_trace()
    return Line(
        number,
        record.created,
        _level(record.levelno),
        record.name.removeprefix(ROOT),
        without_secrets(_message(record))[:MESSAGE_CHARACTERS_MAX],
        trace.request if trace is not None else "",
        trace.trace if trace is not None else "",
        _failure(record, tells_all=tells_all),
        suppressed,
    )


def fits(line: Line, *, level: str, part: str) -> bool:
    """Whether it is of this level or worse, and of this part or one below it ('': of any)."""
    is_of_part = not part or line.part == part or line.part.startswith(f"{part}.")
    return is_of_part and LEVELS.index(line.level) >= LEVELS.index(level)


def as_json(line: Line) -> str:
    """One object on one line; the time as RFC 3339 beside the rest."""
    told = {"time": line.time, **msgspec.to_builtins(line)}
    del told["number"], told["at"]
    return msgspec.json.encode(told).decode()


def as_terminal(line: Line) -> str:
    """For whoever has started it: what is no worse than it should be has no level."""
    about = "" if line.level == "info" else f"{line.level}: {line.part}: "
    return f"littoral: {about}{as_text(line)}"


def as_text(line: Line) -> str:
    """For people; what follows the first line is indented."""
    about = " ".join(f"{name} {value}" for name, value in (("request", line.request), ("trace", line.trace)) if value)
    more = f" ({line.suppressed} more of these were not told)" if line.suppressed else ""
    first = f"{line.message}{more} [{about}]" if about else f"{line.message}{more}"
    return "\n".join([first, *(f"  {place}" for place in line.failure)])


def without_secrets(text: str) -> str:
    """User and password of addresses, values that are called a secret, tokens after `Bearer`."""
    return _BEARER.sub(rf"\1 {HIDDEN}", _NAMED.sub(rf"\1{HIDDEN}", _USER.sub(f"{HIDDEN}@", text)))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return f"{record.msg} (what belongs into it does not fit)"


def _level(number: int) -> str:
    return LEVELS[min(len(LEVELS) - 1, max(0, number // 10 - 1))]


def _failure(record: logging.LogRecord, *, tells_all: bool) -> list[str]:
    if not record.exc_info or (error := record.exc_info[1]) is None:
        return []
    said = f": {error}" if tells_all or isinstance(error, LittoralError) else ""
    places = traceback.extract_tb(error.__traceback__)[-PLACES_MAX:]
    return [
        without_secrets(f"{type(error).__name__}{said}")[:MESSAGE_CHARACTERS_MAX],
        *(f"{_short(place.filename)}:{place.lineno} {place.name}" for place in places),
    ]


def _short(path: str) -> str:
    """From the package on: where it is installed is nobody's business."""
    parts = path.split("/")
    return "/".join(parts[-3:])
