"""`littoral mesh spread`, `move`, `divide`, `dissolve`, `rebalance`: other layouts of spread collections."""

import contextlib
from typing import Annotated, Any, Literal

import msgspec
import typer

from littoral.cli.console import messages, results, show_json
from littoral.errors import InputError
from littoral.node.client import DEFAULT_URL, NodeClient

__all__ = ["dissolve", "divide", "move", "rebalance", "spread"]

CollectionArgument = Annotated[str, typer.Argument(help="The collection.")]
ShardArgument = Annotated[int, typer.Argument(min=0, help="Number of the shard.")]
ApplyOption = Annotated[bool, typer.Option("--apply", help="Begin; without it, only the plan is shown.")]
UrlOption = Annotated[str, typer.Option(help="Any node of the site.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The plan as JSON.")]
WAIT_S = 150.0


def spread(
    collection: CollectionArgument,
    strategy: Annotated[
        Literal["hash", "geographic", "metric", "hybrid"] | None, typer.Option(help="What decides where points lie.")
    ] = None,
    shards: Annotated[int | None, typer.Option(min=1, max=256, help="Over how many shards.")] = None,
    replicas: Annotated[int | None, typer.Option(min=1, max=8, help="On how many nodes each.")] = None,
    by: Annotated[str | None, typer.Option(help="Name of the vector that cells are of.")] = None,
    back: Annotated[bool, typer.Option("--back", help="Take back what is under way; possible until the flip.")] = False,
    apply: ApplyOption = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Spread a collection in another way, while it is read and written."""
    wanted = {"strategy": strategy, "shards": shards, "replicas": replicas, "by": by}
    given = {key: value for key, value in wanted.items() if value is not None}
    if back == bool(given):
        raise InputError("either `--back`, or what is to be different: `--strategy`, `--shards`, `--replicas`, `--by`")
    kind = "back" if back else "spread"
    _ask(url, {"kind": kind, "collection": collection} | given, apply=apply, as_json=as_json)


def move(
    collection: CollectionArgument,
    shard: ShardArgument,
    source: Annotated[str, typer.Argument(help="Node that gives it up.")],
    target: Annotated[str, typer.Argument(help="Node that gets it.")],
    apply: ApplyOption = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Move a shard from one node to another, while it is read and written."""
    wish = {"kind": "move", "collection": collection, "shard": shard, "source": source, "target": target}
    _ask(url, wish, apply=apply, as_json=as_json)


def divide(
    collection: CollectionArgument,
    shard: ShardArgument,
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Node of the second half; several times. Default: as the first.")
    ] = None,
    apply: ApplyOption = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Make two shards of one, by its vectors; of a collection that is spread by `metric` or `hybrid`."""
    wish = {"kind": "divide", "collection": collection, "shard": shard, "targets": to or []}
    _ask(url, wish, apply=apply, as_json=as_json)


def dissolve(
    collection: CollectionArgument,
    shard: ShardArgument,
    apply: ApplyOption = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Give a shard's points to its neighbours; of a collection that is spread by `metric` or `hybrid`."""
    _ask(url, {"kind": "dissolve", "collection": collection, "shard": shard}, apply=apply, as_json=as_json)


def rebalance(
    collection: CollectionArgument,
    apply: ApplyOption = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Move, divide or dissolve what is hot, large or small, by what it is predicted to gain."""
    _ask(url, {"kind": "level", "collection": collection}, apply=apply, as_json=as_json)


def _ask(url: str, wish: dict[str, Any], *, apply: bool, as_json: bool) -> None:
    with contextlib.closing(NodeClient(url, timeout_s=WAIT_S)) as client:
        plan = client.call("POST", "/api/mesh/changes", msgspec.json.encode({"wish": wish, "is_applied": apply}))
    if as_json:
        show_json(plan)
        return
    results.print(f"`{plan['collection']}`: {plan['why']}", markup=False)
    if plan["coming"]:
        results.print(f"  by {plan['strategy']}, {plan['points']} points to copy", markup=False)
        going = ", ".join(map(str, plan["going"])) or "none"
        results.print(f"  shards {going} make place for", markup=False)
        for shard, nodes in plan["coming"].items():
            results.print(f"    {shard:>4}  on {', '.join(nodes)}", markup=False)
        results.print(f"  {len(plan['kept'])} shards stay as they are", markup=False)
    if plan["is_begun"]:
        messages.print("begun; `littoral mesh status` shows how far it is", markup=False)
    elif plan["coming"] and not apply:
        messages.print("a plan: `--apply` begins it", markup=False)
