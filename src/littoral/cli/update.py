"""`littoral update`: what deployment of its fleet a node runs, how the next one does, and the way back."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.cli.console import results, show_json
from littoral.errors import InputError
from littoral.node.client import DEFAULT_URL, NodeClient

__all__ = ["back", "begin_again", "now", "status", "update"]

update = typer.Typer(name="update", add_completion=False, rich_markup_mode=None, invoke_without_command=True)

UrlOption = Annotated[str, typer.Option(help="The node.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


@update.callback()
def options(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--from", help="Take a deployment from this folder, such as a stick, and no network.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """A node's part in its fleet: how its deployment does, and the way back."""
    if ctx.invoked_subcommand is not None:
        return
    if folder is None:
        raise InputError("nothing to do", hint="`littoral update status`, or `--from DIR`")
    asked = json.dumps({"folder": str(folder.absolute())}).encode()
    _show(NodeClient(url).call("POST", "/api/updates/from", asked), as_json=as_json)


@update.command()
def status(url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Tell what a node runs of its fleet, and how the newest deployment does."""
    _show(NodeClient(url).call("GET", "/api/updates"), as_json=as_json)


@update.command()
def now(url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Have a node ask its orchestrator now; a deployment that it refused is tried again."""
    _show(NodeClient(url).call("POST", "/api/updates/now", b"{}"), as_json=as_json)


@update.command()
def back(url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Take back the deployment that serves, or that is being tried; the one before serves again."""
    _show(NodeClient(url).call("POST", "/api/updates/back", b"{}"), as_json=as_json)


@update.command()
def begin_again(url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Take the trust file anew, where what the node remembers of its fleet's metadata is damaged or gone."""
    _show(NodeClient(url).call("POST", "/api/updates/begin-again", b"{}"), as_json=as_json)


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    if not told["updates" if "updates" in told else "node"]:
        results.print("this node is in no fleet", markup=False)
        return
    running = told["running"]
    rows = {
        "node": f"{told['node']} of {told['orchestrator']}",
        "newest": f"deployment {told['deployment']}, {told['state']}" if told["deployment"] else "none yet",
        "gate": told["gate"],
        "problem": told["problem"],
        "frozen": "yes" if told["frozen"] else "",
        "serves": f"deployment {running['deployment']}" if running else "none",
        **{f"  {role}": target for role, target in running.get("targets", {}).items()},
        "way back": "none" if told["back"] is None else f"deployment {told['back']}",
    }
    for name, value in rows.items():
        if value:
            results.print(f"{name:<14}{value}", markup=False, soft_wrap=True)
    for one in told["history"][:10]:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one["at"]))
        why = f"  {one['gate']}: {one['problem']}" if one["gate"] else ""
        results.print(f"{at}  {one['deployment']:>5}  {one['state']}{why}", markup=False, soft_wrap=True)
