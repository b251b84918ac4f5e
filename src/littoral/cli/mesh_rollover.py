"""`littoral mesh rollover`: a site goes over to another authority."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from littoral.cli.console import results, show_json
from littoral.cli.mesh_identity import PlaceArgument, open_identity, root_of

if TYPE_CHECKING:
    from littoral.mesh.identity.identity import Identity

__all__ = ["begin", "finish", "rollover", "status"]

rollover = typer.Typer(name="rollover", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

HOUR_S = 3600
DIGEST_CHARACTERS = 16


@rollover.callback()
def options() -> None:
    """Go over to another issuing certificate and key, with all nodes."""


@rollover.command()
def begin(
    place: PlaceArgument,
    root: Annotated[Path, typer.Option(help="The site's root: its file, only read.")],
    hours: Annotated[float, typer.Option(min=0, max=720, help="Within which all nodes renew.")] = 24.0,
) -> None:
    """Make the next authority, and announce it beside the one that is. On the node that writes the roster."""
    identity = open_identity(place)
    from littoral.mesh.identity.rollover import begin_rollover

    begin_rollover(identity, root_of(root), within_s=int(hours * HOUR_S))
    _print(identity)


@rollover.command()
def status(place: PlaceArgument, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Tell which authorities count, and who has still to show a certificate by the new one."""
    identity = open_identity(place)
    if as_json:
        show_json(rollover_report(identity))
        return
    _print(identity)


@rollover.command()
def finish(
    place: PlaceArgument,
    without: Annotated[
        list[str] | None, typer.Option(help="A node that is left behind and has to join again; several times.")
    ] = None,
) -> None:
    """Let only the new authority count. On the node that writes the roster."""
    identity = open_identity(place)
    from littoral.mesh.identity.rollover import finish_rollover

    finish_rollover(identity, without=without or [])
    _print(identity)


def rollover_report(identity: "Identity") -> dict[str, Any]:
    """A written contract: docs/reference/cli.md."""
    from littoral.mesh.identity.rollover import rollover_state
    from littoral.mesh.trust.certificates import digest_of, expires_at_s

    state = rollover_state(identity)
    return {
        "authority": identity.trust.digest,
        "expires_at_s": expires_at_s(identity.trust.issuing),
        "older": [digest_of(one) for one in identity.trust.older],
        "is_behind": identity.is_behind,
        "has_key": (signing := identity.signing()) is not None and signing.authority == identity.trust.issuing,
        "begun_at_s": None if state is None else state.rollover.begun_at_s,
        "finished_at_s": None if state is None else state.rollover.finished_at_s or None,
        "shown": [] if state is None else sorted(state.shown),
        "waiting": [] if state is None else state.waiting,
        "without": [] if state is None else state.rollover.without,
    }


def rollover_lines(report: dict[str, Any], now_s: float) -> Iterator[str]:
    """now_s: Unix time."""
    days = (report["expires_at_s"] - now_s) / (24 * HOUR_S)
    yield f"authority    {_short(report['authority'])}, {days:.0f} days left"
    if not report["older"] or report["begun_at_s"] is None:
        return
    began_days = (now_s - report["begun_at_s"]) / (24 * HOUR_S)
    yield f"  older      {', '.join(map(_short, report['older']))}: counts beside it, for {began_days:.1f} days now"
    yield f"  shown      {', '.join(report['shown']) or 'by nobody'}"
    if report["waiting"]:
        yield f"  waiting    {', '.join(report['waiting'])}"
    else:
        yield "  next       littoral mesh rollover finish"


def _print(identity: "Identity") -> None:
    for line in rollover_lines(rollover_report(identity), identity.clock.wall()):
        results.print(line, markup=False)


def _short(digest: str) -> str:
    return f"{digest[:DIGEST_CHARACTERS]}…"
