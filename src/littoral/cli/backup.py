"""`littoral backup`: a node's collections, models and settings in a folder; made, looked at, and thinned out."""

import contextlib
import datetime as dt
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from littoral.cli.console import bytes_text, messages, results, show_json
from littoral.clock import SYSTEM
from littoral.errors import InputError, SetupError
from littoral.node.client import DEFAULT_URL, NodeClient

if TYPE_CHECKING:
    from littoral.node.backup.folder import Backups, Made
    from littoral.vault import KeyRing

__all__ = ["backup", "list_backups", "new", "opened_backups", "prune", "verify"]

DAMAGED = 1
NICENESS = 10
"""Of making a backup: the node that is backed up goes before it."""

FolderArgument = Annotated[Path, typer.Argument(help="Folder of backups.")]
KeysOption = Annotated[Path | None, typer.Option("--keys", help="File of keys; `littoral keys seal` makes it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


class NewUnlessNamed(TyperGroup):
    """`littoral backup FOLDER` is `littoral backup new FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["new", *args]
        return super().parse_args(ctx, args)


backup = typer.Typer(
    name="backup", cls=NewUnlessNamed, add_completion=False, no_args_is_help=True, rich_markup_mode=None
)


@backup.callback()
def options() -> None:
    """Backups of a node: `littoral backup FOLDER` makes one, while it runs; `littoral restore` takes it back."""


@backup.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder of backups, made if missing; what it has is not kept twice.")],
    url: Annotated[str, typer.Option(help="The node, which needs a token with the role `admin`.")] = DEFAULT_URL,
    site: Annotated[
        Path | None, typer.Option("--site", help="Site file of a node that does not run, instead of asking one.")
    ] = None,
    keys: KeysOption = None,
    plain: Annotated[bool, typer.Option("--plain", help="Not sealed, even though the node seals its files.")] = False,
    with_tokens: Annotated[
        bool, typer.Option("--with-tokens", help="With the digests of the node's tokens, so that they stay good.")
    ] = False,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Remove all but the latest so many afterwards; 0: none is removed.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a backup of a node."""
    if plain and keys is not None:
        raise InputError("only one of `--plain` and `--keys` can be asked for")
    os.nice(NICENESS)
    with _stream(url, site, with_tokens=with_tokens) as read:
        backups = opened_backups(folder, _keys(site, keys, plain=plain))
        made = backups.take(read, may_be_plain=plain)
    pruned = backups.prune(keep) if keep else None
    if as_json:
        show_json(_told(made) | {"removed": pruned.backups if pruned else []})
        return
    _show(made)
    if pruned is not None and pruned.backups:
        results.print(f"  removed {', '.join(pruned.backups)}: {bytes_text(pruned.bytes)}", markup=False)


@backup.command("list")
def list_backups(folder: FolderArgument, keys: KeysOption = None, as_json: JsonOption = False) -> None:
    """List the backups in a folder."""
    backups = opened_backups(folder, _keys(None, keys, plain=False))
    found = [backups.read(name) for name in backups.names()]
    if as_json:
        show_json(
            [
                {"name": name, "node": one.head.node, "at": one.head.at, "bytes": one.size, "key": one.key}
                for name, one in found
            ]
        )
        return
    for name, one in found:
        sealed = f"sealed by {one.key}" if one.key else "plain"
        told = f"{len(one.files)} files, {bytes_text(one.size)}, {sealed}"
        results.print(f"{name}  {one.head.node}  {told}", markup=False)


@backup.command()
def verify(
    folder: FolderArgument,
    name: Annotated[str, typer.Option("--backup", help="Of this name alone; default: all.")] = "",
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at every byte of the backups in a folder. Exit code 1: something is not as it was written."""
    backups = opened_backups(folder, _keys(None, keys, plain=False))
    names = [backups.read(name)[0]] if name else backups.names()
    if not names:
        backups.read()
    damage = list(backups.damage(name))
    if as_json:
        show_json({"ok": not damage, "backups": names, "damage": [one._asdict() for one in damage]})
    else:
        for one in damage:
            results.print(f"{one.backup}: {one.what}", markup=False)
        if not damage:
            results.print(f"{len(names)} backups, every byte is as it was written", markup=False)
    if damage:
        raise typer.Exit(DAMAGED)


@backup.command()
def prune(
    folder: FolderArgument,
    keep: Annotated[int, typer.Option("--keep", min=1, help="The latest so many stay.")],
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove old backups, and whatever none of the others needs."""
    gone = opened_backups(folder, _keys(None, keys, plain=False)).prune(keep)
    if as_json:
        show_json({"removed": gone.backups, "blobs": gone.blob_count, "bytes": gone.bytes})
        return
    told = f"{gone.blob_count} blobs, {bytes_text(gone.bytes)}"
    results.print(f"removed {', '.join(gone.backups) or 'no backup'}; {told}", markup=False)


def opened_backups(folder: Path, ring: "KeyRing | None") -> "Backups":
    """Raises SetupError without the extra."""
    from littoral.node.backup.folder import Backups

    if ring is not None and find_spec("cryptography") is None:
        raise SetupError("sealed backups need `cryptography`", hint='install `pip install "littoral[vault]"`')
    return Backups(folder, ring, SYSTEM)


def _keys(site: Path | None, keys: Path | None, *, plain: bool) -> "KeyRing | None":
    """Those that are named, else those of the site file."""
    from littoral.node.at_rest import open_keys, read_key_file

    if keys is not None:
        return read_key_file(keys)
    if site is None or plain:
        return None
    from littoral.node.site import read_site

    return open_keys(read_site(site))


@contextlib.contextmanager
def _stream(url: str, site: Path | None, *, with_tokens: bool) -> Iterator[Callable[[int], bytes]]:
    if site is None:
        client = NodeClient(url)
        with client.download(f"/api/backup?tokens={int(with_tokens)}") as read:
            yield read
        return
    from littoral.node.backup.sending import sent
    from littoral.node.backup.stopped import Stopped, one_by_one, reader
    from littoral.node.site import read_site

    described = read_site(site)
    chunks = one_by_one(sent(described, Stopped(described.data), SYSTEM, with_tokens=with_tokens))
    with contextlib.closing(chunks):
        yield reader(chunks)


def _told(made: "Made") -> dict[str, Any]:
    return {
        "name": made.name,
        "node": made.manifest.head.node,
        "key": made.manifest.key,
        "collections": made.manifest.collections,
        "files": len(made.manifest.files),
        "bytes": made.manifest.size,
        "new_bytes": made.new_bytes,
        "left_out": [one._asdict() for one in made.manifest.left_out],
    }


def _show(made: "Made") -> None:
    at = dt.datetime.fromtimestamp(made.manifest.head.at, dt.UTC)
    sealed = f"sealed by {made.manifest.key}" if made.manifest.key else "not sealed"
    results.print(f"{made.name}  {made.manifest.head.node} as of {at:%Y-%m-%d %H:%M:%S} UTC, {sealed}", markup=False)
    count = len(made.manifest.collections)
    sizes = f"{bytes_text(made.manifest.size)}, of which {bytes_text(made.new_bytes)} were written"
    results.print(f"  {count} collections, {len(made.manifest.files)} files, {sizes}", markup=False)
    for one in made.manifest.left_out:
        messages.print(f"left out: {one.what}: {one.why}", markup=False, soft_wrap=True)
