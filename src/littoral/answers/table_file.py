"""The table of entries in a file, so that a node that starts again knows what it keeps without reading all of it.

Beside it stands a mark while a node writes: where the mark is found at a start, the node before was killed, and its
table may be behind. What is lost then is only what was counted since; the entries lie in the collection.
"""

import logging

from littoral.answers.eviction import Table
from littoral.artifact.disk import Disk
from littoral.errors import ArtifactError

__all__ = ["TableFile"]

FILE = "answers.table"
MARK = "answers.running"

_log = logging.getLogger("littoral.answers")


class TableFile:
    """Blocks: for a thread. Errors of the disk cost counts, never an answer: they are logged."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def load(self) -> tuple[Table, bool]:
        """What was saved last, and whether it is all; from now on it may be behind."""
        was_ended, data = False, None
        try:
            data = self._disk.read(FILE)
            was_ended = data is not None and self._disk.read(MARK) is None
            self._disk.replace(MARK, b"")
        except OSError as error:
            _log.error("table of answers: %s: what is kept is looked through", error.strerror)
            was_ended = False
        try:
            return (Table() if data is None else Table.unpack(data)), was_ended
        except ArtifactError as error:
            _log.warning("%s: what is kept is looked through", error.message)
            return Table(), False

    def save(self, packed: bytes, *, is_end: bool = False) -> bool:
        """packed: by `Table.pack`. is_end: nothing is written after it, so that the next start may rely on it."""
        try:
            self._disk.replace(FILE, packed)
            if is_end:
                self._disk.remove(MARK)
        except OSError as error:
            _log.error("table of answers: %s: not saved", error.strerror)
            return False
        return True
