"""`littoral config`: what the site file may say, and how another takes its place."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from littoral.cli.console import messages, results, show_json
from littoral.clock import SYSTEM
from littoral.errors import NotFoundError

if TYPE_CHECKING:
    from littoral.node.config.changes import Change

__all__ = ["apply", "config", "diff", "schema"]

LOST = 1
VALUE_CHARACTERS_MAX = 60

SiteArgument = Annotated[Path, typer.Argument(help="Site file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]

config = typer.Typer(name="config", add_completion=False, no_args_is_help=True, rich_markup_mode=None)


@config.callback()
def options() -> None:
    """What a site file may say, and another in its place."""


@config.command()
def apply(
    site: SiteArgument,
    new: Annotated[Path, typer.Argument(help="The one to take its place; paths in it are relative to SITE's folder.")],
    deadline_s: Annotated[
        float, typer.Option("--deadline", min=1, max=3600, help="Seconds for the node to serve with it.")
    ] = 120.0,
    as_json: JsonOption = False,
) -> None:
    """Check another site file, let the running node take it, and put it in place. What fails leaves all as it was."""
    from littoral.node.config.applying import apply_text
    from littoral.node.config.texts import read_text

    done = apply_text(site, read_text(new), deadline_s=deadline_s, clock=SYSTEM)
    how = "written" if done.outcome is None else done.outcome.how
    if as_json:
        previous = None if done.previous is None else str(done.previous)
        show_json({"how": how, "changes": _told(done.changes), "previous": previous})
        return
    _show(done.changes)
    words = {
        "written": "no node runs with it: it counts at the next start",
        "same": "the node runs what it says",
        "hot": "the node took it while it served",
        "restarted": "the node was started with it, and serves",
    }
    results.print(f"{site}: {words[how]}", markup=False, soft_wrap=True)
    if done.previous is not None:
        messages.print(f"what it said before: {done.previous}", markup=False, soft_wrap=True)


@config.command()
def diff(
    site: SiteArgument,
    new: Annotated[
        Path | None, typer.Argument(help="Another; default: SITE itself, against what served with it last.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what differs, and what it needs. Exit code 1: it would lose data, so no node takes it."""
    from littoral.node.config.applying import running_site, site_before
    from littoral.node.config.changes import Needs, changes
    from littoral.node.config.texts import read_text
    from littoral.node.site import parse_site

    after = parse_site(read_text(new or site), site)
    if new is not None:
        before = site_before(site)
    elif (before_or_none := running_site(site)) is not None:
        before = before_or_none
    else:
        raise NotFoundError(
            f"`{site}`: no node of this installation has served with it", hint="name the other file as well"
        )
    found = changes(before, after)
    if as_json:
        show_json(_told(found))
    else:
        _show(found)
    if any(change.needs is Needs.REFUSED for change in found):
        raise typer.Exit(LOST)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the site file."""
    from littoral.node.site_schema import site_schema

    show_json(site_schema())


def _told(found: "list[Change]") -> list[dict[str, Any]]:
    return [{**change._asdict(), "needs": change.needs.value} for change in found]


def _show(found: "list[Change]") -> None:
    if not found:
        results.print("nothing differs", markup=False)
    for change in found:
        why = f" ({change.why})" if change.why else ""
        values = f"{_value(change.before)} → {_value(change.after)}"
        results.print(f"{change.needs.value:8} {change.key}: {values}{why}", markup=False, soft_wrap=True)


def _value(value: object) -> str:
    if value is None:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"
