"""`littoral compare`: two compiled models side by side on the same feeds."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from littoral.artifact import Model
from littoral.cli.comparison_text import comparison_text
from littoral.cli.console import progress_bar, results, show_json
from littoral.making.feed_files import read_feeds
from littoral.node.making.through import agents_through
from littoral.quality.compare import compare as compared

__all__ = ["compare"]


def compare(
    exact: Annotated[Path, typer.Argument(help="Compiled model (.wasm): the reference.")],
    other: Annotated[Path, typer.Argument(help="Compiled model with the same inputs and outputs.")],
    feeds: Annotated[Path, typer.Option(help="What both are run on: .npz, or a folder, as for `build --int8`.")],
    through: Annotated[
        str | None, typer.Option(help="SITE.toml:PIPELINE whose agents make inputs of the folder's files.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Run two models side by side: agreement of each output, size, memory, time."""
    arrays = read_feeds(feeds, agents_through(through))
    with progress_bar("comparing") as tell:
        found = compared(Model.open(exact), Model.open(other), arrays, progress=tell)
    if as_json:
        show_json(msgspec.to_builtins(found))
        return
    results.print(comparison_text(found), markup=False)
