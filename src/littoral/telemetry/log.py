"""The log of a process: bounded in rate, kept in bounded memory, written by a thread of its own.

Whoever logs never waits: a terminal or a pipe that takes nothing costs lines, which are counted.
"""

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, TextIO

from littoral.clock import SYSTEM, Clock
from littoral.telemetry.log_limit import Limit
from littoral.telemetry.log_lines import LEVELS, Line, as_json, as_terminal, fits, line_of
from littoral.telemetry.metrics import Reading

__all__ = ["Log", "LogOptions", "Told"]

KEEP = 2048
WAITING_MAX = 4096
END_S = 0.3
LIBRARIES = logging.WARNING
"""Of what is not Littoral's."""


class LogOptions(NamedTuple):
    """level: the least that is told. format: auto, json or text. keep: lines in memory."""

    level: str = "info"
    format: str = "auto"
    lines_per_s: float = 10.0
    keep: int = KEEP


class Told(NamedTuple):
    """Lines, oldest first. next: the number to ask with for what comes after. lost: lines that are no longer kept."""

    lines: list[Line]
    next: int
    lost: int


class Log(logging.Handler):
    """listeners: called with each line, in the thread that logs. Threads may share it."""

    def __init__(self, options: LogOptions, stream: TextIO, clock: Clock = SYSTEM) -> None:
        super().__init__()
        self.listeners: list[Callable[[Line], None]] = []
        self._tells_all = options.level == "debug"
        self._clock = clock
        self._limit = Limit(options.lines_per_s, clock)
        self._lines: deque[Line] = deque(maxlen=options.keep)
        self._next = 1
        self._counts = dict.fromkeys(LEVELS, 0)
        self._stream = stream
        self._form = _form_of(options, stream)
        self._waiting: deque[Line] = deque()
        self._has_more = threading.Event()
        self._dropped = 0
        self._is_over = False
        self._writer = threading.Thread(target=self._write, name="littoral-log", daemon=True)

    @classmethod
    def start(cls, options: LogOptions, stream: TextIO | None = None, clock: Clock = SYSTEM) -> "Log":
        """All that this process logs goes there, until `stop`; one that was started before is stopped."""
        root = logging.getLogger()
        for before in [handler for handler in root.handlers if isinstance(handler, cls)]:
            before.stop()
        log = cls(options, stream or sys.stderr, clock)
        root.addHandler(log)
        root.setLevel(LIBRARIES)
        logging.getLogger("littoral").setLevel(options.level.upper())
        log._writer.start()
        return log

    def change(self, options: LogOptions) -> None:
        """From the next line on. Lines that are kept stay, the latest first where fewer fit."""
        with self._handler_lock():
            self._tells_all = options.level == "debug"
            self._limit = Limit(options.lines_per_s, self._clock, suppressed=self._limit.suppressed)
            self._lines = deque(self._lines, maxlen=options.keep)
            self._form = _form_of(options, self._stream)
        logging.getLogger("littoral").setLevel(options.level.upper())

    def stop(self) -> None:
        """Writes what waits, if that goes at once."""
        logging.getLogger().removeHandler(self)
        self._is_over = True
        self._has_more.set()
        self._writer.join(END_S)

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        suppressed = getattr(record, "suppressed", None)
        if suppressed is None:
            suppressed = self._limit.take((record.name, record.levelno, record.msg if record.args else record.name))
        if suppressed is None:
            return
        line = line_of(record, self._next, suppressed, tells_all=self._tells_all)
        self._next += 1
        self._counts[line.level] += 1
        self._lines.append(line)
        if len(self._waiting) >= WAITING_MAX:
            self._dropped += 1
        else:
            self._waiting.append(line)
            self._has_more.set()
        for listener in self.listeners:
            listener(line)

    def told(self, *, level: str = "debug", part: str = "", since: int = 0, count_max: int = 200) -> Told:
        """Those kept whose number is `since` or later, of this level or worse; without `since` the latest."""
        with self._handler_lock():
            lines, following = list(self._lines), self._next
        first = lines[0].number if lines else following
        found = [line for line in lines if line.number >= since and fits(line, level=level, part=part)]
        if not since:
            return Told(found[max(0, len(found) - count_max) :], following, 0)
        told = found[:count_max]
        cut = following if len(found) <= count_max else found[count_max].number
        return Told(told, cut, max(0, first - since))

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        for level, count in self._counts.items():
            yield Reading("littoral_log_lines_total", (level,), count)
        yield Reading("littoral_log_lines_suppressed_total", (), self._limit.suppressed)
        yield Reading("littoral_log_lines_dropped_total", (), self._dropped)

    def _handler_lock(self) -> threading.RLock:
        assert self.lock is not None
        return self.lock

    def _write(self) -> None:
        while not (self._is_over and not self._waiting):
            self._has_more.wait()
            self._has_more.clear()
            while self._waiting:
                text = self._form(self._waiting.popleft())
                try:
                    self._stream.write(f"{text}\n")
                    self._stream.flush()
                except (OSError, ValueError):  # nobody reads it any more; what is kept in memory is still there
                    self._dropped += 1


def _form_of(options: LogOptions, stream: TextIO) -> Callable[[Line], str]:
    is_json = options.format == "json" or (options.format == "auto" and not stream.isatty())
    return as_json if is_json else as_terminal
