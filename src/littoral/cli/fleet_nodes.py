"""Nodes of a fleet, their groups, the claims they enrol with, and what they are asked."""

import base64
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.cli.console import messages, results, show_json
from littoral.cli.fleet_client import JsonOption, UrlOption, asked, pairs, path_of, show, show_rows
from littoral.clock import SYSTEM
from littoral.errors import DeadlineError, InputError, PeerError

__all__ = ["bundle", "claims", "doctor", "groups", "logs", "node", "nodes"]

ASK_AGAIN_S = 0.5
DAY_S = 86_400

node = typer.Typer(name="node", help="One node.", no_args_is_help=True, rich_markup_mode=None)
groups = typer.Typer(name="groups", help="Nodes that are to run the same.", no_args_is_help=True, rich_markup_mode=None)
claims = typer.Typer(name="claims", help="Codes that nodes enrol with.", no_args_is_help=True, rich_markup_mode=None)

NodeArgument = Annotated[str, typer.Argument(help="Name of the node.")]
GroupArgument = Annotated[str, typer.Argument(help="Name of the group.")]
WaitOption = Annotated[float, typer.Option(min=1, max=86_400, help="Seconds until the answer is given up.")]


def nodes(
    group: Annotated[str | None, typer.Option(help="Of this group alone.")] = None,
    drifting: Annotated[bool, typer.Option("--drifting", help="That do not run what they should.")] = False,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List nodes: group, whether they are online, state, what drifts."""
    found = asked(url).call("GET", path_of("nodes"))
    chosen = [one for one in found if group in (None, one["group"]) and (one["drift"] or not drifting)]
    show_rows(chosen, as_json, ("name", "group", "online", "state", "deployment", "drift", "problem"))


@node.command("show")
def show_node(name: NodeArgument, url: UrlOption = None) -> None:
    """Show all that is known of a node, as JSON."""
    show_json(asked(url).call("GET", path_of("nodes", name)))


@node.command("change")
def change_node(
    name: NodeArgument,
    group: Annotated[str | None, typer.Option(help="To be in; '' = by its labels.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, in the place of all it has.")] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a node in another group, or give it other labels."""
    change: dict[str, Any] = {} if group is None else {"group": group}
    change |= {} if label is None else {"labels": pairs(label, "label")}
    found = asked(url).call("PATCH", path_of("nodes", name), json.dumps(change).encode())
    show(found, as_json, f"{name}: group {found['group'] or '–'}, labels {found['labels']}")


@node.command("delete")
def delete_node(name: NodeArgument, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Let a node go: its token is good for nothing any more."""
    show(asked(url).call("DELETE", path_of("nodes", name)), as_json, f"{name} is no node of the fleet any more")


@groups.command("list")
def list_groups(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List groups: nodes, labels, what they run, whether they are frozen."""
    found = asked(url).call("GET", path_of("groups"))
    show_rows(found, as_json, ("name", "nodes", "match", "models", "agents", "is_frozen"))


@groups.command("put")
def put_group(
    name: GroupArgument,
    file: Annotated[Path, typer.Argument(help="JSON: match, models, agents, site, gates, windows, is_frozen …")],
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a group what a file says; its nodes are told what changes for them, all at once."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"`{file}`: {error.strerror}") from error
    found = asked(url).call("PUT", path_of("groups", name), data)
    show(found, as_json, f"{name}: {found['nodes']} nodes")


@groups.command("freeze")
def freeze_group(
    name: GroupArgument,
    thaw: Annotated[bool, typer.Option("--thaw", help="Let it change again.")] = False,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let nothing be installed in a group."""
    client = asked(url)
    group = client.call("GET", path_of("groups", name))
    order = {key: value for key, value in group.items() if key not in ("name", "nodes")} | {"is_frozen": not thaw}
    found = client.call("PUT", path_of("groups", name), json.dumps(order).encode())
    show(found, as_json, f"{name} is {'frozen' if found['is_frozen'] else 'not frozen'}")


@groups.command("delete")
def delete_group(name: GroupArgument, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Delete a group; its nodes run on."""
    show(asked(url).call("DELETE", path_of("groups", name)), as_json, f"group {name} is deleted")


@claims.command("new")
def new_claims(
    count: Annotated[int, typer.Option(min=1, max=1000, help="Codes.")] = 1,
    uses: Annotated[int, typer.Option(min=1, max=1_000_000, help="Nodes that may enrol with each.")] = 1,
    days: Annotated[float, typer.Option(min=0.001, max=3650, help="Until they expire.")] = 7.0,
    group: Annotated[str, typer.Option(help="That its nodes are in.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE that its nodes have.")] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make codes that nodes enrol with, and print them, once."""
    order = {"count": count, "uses": uses, "expires_s": days * DAY_S, "group": group}
    made = asked(url).call(
        "POST", path_of("claims"), json.dumps(order | {"labels": pairs(label or [], "label")}).encode()
    )
    show_rows(made, as_json, ("code",))


@claims.command("list")
def list_claims(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List claims, without their codes."""
    show_rows(asked(url).call("GET", path_of("claims")), as_json, ("id", "group", "uses_left", "used", "labels", "by"))


@claims.command("delete")
def delete_claim(
    claim: Annotated[str, typer.Argument(help="Id of the claim.")], url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """Take a claim back; nodes that enrolled with it stay."""
    show(asked(url).call("DELETE", path_of("claims", claim)), as_json, f"{claim} is taken back")


def doctor(name: NodeArgument, wait_s: WaitOption = 120.0, url: UrlOption = None) -> None:
    """Ask a node for `littoral doctor`, and print its answer as JSON."""
    show_json(_answer(url, name, {"kind": "doctor"}, wait_s))


def logs(
    name: NodeArgument,
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="Of the newest.")] = 200,
    wait_s: WaitOption = 120.0,
    url: UrlOption = None,
) -> None:
    """Ask a node for the last lines of its log."""
    found = _answer(url, name, {"kind": "logs", "lines": lines}, wait_s)
    for line in found if isinstance(found, list) else [found]:
        results.print(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False), markup=False)


def bundle(
    name: NodeArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    wait_s: WaitOption = 120.0,
    url: UrlOption = None,
) -> None:
    """Ask a node for its support bundle, and write it to a file."""
    found = _answer(url, name, {"kind": "bundle"}, wait_s)
    if not isinstance(found, str):
        raise PeerError(f"node `{name}`: its bundle is no archive")
    output.write_bytes(base64.b64decode(found))
    results.print(str(output), markup=False)


def _answer(url: str | None, name: str, order: dict[str, Any], wait_s: float) -> Any:
    """Of a node, at its next check-in. Raises DeadlineError, PeerError."""
    client = asked(url)
    ask = client.call("POST", path_of("nodes", name, "asks"), json.dumps(order).encode())
    messages.print(f"asked `{name}`, which answers at its next check-in", markup=False)
    give_up = SYSTEM.monotonic() + wait_s
    while SYSTEM.monotonic() < give_up:
        found = client.call("GET", path_of("nodes", name, "asks", ask["id"]))
        if found["state"] == "answered":
            if found["problem"]:
                raise PeerError(f"node `{name}`: {found['problem']}")
            return found["answer"]
        time.sleep(ASK_AGAIN_S)
    raise DeadlineError(
        f"node `{name}` did not answer in {wait_s:g} s", hint="`littoral fleet nodes` says who is online"
    )
