"""`littoral keys`: pairs of keys for what is signed, and which of them may sign what of a fleet's updates."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from littoral.artifact.model import write_atomically
from littoral.cli import key_roles
from littoral.cli.console import results, show_json
from littoral.errors import ConflictError, InputError, NotFoundError, SetupError

if TYPE_CHECKING:
    from littoral.artifact.ed25519 import PublicKey, SecretKey

__all__ = ["keys", "need_extra", "public_keys", "secret_keys"]

keys = typer.Typer(name="keys", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

_T = TypeVar("_T")

JsonOption = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


@keys.callback()
def options() -> None:
    """Pairs of keys for what is signed, and keys for what is sealed."""


@keys.command()
def new(
    name: Annotated[Path, typer.Argument(help="Writes NAME.key, for its owner alone, and NAME.pub.")],
    raw: Annotated[bool, typer.Option("--raw", help="As wasmsign2 writes keys, instead of PEM.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a pair of keys. What is there is not replaced."""
    need_extra()
    from littoral.artifact.ed25519 import SecretKey

    secret, public = (name.with_name(f"{name.name}{suffix}") for suffix in (".key", ".pub"))
    for path in (secret, public):
        if path.exists():
            raise ConflictError(f"`{path}` is there already", hint="a lost key cannot be had again: take another name")
    key = SecretKey.new()
    try:
        write_atomically(secret, key.raw if raw else key.pem, mode=0o600)
        write_atomically(public, key.public.raw if raw else key.public.pem)
    except OSError as error:
        raise NotFoundError(f"`{name}`: {error.strerror}") from error
    key_id = key.public.key_id.hex()
    if as_json:
        show_json({"key": str(secret), "public": str(public), "key_id": key_id})
        return
    results.print(f"{secret}  keep it secret, and where it cannot be lost", markup=False)
    results.print(f"{public}  for those who verify", markup=False)
    results.print(f"  key id  {key_id}", markup=False)


@keys.command()
def show(
    file: Annotated[Path, typer.Argument(help="A public or secret key: PEM, DER, OpenSSH's or wasmsign2's.")],
    as_json: JsonOption = False,
) -> None:
    """Tell whose key it is. Of a secret key, nothing secret is shown."""
    need_extra()
    kind, public = _any_key(file)
    if as_json:
        show_json({"kind": kind, "key_id": public.key_id.hex(), "public": public.data.hex()})
        return
    results.print(f"{file}  Ed25519, {kind}", markup=False)
    results.print(f"  key id  {public.key_id.hex()}", markup=False)
    results.print(f"  public  {public.data.hex()}", markup=False)


@keys.command()
def seal(
    file: Annotated[Path, typer.Argument(help="File of keys, for its owner alone; what is in it stays.")],
    as_json: JsonOption = False,
) -> None:
    """Make a key that seals what is written from now on; the others in the file can still open what they sealed."""
    from littoral.node.at_rest import read_key_file
    from littoral.vault.keys import new_key

    former = b""
    if file.exists():
        read_key_file(file)
        former = file.read_bytes()
    key, line = new_key()
    try:
        write_atomically(file, line.encode() + former, 0o600)
    except OSError as error:
        raise NotFoundError(f"`{file}`: {error.strerror}") from error
    count = len(read_key_file(file).ids)
    if as_json:
        show_json({"file": str(file), "key_id": key.id.hex(), "keys": count})
        return
    results.print(f"{file}  keep it secret, and where it cannot be lost: what it sealed is lost with it", markup=False)
    results.print(f"  key id  {key.id.hex()}  seals from now on, {count} in all", markup=False)


for role_command in key_roles.COMMANDS:
    keys.command()(role_command)


def need_extra() -> None:
    """Raises SetupError without it."""
    if find_spec("cryptography") is None:
        raise SetupError("signatures need `cryptography`", hint='install `pip install "littoral[sign]"`')


def public_keys(files: list[Path]) -> "list[PublicKey]":
    """Raises NotFoundError, InputError naming the file."""
    from littoral.artifact.ed25519 import read_public_key

    return [_read(file, read_public_key) for file in files]


def secret_keys(files: list[Path]) -> "list[SecretKey]":
    """As `public_keys`."""
    from littoral.artifact.ed25519 import read_secret_key

    return [_read(file, read_secret_key) for file in files]


def _read(file: Path, parse: Callable[[bytes], _T]) -> _T:
    from littoral.artifact.ed25519 import KEY_BYTES_MAX

    try:
        with file.open("rb") as stream:
            return parse(stream.read(KEY_BYTES_MAX))
    except OSError as error:
        raise NotFoundError(f"key `{file}`: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"key `{file}`: {error.message}", hint=error.hint) from error


def _any_key(file: Path) -> "tuple[str, PublicKey]":
    try:
        return "public", public_keys([file])[0]
    except InputError:
        return "secret", secret_keys([file])[0].public
