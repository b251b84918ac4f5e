"""The command line: one file per verb. Results go to stdout, everything else to stderr.

Exit codes: 0 done · 1 a check did not hold · 2 the command line is wrong · 3 the model or artifact is at fault ·
4 the request or input is at fault · 5 the machine, its files or its load are at fault · 6 another node is at fault ·
7 a digest or signature does not match · 130 interrupted.
"""

import sys

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
    try:
        run(sys.argv[1:])
    except LittoralError as error:
        from littoral.cli.console import show_error

        show_error(error)
        sys.exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def run(arguments: list[str]) -> None:
    """A verb; a node is started without waiting for what the other verbs need."""
    if arguments[:1] == ["up"]:
        from littoral.cli.supervising import plain_up, site_of, supervise

        if (asked := plain_up(arguments)) is not None:
            supervise(site_of(asked))
            return
    from littoral.cli.app import app

    app(prog_name="littoral")
