"""Builds the search graph of a store that nobody else has open: `python -m littoral.vectors.optimize_process <store>`.

Runs below everything else on the machine. Exit 0: built. 3: there was nothing to do. 1: it failed, the reason is told.
"""

import os
import sys
from pathlib import Path

from littoral.errors import LittoralError
from littoral.lifeline import Lifeline
from littoral.vectors.store_folder import optimize_store

__all__ = ["NOTHING_TO_DO", "main"]

NOTHING_TO_DO = 3
NICENESS = 10


def main(arguments: list[str]) -> int:
    """Exit codes as above, 2 for wrong arguments."""
    lifeline = Lifeline.attach()
    if len(arguments) != 1:
        print("usage: python -m littoral.vectors.optimize_process <store>", file=sys.stderr)  # noqa: T201
        return 2
    os.nice(NICENESS)
    try:
        return 0 if optimize_store(Path(arguments[0])) else NOTHING_TO_DO
    except (LittoralError, OSError) as error:
        lifeline.failed(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
