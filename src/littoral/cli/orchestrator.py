"""`littoral orchestrator`: what keeps a fleet of nodes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from littoral.cli.console import messages, results, show_json
from littoral.clock import SYSTEM
from littoral.errors import ConflictError, InputError
from littoral.lifeline import Lifeline

__all__ = ["check", "init", "move", "orchestrator", "token", "up"]

DAY_S = 86_400
FILE_NAME = "orchestrator.toml"

orchestrator = typer.Typer(name="orchestrator", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

FileArgument = Annotated[Path, typer.Argument(help="Orchestrator file.")]


@orchestrator.callback()
def options() -> None:
    """What keeps a fleet of nodes: registry, groups, rollouts."""


@orchestrator.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make; an orchestrator file that is there is kept.")],
    keys_to: Annotated[Path, typer.Option(help="Folder for the keys of people: take each to another place.")],
    name: Annotated[str, typer.Option(help="Of the fleet.")] = "fleet",
    keys: Annotated[int, typer.Option(min=1, max=16, help="Of people, for root and for targets each.")] = 3,
    threshold: Annotated[int, typer.Option(min=1, max=16, help="Of these, that must sign together.")] = 2,
    delegate_uploads: Annotated[
        bool,
        typer.Option("--delegate-uploads", help="What publishers bring counts at once, by an online key."),
    ] = False,
    passphrases: Annotated[bool, typer.Option("--passphrases", help="Ask for one for each key of people.")] = False,
) -> None:
    """Begin a fleet: keys for people and for the orchestrator, its file, and a token, which is printed once."""
    from littoral.orchestrator.file import read_file
    from littoral.orchestrator.places import open_objects
    from littoral.orchestrator.signing import KEYS, ObjectsMetadata, Signing
    from littoral.updates.metadata.ceremony import begin, new_offline_keys
    from littoral.updates.metadata.keys import KeyRing

    file = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_text(
            f'[orchestrator]\nname = "{name}"\nlisten = "127.0.0.1:8680"\n\n[auth]\ntokens = "tokens.json"\n'
        )
    described = read_file(file)
    described.data.mkdir(parents=True, exist_ok=True)
    objects, ring = open_objects(described), described.data / KEYS
    if Signing(objects, ring, SYSTEM).is_begun:
        raise ConflictError(f"`{folder}`: this fleet has its keys", hint="another folder; keys change by signed roots")
    if threshold > keys:
        raise InputError(f"{threshold} of {keys} keys cannot sign", hint="`--keys` at least as many as `--threshold`")
    offline = new_offline_keys(keys_to, count=keys, passphrase=_passphrase if passphrases else None)
    begin(ObjectsMetadata(objects), KeyRing(ring), offline, threshold=threshold, delegates_uploads=delegate_uploads)
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
        sys.stderr.write(f"littoral: fleet `{found.orchestrator.name}` is kept at {url}\n")
        sys.stderr.flush()
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
def move(
    file: FileArgument,
    to: Annotated[Path, typer.Option("--to", help="Orchestrator file that says where it goes.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Carry a fleet to another database and other storage, while no orchestrator runs. Interrupted, it is run again."""
    from littoral.orchestrator.file import read_file
    from littoral.orchestrator.moving import move as moved_to

    def tell(line: str) -> None:
        messages.print(line, markup=False)

    found = moved_to(read_file(file), read_file(to), SYSTEM, tell)
    if as_json:
        show_json(found._asdict())
        return
    rows = sum(found.rows.values())
    results.print(
        f"moved: {rows} rows, {found.object_count} objects of {found.object_bytes} bytes, {found.file_count} files of"
        f" keys and logs; next: `littoral orchestrator up {to}`",
        markup=False,
    )


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


def _passphrase(key: str) -> str:
    text: str = typer.prompt(f"passphrase of {key}", hide_input=True, confirmation_prompt=True, err=True)
    return text


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
