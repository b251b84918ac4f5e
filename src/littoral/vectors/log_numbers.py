"""A log for a store that has none, so that its writes are numbered on.

Without one the store begins at zero again, and ignores writes to points that carry a higher number: it takes them for
old ones. A copy, or what was unpacked of a snapshot, therefore gets a log that begins where its points end.

The log is of Qdrant's crate `wal`: a file `closed-N` holds the records from number N on. The one record written here
deletes no points. Held against the store itself by `tests/contract/vectors/test_numbers_go_on.py`.
"""

import os
from pathlib import Path

import msgspec

from littoral.errors import ShardError
from littoral.vectors.copying import LOG
from littoral.vectors.layout import sync_folder

__all__ = ["begin_log"]

SEGMENTS = "segments"
FILE_BYTES = 32 << 20
RECORD = bytes.fromhex(
    "77616c00a45d93af"  # magic, seed of the checksum
    "1600000000000000bf6d64656c6574655f706f696e7473a16369647380ff000000000000a40aaec2"
)


class _Segment(msgspec.Struct):
    """The part of `segment.json` that is needed. version: number of the last write in it."""

    version: int | None = None


def begin_log(store: Path) -> None:
    """Gives a store that has no log, and is not open, one that goes on after its points. Raises ShardError."""
    number = 1 + max((_last_write(file) for file in store.glob(f"{SEGMENTS}/*/segment.json")), default=0)
    try:
        (store / LOG).mkdir(mode=0o700)
        with (store / LOG / f"closed-{number}").open("xb") as log:
            log.write(RECORD)
            log.truncate(FILE_BYTES)
            log.flush()
            os.fsync(log.fileno())
        sync_folder(store / LOG)
    except OSError as error:
        raise ShardError(f"log of `{store}`: {error.strerror}") from error


def _last_write(file: Path) -> int:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Segment).version or 0
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ShardError(f"`{file}` is no segment of a store: {error!s:.200}") from error
