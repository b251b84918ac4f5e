"""`littoral doctor`: what is wrong with a node, as far as it can find out by itself."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from littoral.cli.console import results, show_json
from littoral.cli.doctor_site import examine_site, has_own_certificate
from littoral.cli.mesh_identity import open_identity
from littoral.clock import SYSTEM
from littoral.node.doctor.access import examine_access
from littoral.node.site import read_site
from littoral.telemetry.findings import Finding, Status

__all__ = ["doctor"]

FAILED = 1

PeerOption = Annotated[
    list[str] | None, typer.Option("--peer", help="Only this node of the roster; several times; default: all.")
]


def doctor(
    place: Annotated[Path, typer.Argument(help="Site file, or a node's data folder.")],
    peer: PeerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Tell what is wrong with a node, its machine and its site, and what mends it. Exit code 1: something fails."""
    findings: list[Finding] = []
    for check in CHECKS.values():
        for finding in check(place, peer or []):
            findings.append(finding)
            if not as_json:
                _show(finding)
    failed = any(finding.status is Status.FAIL for finding in findings)
    if as_json:
        show_json({"ok": not failed, "findings": [finding._asdict() for finding in findings]})
    if failed:
        raise typer.Exit(FAILED)


def _mesh(place: Path, peers: list[str]) -> Iterator[Finding]:
    """Raises NotFoundError for a node without an identity, and for a peer that the roster does not have."""
    if place.suffix == ".toml" and read_site(place).mesh is None:
        return
    if has_own_certificate(place):
        words = "the site file names its certificate: nobody renews it, and there is no roster to look at"
        yield Finding("certificate", str(place), Status.WARN, words)
        return
    identity = open_identity(place)
    from littoral.mesh.doctor import examine_node, examine_peer

    yield from examine_node(identity, SYSTEM)
    roster = identity.roster()
    others = [name for name in roster.names if name != identity.name] if roster else []
    for name in peers or others:
        yield from examine_peer(identity, name, SYSTEM)


def _node(place: Path, _peers: list[str]) -> Iterator[Finding]:
    """Nothing for a data folder."""
    if place.suffix != ".toml":
        return
    from littoral.node.doctor.at_rest import examine_at_rest
    from littoral.node.doctor.audit import examine_audit
    from littoral.node.doctor.files import examine_caches, examine_digests, examine_shards
    from littoral.node.doctor.machine import examine_machine
    from littoral.node.doctor.network import examine_ports, examine_services, running_node
    from littoral.node.doctor.updates import examine_updates

    site = read_site(place)
    running = running_node(site)
    yield from examine_machine(site, SYSTEM)
    yield from examine_ports(site, running and running.address)
    yield from examine_services(site)
    yield from examine_digests(site)
    yield from examine_shards(site, running and running.told)
    yield from examine_caches()
    yield from examine_at_rest(site)
    yield from examine_audit(site, SYSTEM)
    yield from examine_updates(site, SYSTEM)


def _site(place: Path, _peers: list[str]) -> Iterator[Finding]:
    yield from examine_site(place)


def _access(place: Path, _peers: list[str]) -> Iterator[Finding]:
    yield from examine_access(place)


CHECKS: dict[str, Callable[[Path, list[str]], Iterator[Finding]]] = {
    "node": _node,
    "mesh": _mesh,
    "site": _site,
    "access": _access,
}


def _show(finding: Finding) -> None:
    results.print(f"{finding.status:<4}  {finding.check:<11}  {finding.subject}: {finding.message}", markup=False)
    if finding.hint:
        results.print(f"      hint: {finding.hint}", markup=False)
