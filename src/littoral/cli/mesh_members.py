"""`littoral mesh members`: the nodes of a site as a running node sees them."""

import contextlib
from typing import Annotated, Any

import typer

from littoral.cli.console import results, show_json
from littoral.errors import NotFoundError
from littoral.node.client import DEFAULT_URL, NodeClient

__all__ = ["members"]


def members(
    url: Annotated[str, typer.Option(help="The node.")] = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Show who is here, what each node holds, and how far they are from each other."""
    with contextlib.closing(NodeClient(url)) as client:
        told = client.call("GET", "/api/mesh")
    if told["site"] is None:
        raise NotFoundError(
            f"node at {url} is in no mesh", hint="the table `mesh` of its site file makes it one of several"
        )
    if as_json:
        show_json(told)
        return
    results.print(f"site `{told['site']}`, shard map {told['map_number']}, seen by `{told['node']}`", markup=False)
    links = told["links_ms"].get(told["node"], {})
    for member in told["members"]:
        results.print(_line(member, links.get(member["name"])), markup=False)
    for name, collection in told["collections"].items():
        lacking = [str(one["shard"]) for one in collection["shards"] if not _holders_here(one, told["members"])]
        short = f", without a holder here: {', '.join(lacking)}" if lacking else ""
        results.print(f"  {name}: {collection['strategy']}, {len(collection['shards'])} shards{short}", markup=False)


def _line(member: dict[str, Any], link_ms: float | None) -> str:
    state = "here" if member["is_here"] else "away"
    if not member["is_member"]:
        state = "no member"
    shards = sum(map(len, member["shards"].values()))
    words = [f"{shards} shards"]
    if member["points"] is not None:
        words.append(f"{member['points']} points")
    if link_ms is not None:
        words.append(f"{link_ms:.2f} ms")
    if member["lag_s"]:
        words.append(f"a peer {member['lag_s']:.1f} s behind it")
    return f"  {member['name']:<12} {state:<10} {', '.join(words)}"


def _holders_here(shard: dict[str, Any], members: list[dict[str, Any]]) -> list[str]:
    here = {member["name"] for member in members if member["is_here"]}
    return [node for node in shard["nodes"] if node in here]
