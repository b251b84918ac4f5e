"""`littoral orchestrator`: what keeps a fleet of nodes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from littoral.cli.console import messages, results, show_json
from littoral.clock import SYSTEM
from littoral.errors import ConflictError, InputError
from littoral.lifeline import Lifeline

__all__ = ["check", "init", "orchestrator", "token", "up"]

DAY_S = 86_400
FILE_NAME = "orchestrator.toml"

orchestrator = typer.Typer(name="orchestrator", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

FileArgument = Annotated[Path, typer.Argument(help="Orchestrator file.")]


@orchestrator.callback()
def options() -> None:
    """What keeps a fleet of nodes: registry, groups, rollouts."""


@orchestrator.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    name: Annotated[str, typer.Option(help="Of the fleet.")] = "fleet",
) -> None:
    """Make the folder of an orchestrator: its file, and a token for its first publisher, which is printed once."""
    from littoral.orchestrator.file import read_file

    file = folder / FILE_NAME
    if file.exists():
        raise ConflictError(f"`{file}` is there", hint="another folder")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[orchestrator]\nname = "{name}"\nlisten = "127.0.0.1:8680"\n\n[auth]\ntokens = "tokens.json"\n')
    read_file(file)
    results.print(_made(file, "publisher", "publisher", None), markup=False)
    messages.print(
        f"the token of `publisher` is not shown again; next: `littoral orchestrator up {file}`", markup=False
    )


@orchestrator.command()
def up(
    file: FileArgument,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT instead of the file's; port 0 = any.")] = None,
) -> None:
    """Run the orchestrator that a file describes, until SIGTERM or Ctrl-C."""
    import uvloop

    from littoral.orchestrator.file import read_file
    from littoral.orchestrator.service import run
    from littoral.tables.addresses import parse_address

    lifeline = Lifeline.attach()
    found = read_file(file)
    if listen is not None:
        found = found.listening_at(parse_address(listen))

    def tell(url: str) -> None:
        print(f"littoral: fleet `{found.orchestrator.name}` is kept at {url}", file=sys.stderr, flush=True)  # noqa: T201
        lifeline.ready(url.partition("://")[2])

    uvloop.run(run(found, tell))


@orchestrator.command()
def check(file: FileArgument, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Read an orchestrator's file, start nothing."""
    from littoral.orchestrator.file import read_file

    found = read_file(file)
    told = {
        "name": found.orchestrator.name,
        "listen": str(found.listen),
        "data": str(found.data),
        "store": "sqlite" if found.store is None else "postgres",
        "objects": "folder" if found.objects is None else found.objects.url,
        "tokens": found.auth is not None,
        "tls": found.tls is not None,
    }
    if as_json:
        show_json(told)
        return
    results.print(f"{file}: {', '.join(f'{key} {value}' for key, value in told.items())}", markup=False)


@orchestrator.command()
def token(
    file: FileArgument,
    name: Annotated[str, typer.Argument(help="Whose it is, for people.")],
    role: Annotated[str, typer.Option(help="`viewer`, `operator` or `publisher`.")] = "viewer",
    days: Annotated[float | None, typer.Option(min=0.001, max=36_500, help="Until it expires; default: never.")] = None,
) -> None:
    """Make a token and print it, once: the orchestrator keeps a digest only."""
    results.print(_made(file, name, role, days), markup=False)
    messages.print(f"`{name}` is {role}; this is not shown again", markup=False)


def _made(file: Path, name: str, role: str, days: float | None) -> str:
    from littoral.orchestrator.file import read_file
    from littoral.orchestrator.rights import Role
    from littoral.web.access.tokens import new_token, read_tokens, write_tokens

    found = read_file(file)
    if found.auth is None:
        raise InputError(f"{file}: has no table `[auth]`", hint="with it, every request needs a token")
    if role not in list(Role):
        raise InputError(f"role `{role[:40]}` is unknown", hint=f"known: {', '.join(Role)}")
    tokens = found.path_of(found.auth.tokens)
    text, made = new_token(name, [role], SYSTEM.wall(), life_s=None if days is None else days * DAY_S)
    write_tokens(tokens, [*read_tokens(tokens, list(Role)), made])
    return text
