"""A log that was restored is not gone on with: entries that came after the backup may have been shown to others, and
a log that says something else in their place would be a forked one. It is kept, and another one begins, under a name
that no log had before, whose first entries name the end of the one before it.
"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from littoral.artifact.model import write_atomically
from littoral.audit.copying import End, end_of
from littoral.errors import TrustError

__all__ = ["BEFORE", "EPOCH", "LOG", "Epoch", "begin_epoch", "read_epoch"]

LOG, BEFORE, EPOCH = "audit", "audit.before", "audit.epoch"
"""Below the data folder: the log; folders of those before it; which it is, where there were others."""

FIRST = "first"
FILE_BYTES_MAX = 1 << 16


class Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """name: part of the log's. before: the end of the log before it, which lies in the folder `folder`."""

    name: str
    folder: str
    before: End
    backup: str

    @property
    def detail(self) -> dict[str, object]:
        """For the entry that names the end of the log before."""
        return {"backup": self.backup, "folder": f"{BEFORE}/{self.folder}"}


def read_epoch(data: Path) -> Epoch | None:
    """data: the node's folder. None where no log was restored. Raises TrustError for a file that is none, OSError."""
    path = data / EPOCH
    try:
        with path.open("rb") as stream:
            return msgspec.json.decode(stream.read(FILE_BYTES_MAX), type=Epoch)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TrustError(f"`{path}`: {error}") from error


def begin_epoch(data: Path, backup: str, now_s: float, token: str) -> Epoch | None:
    """In a folder that a backup was put into: what it has of a log is moved aside. None where it has none.

    backup: its name. token: random, so that a backup that is restored twice begins two logs.
    """
    if (end := end_of(data / LOG)) is None:
        return None
    known = read_epoch(data)
    folder = FIRST if known is None else known.name
    (data / BEFORE).mkdir(mode=0o700, exist_ok=True)
    (data / LOG).rename(data / BEFORE / folder)
    epoch = Epoch(f"{datetime.fromtimestamp(now_s, UTC):%Y%m%dT%H%M%SZ}-{token}", folder, end, backup)
    write_atomically(data / EPOCH, msgspec.json.encode(epoch), mode=0o600)
    return epoch
