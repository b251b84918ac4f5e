"""What becomes of a message that the pipeline failed with: is it at fault itself, or is it worth another try?"""

import enum

from littoral.errors import (
    AgentError,
    LittoralError,
    NotFoundError,
    PeerError,
    RequestError,
    ShardError,
    SlowRequestError,
    TooOftenError,
    UnavailableError,
)
from littoral.web.failures import failure_of

__all__ = ["Verdict", "judged"]


class Verdict(enum.Enum):
    """refused: it will never be taken. broken: perhaps its fault, a few tries will tell. later: the node's fault."""

    REFUSED = "refused"
    BROKEN = "broken"
    LATER = "later"


def judged(error: Exception) -> Verdict:
    """A collection that was deleted may be made again: nothing that a message says is at fault for that."""
    match error:
        case UnavailableError() | ShardError() | PeerError() | NotFoundError() | SlowRequestError() | TooOftenError():
            return Verdict.LATER
        case RequestError():
            return Verdict.REFUSED
        case AgentError() if failure_of(error).status < 500:
            return Verdict.REFUSED
        case LittoralError():
            return Verdict.BROKEN
    return Verdict.BROKEN
