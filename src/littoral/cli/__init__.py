"""The command line: one file per verb. Results go to stdout, everything else to stderr.

Exit codes: 0 done · 1 a check did not hold · 2 the command line is wrong · 3 the model or artifact is at fault ·
4 the request or input is at fault · 5 the machine, its files or its load are at fault · 6 another node is at fault ·
7 a digest or signature does not match · 130 interrupted.
"""

import sys

from littoral.cli.console import show_error
from littoral.errors import LittoralError, ModelError, NodeError, PeerError, RequestError, TrustError

__all__ = ["EXIT_CODES", "main"]

EXIT_CODES: dict[type[LittoralError], int] = {
    ModelError: 3,
    RequestError: 4,
    NodeError: 5,
    PeerError: 6,
    TrustError: 7,
    LittoralError: 5,
}
INTERRUPTED = 130


def main() -> None:
    """Entry point of the command `littoral`."""
    from littoral.cli.app import app

    try:
        app(prog_name="littoral")
    except LittoralError as error:
        show_error(error)
        sys.exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
