"""Loops that go on for as long as the node does: what goes wrong in one round is said, counted, and not the end."""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import ClassVar

from littoral.errors import LittoralError
from littoral.telemetry.metrics import Reading

__all__ = ["Endured"]

_log = logging.getLogger(__name__)


class Endured:
    """Of one node, or a part of it. say: told of what went wrong, once for as long as it is the same.

    failed: rounds, by loop, of this process. unexpected: of these, those by what is neither an error of the tree nor
    of the system; a fault of ours, told with its trace.
    """

    failed: ClassVar[Counter[str]] = Counter()
    unexpected: ClassVar[Counter[str]] = Counter()

    def __init__(self, say: Callable[[str], None] = _log.warning) -> None:
        self._say = say
        self._said: dict[str, str] = {}

    @contextlib.contextmanager
    def round(self, loop: str) -> Iterator[None]:
        """Around one round of this loop."""
        try:
            yield
        except (LittoralError, OSError) as error:
            self._tell(loop, str(error))
        except Exception as error:  # noqa: BLE001 (the loop's outermost boundary)
            self.unexpected[loop] += 1
            _log.exception("%s: a round failed", loop)
            self._tell(loop, repr(error))
        else:
            self._said.pop(loop, None)

    def _tell(self, loop: str, why: str) -> None:
        self.failed[loop] += 1
        if self._said.get(loop) != why:
            self._said[loop] = why
            self._say(f"{loop}: {why}")

    @classmethod
    def readings(cls) -> Iterator[Reading]:
        """For a scrape."""
        for loop, count in cls.failed.items():
            yield Reading("littoral_mesh_rounds_failed_total", (loop,), count)
