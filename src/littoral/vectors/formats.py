"""Format numbers of files: what a later version wrote is refused in words, and left as it is."""

import sqlite3

import msgspec

from littoral.errors import ShardError

__all__ = ["check_marks", "check_problem"]

LATER_HINT = "a later version wrote it: update this node, or restore a backup of before"


class _Format(msgspec.Struct):
    format: int = 1


def check_problem(data: bytes, known: int, error: Exception) -> tuple[str, str | None]:
    """What is wrong with a file that did not decode, and what to do: its format comes before its content."""
    try:
        found = msgspec.json.decode(data, type=_Format).format
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return str(error), None
    return (str(error), None) if found == known else (f"has format {found}, this version knows {known}", LATER_HINT)


def check_marks(file: sqlite3.Connection, known: int, what: str) -> None:
    """Of a database with a table `marks`, before anything is written to it. Closes it, and raises ShardError."""
    if file.execute("SELECT 1 FROM sqlite_master WHERE name = 'marks'").fetchone() is None:
        return
    found = file.execute("SELECT value FROM marks WHERE name = 'format'").fetchone()
    if found is not None and found[0] != known:
        file.close()
        raise ShardError(f"{what} has format {found[0]}, this version knows {known}", hint=LATER_HINT)
