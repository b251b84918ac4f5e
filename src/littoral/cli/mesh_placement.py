"""`littoral mesh placement`: where steps that may move would run now, as a running node sees it."""

import contextlib
from typing import Annotated, Any

import typer

from littoral.cli.console import results, show_json
from littoral.errors import NotFoundError
from littoral.node.client import DEFAULT_URL, NodeClient

__all__ = ["placement"]

DIGITS = 12


def placement(
    url: Annotated[str, typer.Option(help="The node.")] = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Show what each node would take for the steps that may run on several."""
    with contextlib.closing(NodeClient(url)) as client:
        told = client.call("GET", "/api/placement")
    if told["steps"] is None:
        raise NotFoundError(
            f"node at {url} places no steps", hint="the table `placement` of its site file makes it do so"
        )
    if as_json:
        show_json(told)
        return
    bound = "" if told["watts_max"] is None else f" of {told['watts_max']:g} W"
    results.print(f"steps of others: {told['serves']['busy']} under way; {told['watts']:g} W{bound}", markup=False)
    for step in told["steps"]:
        kind, _, digest = step["key"].partition(":")
        state = ", the site is exhausted" if step["exhausted"] else ""
        results.print(f"{kind} {digest[:DIGITS]}{state}", markup=False)
        for row in step["nodes"]:
            results.print(_line(row), markup=False)


def _line(row: dict[str, Any]) -> str:
    if row["away"]:
        return f"  {row['node']:<12} {row['away']}"
    if not row["has_it"]:
        return f"  {row['node']:<12} has it not"
    words = [
        f"{row['busy']} of {row['slots']} busy",
        f"{row['waiting']} waiting",
        f"{row['service_ms']:.2f} ms",
        f"{row['transfer_ms']:.2f} ms away",
        f"× {row['ratio']:.2f} learned of {row['weight']:.0f}",
    ]
    if row["power_spent"]:
        words.append("power budget spent")
    return f"  {row['node']:<12} {', '.join(words)}"
