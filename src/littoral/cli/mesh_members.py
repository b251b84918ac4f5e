"""`littoral mesh members`, and `status` of a node that runs: a site as the node sees it."""

import contextlib
from typing import Annotated, Any

import msgspec
import typer

from littoral.cli.console import results, show_json
from littoral.cli.mesh_text import headline, member_lines, status_lines
from littoral.clock import SYSTEM
from littoral.errors import NodeError, NotFoundError
from littoral.node.client import DEFAULT_URL, NodeClient
from littoral.node.mesh_told import MeshTold

__all__ = ["ask_mesh", "members", "show_site"]


def members(
    url: Annotated[str, typer.Option(help="The node.")] = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Show which nodes the site has, who is here, and what each holds."""
    said, told = ask_mesh(url)
    if as_json:
        show_json(said)
        return
    results.print(headline(told), markup=False)
    for line in member_lines(told, now_s=SYSTEM.wall()):
        results.print(f"  {line}", markup=False)


def show_site(url: str, *, as_json: bool) -> None:
    """All that the node at `url` tells of its site."""
    said, told = ask_mesh(url)
    if as_json:
        show_json(said)
        return
    for line in status_lines(told, now_s=SYSTEM.wall()):
        results.print(line, markup=False)


def ask_mesh(url: str) -> tuple[Any, MeshTold]:
    """As the node said it, and as understood. Raises NotFoundError for a node without a mesh, and as `NodeClient`."""
    with contextlib.closing(NodeClient(url)) as client:
        said = client.call("GET", "/api/mesh")
    if said["site"] is None:
        raise NotFoundError(
            f"node at {url} is in no mesh", hint="the table `mesh` of its site file makes it one of several"
        )
    try:
        return said, msgspec.convert(said, MeshTold)
    except msgspec.ValidationError as error:
        raise NodeError(
            f"node at {url}: `/api/mesh` is not as this version knows it: {error}",
            hint="ask with the version that the node has",
        ) from error
