"""The verbs, as one table."""

from collections.abc import Callable
from typing import Annotated

import typer

import littoral
from littoral.cli.bench import bench
from littoral.cli.build import build
from littoral.cli.config import config
from littoral.cli.demo import demo_verb
from littoral.cli.explain import explain
from littoral.cli.index import index
from littoral.cli.run import run
from littoral.cli.search import search
from littoral.cli.up import up

__all__ = ["app"]

app = typer.Typer(
    name="littoral",
    help="Edge intelligence: ONNX models as sandboxed WebAssembly, agents, and vector search.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

VERBS: dict[str, Callable[..., None]] = {
    "bench": bench,
    "build": build,
    "demo": demo_verb,
    "explain": explain,
    "index": index,
    "run": run,
    "search": search,
    "up": up,
}
for name, verb in VERBS.items():
    app.command(name)(verb)
app.add_typer(config)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"littoral {littoral.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Exit codes: 1 check failed, 2 usage, 3 model, 4 input, 5 machine, 6 peer, 7 trust."""
