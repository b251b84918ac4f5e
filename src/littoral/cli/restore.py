"""`littoral restore`: a node's folder from a backup."""

from pathlib import Path
from typing import Annotated

import typer

from littoral.cli.backup import KeysOption, opened_backups
from littoral.cli.console import bytes_text, messages, results, show_json

__all__ = ["restore_verb"]


def restore_verb(
    folder: Annotated[Path, typer.Argument(help="Folder of backups.")],
    to: Annotated[Path, typer.Option("--to", help="The node's new folder: not there, or empty.")],
    name: Annotated[str, typer.Option("--backup", help="Of this name; default: the latest.")] = "",
    keys: KeysOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Put a node together from a backup, once every byte of it was looked at."""
    from littoral.node.at_rest import read_key_file
    from littoral.node.backup.restoring import restore

    backups = opened_backups(folder, None if keys is None else read_key_file(keys))
    done = restore(backups, to, name)
    if as_json:
        left_out = [one._asdict() for one in done.manifest.left_out]
        told = {"name": done.name, "site": str(done.site_file), "bytes": done.manifest.size}
        show_json(told | {"collections": done.manifest.collections, "to_do": done.to_do, "left_out": left_out})
        return
    count = len(done.manifest.collections)
    results.print(f"{done.name}  {done.manifest.head.node}, {count} collections, {bytes_text(done.manifest.size)}")
    results.print(f"  littoral up {done.site_file}", markup=False)
    for line in done.to_do:
        messages.print(f"to do: {line}", markup=False, soft_wrap=True)
    for one in done.manifest.left_out:
        messages.print(f"not in the backup: {one.what}: {one.why}", markup=False, soft_wrap=True)
