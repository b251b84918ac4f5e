"""`littoral mesh`: a site's authority, who belongs to it, and the certificates of its nodes."""

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from littoral.cli.console import messages, results, show_json
from littoral.cli.mesh_identity import PlaceArgument, data_folder, need_extra, open_identity, root_of
from littoral.cli.mesh_members import members, show_site
from littoral.cli.mesh_moving import dissolve, divide, move, rebalance, spread
from littoral.cli.mesh_placement import placement
from littoral.cli.mesh_rollover import rollover, rollover_lines, rollover_report
from littoral.clock import SYSTEM
from littoral.errors import ConflictError, InputError
from littoral.node.client import DEFAULT_URL

if TYPE_CHECKING:
    from littoral.mesh.identity.founding import Root
    from littoral.mesh.identity.identity import Identity
    from littoral.mesh.identity.issuer import Issuer

__all__ = [
    "door",
    "init",
    "join",
    "mesh",
    "promote",
    "renew",
    "revoke",
    "status",
    "take_over",
    "token",
]

mesh = typer.Typer(name="mesh", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

DAY_S = 86400
EndpointOption = Annotated[
    list[str] | None, typer.Option("--endpoint", help="Where other nodes reach it: quic/HOST:PORT; several times.")
]
LabelOption = Annotated[list[str] | None, typer.Option("--label", help="KEY=VALUE; several times.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


mesh.command()(members)
mesh.command()(placement)
mesh.add_typer(rollover)
for command in (spread, move, divide, dissolve, rebalance):
    mesh.command()(command)


@mesh.callback()
def options() -> None:
    """Who belongs to a site, and the certificates that prove it."""


@mesh.command()
def init(
    place: PlaceArgument,
    site: Annotated[str, typer.Option(help="Name of the site.")],
    name: Annotated[str, typer.Option(help="Name of this node.")],
    endpoint: EndpointOption = None,
    region: Annotated[str, typer.Option(help="Where this node is.")] = "",
    root: Annotated[Path | None, typer.Option(help="A root made before: its file, only read.")] = None,
    root_out: Annotated[
        Path | None, typer.Option("--root-out", help="File for the new root; default: SITE-root.pem here.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Found a site: its root, its issuing key, and this node as the first."""
    need_extra()
    from littoral.mesh.identity.founding import found_site, new_root

    if root is not None and root_out is not None:
        raise InputError("either `--root` or `--root-out`")
    written = None if root is not None else root_out or Path(f"{site}-root.pem")
    if written is not None and written.exists():
        raise ConflictError(f"`{written}` exists", hint="`--root` uses a root that was made before")
    made = root_of(root) if root is not None else new_root(site, SYSTEM)
    identity = found_site(
        data_folder(place), made, site=site, name=name, clock=SYSTEM, endpoints=endpoint or [], region=region
    )
    if written is not None:
        _write_root(written, made)
    if as_json:
        show_json(_identity_report(identity) | {"root_file": None if written is None else str(written)})
        return
    results.print(f"site `{site}`, node `{name}`: {identity.folder}", markup=False)
    if written is not None:
        results.print(f"  root    {written}: take it away from this machine, it is needed once in five years")
    results.print(f"  next    littoral mesh token {place} NAME, and littoral mesh door {place}", markup=False)


@mesh.command()
def token(
    place: PlaceArgument,
    name: Annotated[str, typer.Argument(help="Name of the node that may join with it.")],
    issuer: Annotated[bool, typer.Option("--issuer", help="It gets the issuing key too.")] = False,
    region: Annotated[str, typer.Option(help="Where that node is.")] = "",
    label: LabelOption = None,
    minutes: Annotated[int, typer.Option(min=1, max=7 * 1440, help="For how long it is good.")] = 60,
    replace: Annotated[bool, typer.Option("--replace", help="For a machine in the place of another.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a token with which one node can join, once."""
    from littoral.mesh.identity.tokens import Grant

    identity, issuing = _open_issuer(place)
    expires_at_s = int(identity.clock.wall()) + 60 * minutes
    grant = Grant(name, "", expires_at_s, region, _labels(label or []), issuer)
    made = issuing.make_token(grant, replace=replace)
    if as_json:
        show_json({"token": str(made), "name": name, "is_issuer": issuer, "expires_at_s": expires_at_s})
        return
    results.print(str(made), markup=False)
    messages.print(f"for `{name}`, once, within {minutes} minutes", markup=False)


@mesh.command()
def join(
    place: PlaceArgument,
    at: Annotated[str, typer.Option(help="HOST:PORT of the issuer's door.")],
    token: Annotated[str, typer.Option(help="What `littoral mesh token` printed.")],
    name: Annotated[str, typer.Option(help="Name of this node.")],
    endpoint: EndpointOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="In the place of the identity that is here.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Join a site with a token. The node's key is made here and stays here."""
    need_extra()
    from littoral.mesh.identity.asking import join_site
    from littoral.mesh.identity.tokens import parse_token
    from littoral.node.site import parse_address

    host, port = parse_address(at)
    data, parsed = data_folder(place), parse_token(token)
    asked = join_site(data, host, port, parsed, name, SYSTEM, endpoints=endpoint or [], replace=replace)
    _show(asyncio.run(asked), as_json=as_json)


@mesh.command()
def door(
    place: PlaceArgument,
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 = any free one.")] = "0.0.0.0:7448",
) -> None:
    """Let nodes join and renew here, until SIGTERM or Ctrl-C. On an issuer."""
    from littoral.node.site import parse_address

    host, port = parse_address(listen)
    asyncio.run(_keep_door(open_identity(place), host, port))


@mesh.command()
def renew(
    place: PlaceArgument,
    at: Annotated[str, typer.Option(help="HOST:PORT of an issuer's door.")],
    as_json: JsonOption = False,
) -> None:
    """Renew this node's certificate at a door: for a node that was away for so long that the mesh refuses it."""
    identity = open_identity(place)
    from littoral.mesh.identity.asking import renew_at
    from littoral.node.site import parse_address

    host, port = parse_address(at)
    asyncio.run(renew_at(identity, host, port))
    _show(identity, as_json=as_json)


@mesh.command()
def revoke(
    place: PlaceArgument,
    name: Annotated[str, typer.Argument(help="Node that is to go, or whose certificate is.")],
    serial: Annotated[
        str | None, typer.Option(help="One certificate, by its serial number: the node stays, with a newer one.")
    ] = None,
) -> None:
    """Take a node out of the site, or one of its certificates. On the node that writes the roster."""
    identity, issuing = _open_issuer(place)
    now_s = identity.clock.wall()
    if serial is not None:
        issuing.write(lambda roster: roster.without_certificate(name, serial))
        results.print(f"certificate {serial} of `{name}` is revoked", markup=False)
        return
    held_key = name in issuing.roster().issuers
    issuing.write(lambda roster: roster.without(name, now_s))
    results.print(f"node `{name}` is revoked", markup=False)
    if held_key:
        lost = f"`{name}` held the issuing key: if it was stolen, `littoral mesh rollover begin` makes another"
        messages.print(lost, markup=False)


@mesh.command()
def promote(place: PlaceArgument, name: Annotated[str, typer.Argument(help="Node that becomes an issuer.")]) -> None:
    """Make a node an issuer: it fetches the issuing key by itself. On the node that writes the roster."""
    _, issuing = _open_issuer(place)
    if name in issuing.roster().issuers:
        raise ConflictError(f"node `{name}` is an issuer")
    issuing.write(lambda roster: roster.with_issuer(name))
    results.print(f"node `{name}` becomes an issuer as soon as it hears of it", markup=False)


@mesh.command("take-over")
def take_over(place: PlaceArgument) -> None:
    """Write the roster here from now on: on an issuer, when the node that wrote it is lost."""
    identity, issuing = _open_issuer(place)
    before = issuing.roster().writer
    issuing.take_over()
    results.print(f"`{identity.name}` writes the roster, `{before}` no longer does", markup=False)


@mesh.command()
def status(
    place: Annotated[
        Path | None, typer.Argument(help="Site file, or a node's data folder: of its identity; without, of a node.")
    ] = None,
    url: Annotated[str, typer.Option(help="The node that is asked, where no place is given.")] = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Tell how the site is doing, as a running node sees it; with a place, how the identity there is."""
    if place is None:
        show_site(url, as_json=as_json)
        return
    _show(open_identity(place), as_json=as_json)


def _open_issuer(place: Path) -> "tuple[Identity, Issuer]":
    identity = open_identity(place)
    from littoral.mesh.identity.issuer import Issuer

    return identity, Issuer(identity)


async def _keep_door(identity: "Identity", host: str, port: int) -> None:
    from littoral.mesh.identity.door import open_door

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_door(identity, host, port, say=_say) as opened:
        _say(f"the door of `{identity.name}` is open at {opened.host}:{opened.port}")
        await stop.wait()


def _say(line: str) -> None:
    messages.print(line, markup=False, soft_wrap=True)


def _write_root(file: Path, root: "Root") -> None:
    from littoral.artifact.model import write_atomically

    write_atomically(file, root.pem(), 0o600)


def _labels(texts: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InputError(f"`--label {text}` is not KEY=VALUE")
        labels[key] = value
    return labels


def _identity_report(identity: "Identity") -> dict[str, Any]:
    """A written contract: docs/reference/cli.md."""
    from littoral.mesh.roster import ROSTER

    certificate, roster = identity.credential.certificate, identity.roster()
    return {
        "site": identity.trust.site,
        "name": identity.name,
        "is_issuer": identity.issuing_key() is not None,
        "serial": certificate.serial,
        "issued_at_s": certificate.issued_at_s,
        "expires_at_s": certificate.expires_at_s,
        "clock_s": int(identity.clock.wall()),
        "roster_number": identity.documents.numbers().get(ROSTER),
        "writer": None if roster is None else roster.writer,
        "nodes": [] if roster is None else [_node_report(node) for node in roster.nodes],
        "revoked": [] if roster is None else sorted(roster.revoked),
        "rollover": rollover_report(identity),
    }


def _node_report(node: Any) -> Mapping[str, Any]:
    return {
        "name": node.name,
        "endpoints": node.endpoints,
        "region": node.region,
        "labels": node.labels,
        "is_issuer": node.is_issuer,
    }


def _show(identity: "Identity", *, as_json: bool) -> None:
    report = _identity_report(identity)
    if as_json:
        show_json(report)
        return
    days = (report["expires_at_s"] - report["clock_s"]) / DAY_S
    role = ", an issuer" if report["is_issuer"] else ""
    results.print(f"node `{report['name']}` of the site `{report['site']}`{role}", markup=False)
    results.print(f"  certificate  {report['serial']}, {days:.1f} days left", markup=False)
    results.print(f"  roster       {report['roster_number']}, written by `{report['writer']}`", markup=False)
    for node in report["nodes"]:
        words = [node["region"] or "no region", *(["issuer"] if node["is_issuer"] else []), *node["endpoints"]]
        results.print(f"  {node['name']:<12} {', '.join(words)}", markup=False)
    for line in rollover_lines(report["rollover"], report["clock_s"]):
        results.print(f"  {line}", markup=False)
    with contextlib.suppress(IndexError):
        results.print(f"  revoked      {report['revoked'][0]}{_more(report['revoked'])}", markup=False)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
