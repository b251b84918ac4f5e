"""Rollouts of a fleet."""

import json
from typing import Annotated, Any

import typer

from littoral.cli.console import results, show_json
from littoral.cli.fleet_client import JsonOption, UrlOption, asked, pairs, path_of, show, show_rows
from littoral.errors import InputError

__all__ = ["rollout"]

rollout = typer.Typer(
    name="rollout", help="Versions that reach nodes ring by ring.", no_args_is_help=True, rich_markup_mode=None
)

RolloutArgument = Annotated[str, typer.Argument(help="Id of the rollout.")]
WhyOption = Annotated[str, typer.Option(help="For whoever asks later.")]


@rollout.command()
def start(
    group: Annotated[str, typer.Option(help="Whose nodes get it.")] = "",
    node: Annotated[list[str] | None, typer.Option(help="A node that gets it, several times; or a group.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="NAME=TARGET, NAME as in site files.")] = None,
    agent: Annotated[list[str] | None, typer.Option(help="NAME=TARGET.")] = None,
    site: Annotated[str | None, typer.Option(help="Target of a site file.")] = None,
    ring: Annotated[
        list[str] | None, typer.Option(help="NAME=PERCENT of all nodes so far, in order; default: all at once.")
    ] = None,
    soak_s: Annotated[float, typer.Option(min=0, help="Seconds that each ring is watched before the next.")] = 0.0,
    error_share: Annotated[float, typer.Option(min=0, max=1, help="Of a ring's nodes that may fail.")] = 0.0,
    rollback: Annotated[bool, typer.Option("--rollback", help="Beyond that, take it back everywhere.")] = False,
    order: Annotated[str | None, typer.Option(help="JSON of the API, with what stands here put over it.")] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a rollout; an open one of the same nodes ends."""
    wanted: dict[str, Any] = {} if order is None else _read(order)
    given = {"models": pairs(model or [], "model"), "agents": pairs(agent or [], "agent"), "site": site}
    wanted["set"] = wanted.get("set", {}) | {key: value for key, value in given.items() if value}
    wanted |= {"group": group} if group else {}
    wanted |= {"nodes": node} if node else {}
    wanted |= {"rings": [_ring(text) for text in ring]} if ring else {}
    wanted |= {"soak_s": soak_s} if soak_s else {}
    wanted |= {"error_share_max": error_share} if error_share else {}
    wanted |= {"on_failure": "rollback"} if rollback else {}
    found = asked(url).call("POST", path_of("rollouts"), json.dumps(wanted).encode())
    rings = ", ".join(f"{one['name']} {one['nodes']}" for one in found["rings"])
    show(found, as_json, f"{found['id']}: {len(found['nodes'])} nodes, in rings {rings}")


@rollout.command("list")
def list_rollouts(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List rollouts, the newest first."""
    show_rows(asked(url).call("GET", path_of("rollouts")), as_json, ("id", "state", "group", "ring", "set", "why"))


@rollout.command("show")
def show_rollout(name: RolloutArgument, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Show the rings of a rollout, and what holds the one that is told."""
    found = asked(url).call("GET", path_of("rollouts", name))
    if as_json:
        show_json(found)
        return
    results.print(f"{found['id']}: {found['state']}{': ' + found['why'] if found['why'] else ''}", markup=False)
    for ring in found["rings"]:
        held = f", held by {ring['held_by']}" if ring["held_by"] else ""
        told = f"  {ring['name']}: {ring['state']}, {ring['done']} of {ring['nodes']} done, {ring['failed']} failed"
        results.print(f"{told}{held}", markup=False)


@rollout.command()
def pause(name: RolloutArgument, why: WhyOption = "", url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Tell no further node, until it is resumed."""
    _act(name, "pause", why, url, as_json=as_json)


@rollout.command()
def resume(name: RolloutArgument, why: WhyOption = "", url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Go on with a rollout that was paused."""
    _act(name, "resume", why, url, as_json=as_json)


@rollout.command()
def abort(name: RolloutArgument, why: WhyOption = "", url: UrlOption = None, as_json: JsonOption = False) -> None:
    """End a rollout: who has it keeps it, nobody else gets it."""
    _act(name, "abort", why, url, as_json=as_json)


@rollout.command("rollback")
def roll_back(name: RolloutArgument, why: WhyOption = "", url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Take a rollout back: every node runs what it ran before."""
    _act(name, "rollback", why, url, as_json=as_json)


def _act(name: str, act: str, why: str, url: str | None, *, as_json: bool) -> None:
    found = asked(url).call("POST", path_of("rollouts", name, act), json.dumps({"why": why}).encode())
    show(found, as_json, f"{name} is {found['state']}")


def _ring(text: str) -> dict[str, Any]:
    name, _, percent = text.partition("=")
    try:
        return {"name": name, "percent": float(percent)}
    except ValueError as error:
        raise InputError(f"ring is `{text[:80]}`, must be NAME=PERCENT") from error


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"`--order`: {error}") from error
    if not isinstance(found, dict):
        raise InputError("`--order` is no JSON object")
    return found
