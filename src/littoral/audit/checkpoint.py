"""C2SP checkpoints: the origin of a log, how many entries it has, and their root; signed as a note."""

import base64
import binascii
from typing import NamedTuple

from littoral.audit.note import Note
from littoral.audit.tree import HASH_BYTES
from littoral.errors import TrustError

__all__ = ["Checkpoint", "parse_checkpoint"]

SIZE_DIGITS_MAX = 18


class Checkpoint(NamedTuple):
    """root: 32 bytes."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def parse_checkpoint(note: Note, what: str) -> Checkpoint:
    """what: for messages. Raises TrustError for a text that is none. Who signed it is not looked at."""
    lines = note.text.split("\n")
    if len(lines) == 4 and lines[0] and lines[1].isascii() and lines[1].isdecimal():
        found = Checkpoint(lines[0], int(lines[1][:SIZE_DIGITS_MAX]), _root(lines[2]))
        if found.text == note.text and len(found.root) == HASH_BYTES:
            return found
    raise TrustError(f"`{what}`: is no checkpoint: must be origin, size and root, a line each")


def _root(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
