"""Who a node is in its fleet, as its orchestrator said it once."""

import msgspec

from littoral.artifact.disk import Disk
from littoral.errors import SettingError

__all__ = ["FILE", "Membership", "read_membership"]

FILE = "membership"


class Membership(msgspec.Struct, frozen=True):
    """Kept for its owner alone. token: bearer of everything that the node says."""

    node: str
    token: str


def read_membership(disk: Disk) -> Membership | None:
    """None before enrolment. Raises SettingError for a file that is damaged."""
    if (data := disk.read(FILE)) is None:
        return None
    try:
        return msgspec.json.decode(data, type=Membership)
    except msgspec.DecodeError as error:
        raise SettingError(
            f"`updates/{FILE}` in the data folder: {error}", hint="remove it, and enrol with a new claim"
        ) from error
