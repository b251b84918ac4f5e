"""Where the node of a data folder serves, noted by its supervisor: `littoral up --listen`, or port 0, says another
address than the site file.
"""

import contextlib
from pathlib import Path

from littoral.errors import SettingError
from littoral.tables.addresses import Address, parse_address

__all__ = ["forget_address", "note_address", "noted_address"]

FILE = ".address"
BYTES_MAX = 512


def note_address(data: Path, address: str) -> None:
    """For as long as it serves there. A disk that takes nothing does not keep a node from serving."""
    new = data / f"{FILE}.new"
    with contextlib.suppress(OSError):
        new.write_text(f"{address}\n")
        new.replace(data / FILE)


def forget_address(data: Path) -> None:
    """It serves no more."""
    with contextlib.suppress(OSError):
        (data / FILE).unlink()


def noted_address(data: Path) -> Address | None:
    """None where nothing readable is noted. The node may have ended without a word since."""
    try:
        with (data / FILE).open("rb") as file:
            return parse_address(file.read(BYTES_MAX).decode().strip())
    except (OSError, UnicodeDecodeError, SettingError):
        return None
