"""`littoral fleet`: what an orchestrator's API offers, as verbs."""

import tarfile
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer

from littoral.cli.console import results, show_json
from littoral.cli.fleet_artifacts import artifacts, publish, sign, withdraw
from littoral.cli.fleet_client import JsonOption, UrlOption, asked, path_of
from littoral.cli.fleet_nodes import bundle, claims, doctor, groups, logs, node, nodes
from littoral.cli.fleet_rollouts import rollout
from littoral.cli.fleet_upload import upload
from littoral.errors import InputError

__all__ = ["audit", "export", "fleet", "status", "trust"]

fleet = typer.Typer(name="fleet", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

for verb in (nodes, doctor, logs, bundle, publish, upload, withdraw, sign):
    fleet.command(verb.__name__)(verb)
for group in (node, groups, claims, rollout):
    fleet.add_typer(group)
fleet.command("artifacts")(artifacts)


@fleet.callback()
def options() -> None:
    """Nodes, artifacts and rollouts of a fleet, by its orchestrator."""


@fleet.command()
def status(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Show the fleet in numbers."""
    found = asked(url).call("GET", "/api/fleet")
    if as_json:
        show_json(found)
        return
    for key, value in found.items():
        told = ", ".join(f"{name} {count}" for name, count in value.items()) if isinstance(value, dict) else value
        results.print(f"{key}: {told if told != '' else 'none'}", markup=False)


@fleet.command()
def trust(url: UrlOption = None) -> None:
    """Print what nodes trust the fleet by: the file of `updates.trust` in their site files."""
    show_json(asked(url).call("GET", path_of("trust")))


@fleet.command()
def audit(
    count: Annotated[int, typer.Option(min=1, max=1000, help="Of the newest.")] = 50,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who did what, the newest first."""
    found = asked(url).call("GET", f"{path_of('audit')}?count={count}")
    if as_json:
        show_json(found)
        return
    for act in found:
        failed = f"  {act['detail']['failed']}" if "failed" in act["detail"] else ""
        results.print(f"{act['index']}  {act['by']}  {act['act']}  {act['subject']}{failed}", markup=False)


@fleet.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write, such as a USB stick.")],
    nodes: Annotated[list[str], typer.Option("--node", help="A node that it is for; may be given several times.")],
    url: UrlOption = None,
) -> None:
    """Write what these nodes are to run into a folder, for `littoral update --from`."""
    query = "&".join(f"n{index}={name}" for index, name in enumerate(nodes))
    folder.mkdir(parents=True, exist_ok=True)
    with asked(url).download(f"{path_of('export')}?{query}") as read:
        source = cast(IO[bytes], _Reader(read))
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for entry in archive:
                if not entry.isfile():
                    raise InputError(f"`{entry.name[:120]}` is no file")
                archive.extract(entry, folder, filter="data")
    results.print(str(folder), markup=False)


class _Reader:
    """A file of what comes in."""

    def __init__(self, read: Any) -> None:
        self._read = read

    def read(self, count: int) -> bytes:
        data: bytes = self._read(count)
        return data
