"""`littoral tokens`: who may ask a node for what."""

from pathlib import Path
from typing import Annotated

import typer

from littoral.cli.console import messages, results, show_json
from littoral.clock import SYSTEM
from littoral.errors import InputError
from littoral.node.access.roles import Role
from littoral.web.access.tokens import Token, new_token, read_tokens, without, write_tokens

__all__ = ["list_tokens", "new", "revoke", "tokens"]

DAY_S = 86400

tokens = typer.Typer(name="tokens", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

SiteArgument = Annotated[Path, typer.Argument(help="Site file with a table `[auth]`.")]


@tokens.callback()
def options() -> None:
    """Tokens for a node: made, listed, revoked, while it runs."""


@tokens.command()
def new(
    site: SiteArgument,
    name: Annotated[str, typer.Argument(help="Whose it is, for people.")],
    roles: Annotated[
        str, typer.Option(help="Of `read`, `infer`, `write`, `admin`, `steps`, with commas between.")
    ] = "read",
    tenant: Annotated[
        str | None, typer.Option(help="A tenant of the site file, for whose things alone it is good.")
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.001, max=36_500, help="Until it expires; default: never.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Make a token and print it, once: the node keeps a digest only."""
    file = _file_of(site, tenant)
    life_s = None if days is None else days * DAY_S
    text, token = new_token(name, _roles(roles), SYSTEM.wall(), life_s=life_s, tenant=tenant or "")
    write_tokens(file, [*read_tokens(file, list(Role)), token])
    if as_json:
        show_json({"token": text} | _told(token))
        return
    results.print(text, markup=False)
    messages.print(f"`{token.name}` may {', '.join(token.roles)}{_of(token)}; this is not shown again", markup=False)


@tokens.command("list")
def list_tokens(site: SiteArgument, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the tokens of a node, without what they are."""
    found = read_tokens(_file_of(site))
    if as_json:
        show_json([_told(token) for token in found])
        return
    for token in found:
        results.print(f"{token.id}  {token.name}  {','.join(token.roles)}  {_end(token)}{_of(token)}", markup=False)


@tokens.command()
def revoke(
    site: SiteArgument, name: Annotated[str, typer.Argument(help="A token's id, or the name of one or several.")]
) -> None:
    """Take tokens away; a running node knows within a second."""
    file = _file_of(site)
    left, gone = without(read_tokens(file, list(Role)), name)
    write_tokens(file, left)
    for token in gone:
        results.print(f"{token.id} `{token.name}` is revoked", markup=False)


def _file_of(site: Path, tenant: str | None = None) -> Path:
    from littoral.node.opened_access import tokens_file
    from littoral.node.site import read_site

    described = read_site(site)
    if (file := tokens_file(described)) is None:
        raise InputError(f"{site}: has no table `[auth]`", hint="with it, every request needs a token")
    names = [table.name for table in described.tenants]
    if tenant is not None and tenant not in names:
        raise InputError(f"{site}: tenant `{tenant[:64]}` is unknown", hint=f"known: {', '.join(names) or 'none'}")
    return file


def _of(token: Token) -> str:
    return f" of tenant {token.tenant}" if token.tenant else ""


def _roles(text: str) -> list[Role]:
    words = [word.strip() for word in text.split(",")]
    if wrong := [word for word in words if word not in list(Role)]:
        raise InputError(f"role `{wrong[0][:40]}` is unknown", hint=f"known: {', '.join(Role)}")
    return [role for role in Role if role in words]


def _told(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "roles": token.roles,
        "made_at_s": token.made_at_s,
        "expires_at_s": token.expires_at_s,
        "tenant": token.tenant,
    }


def _end(token: Token) -> str:
    if token.expires_at_s is None:
        return "does not expire"
    days = (token.expires_at_s - SYSTEM.wall()) / DAY_S
    return f"{days:.1f} days left" if days > 0 else "has expired"
