"""The first node of a site: a root that is taken away, an issuing certificate, a roster with one node in it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from littoral.clock import Clock
from littoral.errors import ConflictError, InputError, TrustError
from littoral.mesh.documents import Document, sign_document
from littoral.mesh.identity.identity import FOLDER, NODE, Identity, write_identity
from littoral.mesh.identity.issuer import LIFE_S
from littoral.mesh.roster import ROSTER, Roster, RosterNode, check_endpoints, encode_roster, hosts_of
from littoral.mesh.trust.certificates import (
    NAME_PATTERN,
    Certificate,
    certificates_of,
    issue,
    make_issuing,
    make_request,
    make_root,
    pem_of_chain,
    read_request,
)
from littoral.mesh.trust.keys import IssuingKey, issuing_key_of, new_issuing_key, new_node_key, pem_of

__all__ = ["Root", "found_site", "new_root", "read_root"]

SITE_NAME_MAX = 40


class Root(NamedTuple):
    """Signs issuing certificates, once in years; kept where no node is."""

    certificate: Certificate
    key: IssuingKey

    def pem(self) -> bytes:
        return pem_of(self.key) + pem_of_chain([self.certificate])


def new_root(site: str, clock: Clock) -> Root:
    key = new_issuing_key()
    return Root(make_root(site, key, clock.wall()), key)


def read_root(pem: bytes) -> Root:
    """As `Root.pem` writes it. Raises TrustError."""
    root = Root(certificates_of(pem[pem.find(b"-----BEGIN CERTIFICATE") :])[0], issuing_key_of(pem))
    if root.certificate.public_key() != root.key.public_key():
        raise TrustError("the root's key does not belong to its certificate")
    return root


def found_site(
    data: Path,
    root: Root,
    *,
    site: str,
    name: str,
    clock: Clock,
    endpoints: Sequence[str] = (),
    region: str = "",
) -> Identity:
    """The site's first node, its writer and issuer. Raises ConflictError if the folder has an identity, InputError."""
    if (data / FOLDER / NODE).exists():
        raise ConflictError(f"`{data / FOLDER}` holds the identity of a node already")
    if not re.match(NAME_PATTERN, site) or len(site) > SITE_NAME_MAX:
        raise InputError(f"site `{site[:80]}`: its name is 1 to {SITE_NAME_MAX} of a-z, 0-9 and `-`")
    if not re.match(NAME_PATTERN, name):
        raise InputError(f"node `{name[:80]}`: its name is 1 to 63 of a-z, 0-9 and `-`")
    check_endpoints(name, list(endpoints))
    now_s, issuing_key, key = clock.wall(), new_issuing_key(), new_node_key()
    issuing = make_issuing(site, issuing_key.public_key(), root.certificate, root.key, now_s)
    request = read_request(make_request(name, key))
    hosts = hosts_of(list(endpoints))
    leaf = issue(request, issuing, issuing_key, now_s=now_s, life_s=LIFE_S, hosts=hosts)
    node = RosterNode(name, int(now_s), list(endpoints), region, is_issuer=True)
    document = Document(site, ROSTER, 1, name, int(now_s), encode_roster(Roster(name, [node])))
    write_identity(
        data,
        root=pem_of_chain([root.certificate]),
        issuing=pem_of_chain([issuing]),
        chain=pem_of_chain([leaf, issuing]),
        key=key,
        issuing_keys=[issuing_key],
        documents={ROSTER: sign_document(document, issuing_key, issuing)},
    )
    return Identity.open(data, clock)
