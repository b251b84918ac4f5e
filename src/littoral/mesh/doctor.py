"""Why two nodes of a site do not talk: what one finds out by itself, and by looking at the others' endpoints."""

from collections.abc import Iterator

from littoral.clock import Clock
from littoral.errors import NotFoundError
from littoral.mesh.identity.due import renew_from_s
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.rollover import rollover_state
from littoral.mesh.probe import Met, Probed, probe
from littoral.mesh.roster import Roster, split_endpoint
from littoral.mesh.trust.certificates import certificates_of, expires_at_s, hosts_in
from littoral.mesh.trust.chain import Reason, Refusal
from littoral.telemetry.findings import Finding, Status

__all__ = ["Finding", "Status", "examine_node", "examine_peer", "read_probed"]

DAY_S = 86400.0
SOON_DAYS = 180


def examine_node(identity: Identity, machine: Clock) -> Iterator[Finding]:
    """This node's clock, certificate, authority and place in the roster."""
    yield _clock(identity, machine)
    yield _certificate(identity)
    yield _authority(identity)
    yield _roster(identity)


def examine_peer(identity: Identity, name: str, machine: Clock) -> Iterator[Finding]:
    """The endpoints of a node of the roster, one after another. Raises NotFoundError for a name that is not there."""
    roster = identity.roster() or Roster(identity.name, [])
    if refusal := roster.refusal_of_name(name):
        if refusal.reason is Reason.REVOKED:
            yield _failed("roster", name, refusal.message, refusal.hint)
            return
        raise NotFoundError(refusal.message, hint=f"the roster has: {', '.join(roster.names)}")
    node = roster.find(name)
    endpoints = node.endpoints if node else []
    if not endpoints:
        yield Finding("roster", name, Status.WARN, "has no endpoint: it must reach this node by itself")
    for endpoint in endpoints:
        yield read_probed(identity, name, endpoint, probe(endpoint, identity.credential_file), machine)


def read_probed(identity: Identity, name: str, endpoint: str, found: Probed, machine: Clock) -> Finding:
    """What a probe's result means."""
    if found.met in _UNMET:
        check, words, hint = _UNMET[found.met]
        return _failed(check, endpoint, words.format(told=found.told, name=name), hint)
    if found.shown is not None and (finding := _shown(identity, name, endpoint, found.shown, machine)):
        return finding
    if found.met is Met.REFUSED:
        return _objection(identity, endpoint, found.told)
    if found.shown is None:
        return Finding("endpoint", endpoint, Status.OK, "answers in QUIC; its certificate cannot be seen from outside")
    return Finding("endpoint", endpoint, Status.OK, f"`{name}` answers, and takes this node's certificate")


_UNMET: dict[Met, tuple[str, str, str]] = {
    Met.NO_ADDRESS: (
        "name",
        "its host has no address: {told}",
        "name it in the DNS or in /etc/hosts, or use an address",
    ),
    Met.CLOSED: ("port", "nothing listens there", "does the node run, and is this the port of its `[mesh]` table?"),
    Met.SILENT: ("port", "no answer: {told}", "the machine is off, or a firewall drops what is sent there"),
    Met.UNREACHABLE: ("port", "no way there: {told}", "look at the routes and the network of both machines"),
    Met.OTHER_TRANSPORT: (
        "protocol",
        "nothing listens there, but something does over the other transport: `{told}`",
        "the roster and the node's `[mesh]` table name different protocols",
    ),
    Met.OTHER_PROTOCOL: (
        "protocol",
        "what listens there does not speak the mesh's protocol: {told}",
        "another program has the port",
    ),
}

_ALERTS: tuple[tuple[str, str, str, str], ...] = (
    ("EXPIRED", "expired", "it says that this node's certificate has ended", "the clock there, or renew here"),
    (
        "UNKNOWN_CA",
        "ca",
        "it says that this node is of another site",
        "join its site, or look at the address; after a rollover of its authority: `littoral mesh renew`",
    ),
    ("REQUIRED", "ca", "it says that this node showed no certificate", "`littoral mesh status`"),
)


def _objection(identity: Identity, endpoint: str, told: str) -> Finding:
    """What the other side has against this one, as it says itself."""
    for word, check, words, hint in _ALERTS:
        if word in told:
            return _failed(check, endpoint, f"{words} ({told})", hint)
    return _failed(
        "refused",
        endpoint,
        f"it refuses `{identity.name}`: {told}",
        "its roster may not have this node, or its clock be wrong: run `littoral doctor` there",
    )


def _shown(identity: Identity, name: str, endpoint: str, shown: bytes, machine: Clock) -> Finding | None:
    """What this node has against the certificate; None: nothing."""
    judged = identity.trust.judge(shown, identity.clock.wall())
    if isinstance(judged, Refusal):
        check = {Reason.EXPIRED: "expired", Reason.RETIRED: "authority"}.get(judged.reason, "ca")
        return _failed(check, endpoint, judged.message, judged.hint)
    if judged.name != name:
        return _failed("name", endpoint, f"`{judged.name}` answers there, not `{name}`", "correct the endpoints")
    roster = identity.roster()
    if roster is not None and (refusal := roster.refusal_of(judged)):
        return _failed("revoked", endpoint, refusal.message, refusal.hint)
    host = split_endpoint(endpoint)[1]
    if host not in (hosts := hosts_in(certificates_of(shown)[0])):
        return _failed(
            "name",
            endpoint,
            f"the certificate of `{name}` is for {', '.join(hosts)}, not for `{host}`",
            "the next renewal has the endpoints of the roster: `littoral mesh renew` there",
        )
    if machine.wall() > judged.expires_at_s:
        return _failed("clock", endpoint, _ended_by_machine(machine, judged.expires_at_s), "set this machine's clock")
    return None


def _clock(identity: Identity, machine: Clock) -> Finding:
    behind_days = identity.clock.behind_s / DAY_S
    if behind_days > 1:
        return Finding(
            "clock",
            identity.name,
            Status.WARN,
            f"this machine's clock is {behind_days:.0f} days behind the site's time: TLS takes ended certificates",
            "set it, or let `systemd-timesyncd` keep it over a start",
        )
    if machine.wall() > (end_s := identity.credential.certificate.expires_at_s) >= identity.clock.wall():
        return _failed("clock", identity.name, _ended_by_machine(machine, end_s), "set this machine's clock")
    return Finding("clock", identity.name, Status.OK, "this machine's clock agrees with the site's time")


def _ended_by_machine(machine: Clock, end_s: int) -> str:
    days = (machine.wall() - end_s) / DAY_S
    return f"by this machine's clock the certificate ended {days:.0f} days ago, by the site's time it has not"


def _certificate(identity: Identity) -> Finding:
    certificate, now_s = identity.credential.certificate, identity.clock.wall()
    left_days = (certificate.expires_at_s - now_s) / DAY_S
    if left_days < 0:
        return _failed(
            "certificate",
            identity.name,
            f"this node's certificate ended {-left_days:.1f} days ago",
            "`littoral mesh renew` at an issuer's door",
        )
    if now_s > renew_from_s(certificate, 1.0) + DAY_S:
        return Finding(
            "certificate",
            identity.name,
            Status.WARN,
            f"{left_days:.1f} days left, and its renewal is overdue",
            f"is one of the issuers up? {', '.join((identity.roster() or Roster(identity.name, [])).issuers)}",
        )
    return Finding("certificate", identity.name, Status.OK, f"{left_days:.1f} days left")


def _authority(identity: Identity) -> Finding:
    trust, now_s = identity.trust, identity.clock.wall()
    if refusal := trust.refusal_of_authority(identity.credential.authority, "this node's certificate"):
        return _failed("authority", identity.name, refusal.message, refusal.hint)
    left_days = (expires_at_s(trust.issuing) - now_s) / DAY_S
    state = rollover_state(identity)
    if state is None or state.rollover.is_finished:
        words = f"{trust.digest[:16]}…, {left_days:.0f} days left"
        if left_days > SOON_DAYS:
            return Finding("authority", identity.name, Status.OK, words)
        return Finding("authority", identity.name, Status.WARN, words, "`littoral mesh rollover begin` makes the next")
    since_days = (now_s - state.rollover.begun_at_s) / DAY_S
    words = f"goes over to {trust.digest[:16]}… for {since_days:.1f} days now"
    if identity.is_behind:
        words += ", this node's certificate is by the one before"
    if state.rollover.begun_at_s + state.rollover.within_s + DAY_S > now_s:
        return Finding("authority", identity.name, Status.OK, words)
    hint = (
        "`littoral mesh rollover status` on the writer says who is waited for, `littoral mesh rollover finish` ends it"
    )
    return Finding("authority", identity.name, Status.WARN, words, hint)


def _roster(identity: Identity) -> Finding:
    if (roster := identity.roster()) is None:
        return _failed("roster", identity.name, "this node has no roster", "it is pulled from any other node")
    if refusal := roster.refusal_of(identity.credential.certificate):
        return _failed("roster", identity.name, refusal.message, refusal.hint)
    count, number = len(roster.nodes), identity.documents.numbers()["roster"]
    return Finding("roster", identity.name, Status.OK, f"number {number}, {count} nodes, {len(roster.issuers)} issuers")


def _failed(check: str, subject: str, message: str, hint: str | None) -> Finding:
    return Finding(check, subject, Status.FAIL, message, hint)
