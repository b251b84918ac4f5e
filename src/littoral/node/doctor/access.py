"""`littoral doctor` of who may ask a node: certificates that end, tokens that have ended, what is lacking."""

from collections.abc import Iterator
from pathlib import Path

from littoral.clock import SYSTEM
from littoral.errors import LittoralError
from littoral.node.access.roles import RIGHTS
from littoral.node.opened_access import TlsFiles, open_certificates, tls_files, tokens_file
from littoral.node.site import Site, read_site
from littoral.tables.exposure import is_loopback
from littoral.telemetry.findings import Finding, Status
from littoral.web.access.tokens import read_tokens

__all__ = ["examine_access"]

DAY_S = 86400.0
WARN_DAYS = 14.0


def examine_access(place: Path) -> Iterator[Finding]:
    """Nothing for a data folder, and for a site file that neither asks for tokens nor speaks TLS nor is reached."""
    if place.suffix != ".toml":
        return
    site = read_site(place)
    if (files := tls_files(site)) is not None:
        yield _certificate(site, files)
    if (file := tokens_file(site)) is not None:
        yield _tokens(file)
    if not is_loopback(site.listen.host) and (site.tls is None or site.auth is None):
        lacking = " and ".join(word for word, table in (("token", site.auth), ("TLS", site.tls)) if table is None)
        yield Finding(
            "access",
            str(site.listen),
            Status.WARN,
            f"others reach this node without {lacking}: `node.beyond_loopback` allows it",
            "add `[auth]` and `[tls]`, or see that nobody else is on that network",
        )


def _certificate(site: Site, files: TlsFiles) -> Finding:
    from littoral.mesh.trust.certificates import certificates_of, expires_at_s

    subject = str(files.certificate)
    try:
        open_certificates(site, SYSTEM)
        data = files.certificate.read_bytes()
        first = certificates_of(data[data.find(b"-----BEGIN CERTIFICATE") :])[0]
    except (LittoralError, OSError) as error:
        hint = error.hint if isinstance(error, LittoralError) else None
        return Finding("tls", subject, Status.FAIL, str(getattr(error, "message", error)), hint)
    days = (expires_at_s(first) - SYSTEM.wall()) / DAY_S
    if days < 0:
        return Finding(
            "tls",
            subject,
            Status.FAIL,
            f"ended {-days:.1f} days ago",
            "write a new one in its place: a running node takes it",
        )
    status = Status.WARN if days < WARN_DAYS else Status.OK
    hint = "write a new one in its place: a running node takes it" if status is Status.WARN else None
    return Finding("tls", subject, status, f"{days:.1f} days left", hint)


def _tokens(file: Path) -> Finding:
    try:
        tokens = read_tokens(file, [*RIGHTS.included])
    except LittoralError as error:
        return Finding("tokens", str(file), Status.FAIL, error.message, error.hint)
    now_s = SYSTEM.wall()
    ends = {token.name: token.expires_at_s - now_s for token in tokens if token.expires_at_s is not None}
    soon = sorted(name for name, left_s in ends.items() if left_s < WARN_DAYS * DAY_S)
    if not tokens:
        return Finding("tokens", str(file), Status.WARN, "nobody has a token", "`littoral tokens new`")
    if soon:
        told = ", ".join(f"`{name}`" for name in soon[:8])
        return Finding(
            "tokens", str(file), Status.WARN, f"ended, or end in {WARN_DAYS:.0f} days: {told}", "`littoral tokens new`"
        )
    return Finding("tokens", str(file), Status.OK, f"{len(tokens)} tokens")
