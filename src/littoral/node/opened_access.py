"""From the tables `auth` and `tls` of a site file to what a server asks."""

import socket
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from littoral.clock import Clock
from littoral.node.access.roles import RIGHTS
from littoral.node.site import Site
from littoral.web import Certificates
from littoral.web.access.access import Access
from littoral.web.access.tokens import TokenFile

__all__ = ["TlsFiles", "open_access", "open_certificates", "own_hosts", "tls_files", "tokens_file"]


class TlsFiles(NamedTuple):
    """Files of PEM. clients: authorities of those who may connect; None: anybody may."""

    certificate: Path
    key: Path
    clients: Path | None = None


def tokens_file(site: Site) -> Path | None:
    """None: the node asks for no tokens."""
    return None if site.auth is None else site.path_of(site.auth.tokens)


def open_access(site: Site, clock: Clock, tenants: Collection[str]) -> Access:
    """tenants: those who are there now. Raises SettingError for a file of tokens that is none."""
    if site.auth is None:
        return Access(None, frozenset(), clock, rights=RIGHTS)
    needs = {"probes": site.auth.probes, "metrics": site.auth.metrics}
    opened = frozenset(what for what, is_needed in needs.items() if not is_needed)
    tokens = TokenFile(site.path_of(site.auth.tokens), clock, [*RIGHTS.included])
    return Access(tokens, opened, clock, tenants, rights=RIGHTS)


def tls_files(site: Site) -> TlsFiles | None:
    """None: without TLS."""
    if (tls := site.tls) is None:
        return None
    clients = None if tls.clients is None else site.path_of(tls.clients)
    return TlsFiles(site.path_of(tls.certificate), site.path_of(tls.key), clients)


def open_certificates(site: Site, clock: Clock, *, protocol: str = "http/1.1") -> Certificates | None:
    """None: without TLS. protocol: what is spoken, as ALPN calls it.

    Raises SettingError for files that are missing or do not belong together.
    """
    files = tls_files(site)
    return None if files is None else Certificates(*files, clock, protocol=protocol)


def own_hosts(site: Site) -> tuple[str, ...]:
    """Names that this node is asked by, beside addresses."""
    machine = socket.gethostname().lower()
    return (*site.node.hosts, site.listen.host, machine, f"{machine.partition('.')[0]}.local")
