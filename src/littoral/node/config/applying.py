"""`littoral config apply`: another site file, checked, tried by the node that runs, and only then in its place."""

from pathlib import Path
from typing import NamedTuple

from littoral.clock import Clock
from littoral.errors import ConflictError, NodeError, SettingError, UnavailableError
from littoral.node.config.changes import Change, changes, check_changes
from littoral.node.config.control import ask_supervisor
from littoral.node.config.texts import SiteTexts, read_text, replace_text
from littoral.node.config.trial import Outcome
from littoral.node.site import Site, parse_site
from littoral.vectors.owner_lock import OwnerLock

__all__ = ["Applied", "apply_text", "running_site", "site_before"]

LOCK = ".apply.lock"


class Applied(NamedTuple):
    """outcome: of the node; None where none runs. previous: the file with what the site file said before, if it says
    something else now."""

    changes: list[Change]
    outcome: Outcome | None
    previous: Path | None


def running_site(file: Path) -> Site | None:
    """What the node of this site file runs, or served with last; None if none ever did."""
    texts = SiteTexts(file)
    text = texts.served()
    return None if text is None else parse_site(text, file)


def site_before(file: Path) -> Site:
    """What the file says; where it is wrong, what served last. Raises SettingError where nothing did."""
    try:
        return parse_site(read_text(file), file)
    except SettingError:
        if (served := running_site(file)) is None:
            raise
        return served


def apply_text(file: Path, text: bytes, *, deadline_s: float, clock: Clock) -> Applied:
    """Raises SettingError for a text that is wrong or would lose data, what opening its models and agents raises,
    ConflictError while another is being applied, NodeError where the node does not serve with it: then all is as it
    was."""
    from littoral.node.wiring import check_site

    texts = SiteTexts(file)
    texts.make()
    try:
        lock = OwnerLock.take(texts.folder, clock, name=LOCK)
    except UnavailableError as error:
        raise ConflictError(f"another site file is being applied: {error.message}") from error
    try:
        before, after = site_before(file), parse_site(text, file)
        found = changes(before, after)
        check_changes(found, file)
        check_site(after)
        outcome = ask_supervisor(before.data, text, deadline_s, clock)
        _check_outcome(outcome)
        previous = None if read_text(file) == text else replace_text(file, text)
        return Applied(found, outcome, previous)
    except OSError as error:
        raise NodeError(f"`{error.filename or file}`: {error.strerror}") from error
    finally:
        lock.release()


def _check_outcome(outcome: Outcome | None) -> None:
    if outcome is None or outcome.how in ("same", "hot", "restarted"):
        return
    if outcome.how == "busy":
        raise ConflictError(outcome.why)
    if outcome.how == "refused":
        raise SettingError(outcome.why)
    raise NodeError(f"the node did not serve with it and goes back to the one before: {outcome.why}")
