"""What `littoral up` becomes: a supervisor, which is small for as long as it runs.

A plain `littoral up SITE [--listen HOST:PORT]` is read here, without the libraries of the other verbs: they would cost
20 MB, and the node would wait for them. Anything else on the command line is theirs (`up.py`).
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from littoral.errors import LittoralError, UnavailableError
from littoral.lifeline import Lifeline
from littoral.node.service_manager import ServiceManager
from littoral.node.site import Site, parse_address, read_site
from littoral.node.supervisor import Supervisor

__all__ = ["PlainUp", "plain_up", "site_of", "supervise"]

NODE_MODULE = "littoral.node.process"


class PlainUp(NamedTuple):
    """listen: None = as the site file says."""

    site: Path
    listen: str | None = None


def plain_up(arguments: Sequence[str]) -> PlainUp | None:
    """None for anything but `up SITE` and `up SITE --listen HOST:PORT`."""
    match arguments:
        case ["up", site] if not site.startswith("-"):
            return PlainUp(Path(site))
        case ["up", site, "--listen", listen] if not site.startswith("-") and not listen.startswith("-"):
            return PlainUp(Path(site), listen)
    return None


def site_of(asked: PlainUp) -> Site:
    """Raises SettingError."""
    site = read_site(asked.site)
    return site if asked.listen is None else site.listening_at(parse_address(asked.listen))


def supervise(site: Site) -> None:
    """Until SIGTERM or SIGINT. Ends with whoever started this process, if that is one of ours."""
    lifeline = Lifeline.attach()

    def tell(address: str) -> None:
        where = f"{site.scheme}://{address}"
        print(f"littoral: node `{site.node.name}` serves {where}", file=sys.stderr, flush=True)  # noqa: T201
        lifeline.ready(address)

    command = [sys.executable, "-P", "-m", NODE_MODULE, str(site.file.absolute()), str(site.listen)]
    try:
        Supervisor(site.data, command, on_ready=tell, manager=ServiceManager.attach()).run_until_signal()
    except LittoralError as error:
        lifeline.failed(error.message)
        raise
    except OSError as error:
        lifeline.failed(str(error))
        raise UnavailableError(f"data folder `{site.data}`: {error.strerror}") from error
