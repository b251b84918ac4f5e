"""What `littoral up` becomes: a supervisor, which is small for as long as it runs.

A plain `littoral up SITE [--listen HOST:PORT] [--last-good]` is read here, without the libraries of the other verbs:
they would cost 20 MB, and the node would wait for them. Anything else on the command line is theirs (`up.py`).
"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from littoral.clock import SYSTEM
from littoral.errors import LittoralError, UnavailableError
from littoral.lifeline import Lifeline
from littoral.node.config.texts import SiteTexts, read_text
from littoral.node.config.trial import Trial
from littoral.node.service_manager import ServiceManager
from littoral.node.serving_address import forget_address, note_address
from littoral.node.site import Address, Site, parse_address, parse_site
from littoral.node.supervisor import Supervisor

__all__ = ["Asked", "PlainUp", "plain_up", "site_of", "supervise"]

LAST_GOOD = "--last-good"


class PlainUp(NamedTuple):
    """listen: None = as the site file says. last_good: where the site file is wrong, the one that served last."""

    site: Path
    listen: str | None = None
    last_good: bool = False


class Asked(NamedTuple):
    """A site, as read from `text`."""

    site: Site
    text: bytes
    listen: Address | None
    last_good: bool


def plain_up(arguments: Sequence[str]) -> PlainUp | None:
    """None for anything but `up SITE`, with `--listen HOST:PORT`, `--last-good` or both, in this order."""
    last_good = arguments[-1:] == [LAST_GOOD]
    match arguments[:-1] if last_good else arguments:
        case ["up", site] if not site.startswith("-"):
            return PlainUp(Path(site), None, last_good)
        case ["up", site, "--listen", listen] if not site.startswith("-") and not listen.startswith("-"):
            return PlainUp(Path(site), listen, last_good)
    return None


def site_of(asked: PlainUp) -> Asked:
    """Raises SettingError, NotFoundError."""
    listen = None if asked.listen is None else parse_address(asked.listen)
    site, text = _read(asked)
    return Asked(site if listen is None else site.listening_at(listen), text, listen, asked.last_good)


def _read(asked: PlainUp) -> tuple[Site, bytes]:
    try:
        text = read_text(asked.site)
        return parse_site(text, asked.site), text
    except LittoralError as error:
        served = SiteTexts(asked.site).served() if asked.last_good else None
        if served is None:
            raise
        _say(f"{error}; the node is started with the site file that served last")
        return parse_site(served, asked.site), served


def supervise(asked: Asked) -> None:
    """Until SIGTERM or SIGINT. Ends with whoever started this process, if that is one of ours."""
    lifeline = Lifeline.attach()
    site, text, listen, last_good = asked
    trial = Trial(site, text, SiteTexts(site.file), SYSTEM, listen=listen, falls_back=last_good)

    has_served = False

    def tell(address: str) -> None:
        nonlocal has_served
        has_served = True
        note_address(site.data, address)
        _say(f"node `{trial.site.node.name}` serves {trial.site.scheme}://{address}")
        lifeline.ready(address)

    manager = ServiceManager.attach()
    supervisor = Supervisor(site.data, [sys.executable, "-P"], on_ready=tell, manager=manager, trial=trial, say=_say)
    try:
        supervisor.run_until_signal()
    except LittoralError as error:
        lifeline.failed(error.message)
        raise
    except OSError as error:
        lifeline.failed(str(error))
        raise UnavailableError(f"data folder `{site.data}`: {error.strerror}") from error
    finally:
        if has_served:
            forget_address(site.data)


def _say(line: str) -> None:
    """In one write, for the node writes there too. A line that nobody takes, as on a full disk, waits for the next one
    that somebody does.
    """
    with contextlib.suppress(OSError):
        sys.stderr.write(f"littoral: {line}\n")
        sys.stderr.flush()
