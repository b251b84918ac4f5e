"""`littoral collections`: whose embeddings a node's collections hold, and their way to another model."""

import contextlib
import json
import threading
from typing import Annotated, Any
from urllib.parse import quote

import typer

from littoral.cli.console import messages, results, show_json
from littoral.errors import InputError
from littoral.node.client import DEFAULT_URL, NodeClient

__all__ = ["collections", "migrate"]

LOOK_S = 0.5
UNDER_WAY = ("building", "checking", "flipping")
STUCK = 1

collections = typer.Typer(name="collections", add_completion=False, no_args_is_help=True, rich_markup_mode=None)


@collections.callback()
def options() -> None:
    """Collections of a running node, and the models that made their vectors."""


@collections.command()
def migrate(
    name: Annotated[str, typer.Argument(help="The collection.")],
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="[VECTOR=]MODEL@VERSION of the site file, whose embeddings it is to hold; several: once each."
        ),
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Let the generation before answer again.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="End the generation that does not answer.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has flipped; exit code 1: it is stuck.")] = False,
    url: Annotated[str, typer.Option(help="The node.")] = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="What is known of it as JSON.")] = False,
) -> None:
    """Embed a collection anew by another model, beside requests, and flip; without options: say how far it is."""
    if sum((bool(to), back, drop)) > 1:
        raise InputError("only one of `--to`, `--back` and `--drop` can be asked for")
    path = f"/api/collections/{quote(name, safe='')}"
    with contextlib.closing(NodeClient(url)) as client:
        told = _asked(client, path, to or [], back=back, drop=drop)
        pause = threading.Event()
        while wait and (under_way := told["migration"]) is not None and under_way["state"] in UNDER_WAY:
            messages.print(_line(told), markup=False)
            pause.wait(LOOK_S)
            told = client.call("GET", path)
    if as_json:
        show_json(told)
    else:
        results.print(_line(told), markup=False, soft_wrap=True)
    if wait and told["migration"] is not None and told["migration"]["state"] == "stuck":
        raise typer.Exit(STUCK)


def _asked(client: NodeClient, path: str, to: list[str], *, back: bool, drop: bool) -> Any:
    if to:
        return client.call("POST", f"{path}/migration", json.dumps({"to": _by_vector(to)}).encode())
    if back:
        return client.call("POST", f"{path}/migration/back", b"{}")
    return client.call("DELETE", f"{path}/migration") if drop else client.call("GET", path)


def _by_vector(to: list[str]) -> str | dict[str, str]:
    """One without a vector is for the node to understand, which knows what can be meant."""
    if len(to) == 1 and "=" not in to[0]:
        return to[0]
    found: dict[str, str] = {}
    for text in to:
        vector, _, version = text.rpartition("=")
        if vector in found:
            raise InputError(
                "`--to` names two models for " + (f"vector `{vector}`" if vector else "the vector without a name")
            )
        found[vector] = version
    return found


def _line(told: dict[str, Any]) -> str:
    models = ", ".join(told["models"]) or "of a model that nobody named"
    line = f"{told['name']}: embeddings {models}"
    if (under_way := told["migration"]) is None:
        return f"{line}; {told['failure']}" if told["failure"] else line
    if under_way["state"] == "flipped":
        return f"{line}; {under_way['other']} is kept for the way back"
    line += f"; to {under_way['other']}: {under_way['state']}, {under_way['done']} of {under_way['points']} points"
    return f"{line}: {under_way['why']}" if under_way["state"] == "stuck" else line
