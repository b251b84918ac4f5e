"""A node's identity on disk: the site it trusts, its certificate and key, the site's issuing key where it is an issuer.

    root.pem      the site's root certificate
    issuing.pem   what the site's certificates are issued with: the anchors for TLS, two while one goes over to another
    node.pem      the node's key and its chain in one file, so that both change at once
    issuing.key   issuers only: the keys of these anchors
    clock         the latest time that was seen

Only the owner may read the keys. What is written is there as a whole or not at all.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from littoral.artifact.model import write_atomically
from littoral.clock import Clock
from littoral.errors import NotFoundError, TrustError
from littoral.mesh.documents import DocumentStore, open_document
from littoral.mesh.identity.issuing_keys import IssuingKeys, Signing
from littoral.mesh.rollover import trust_by
from littoral.mesh.roster import ROSTER, Roster, decode_roster
from littoral.mesh.trust.boot_clock import BootClock
from littoral.mesh.trust.certificates import (
    Certificate,
    NodeCertificate,
    certificates_of,
    expires_at_s,
    issued_at_s,
    pem_of_chain,
    read_node_certificate,
)
from littoral.mesh.trust.chain import Reason, Refusal, Trust
from littoral.mesh.trust.keys import IssuingKey, NodeKey, node_key_of, pem_of

__all__ = ["FOLDER", "Credential", "Identity", "write_identity"]

FOLDER = "mesh"
"""Below a node's data folder."""

ROOT, ISSUING, NODE, ISSUING_KEY, CLOCK, DOCUMENTS = (
    "root.pem",
    "issuing.pem",
    "node.pem",
    "issuing.key",
    "clock",
    "documents",
)
FILE_BYTES_MAX = 64 << 10


class Credential(NamedTuple):
    """A node's key with its certificate, that certificate's chain in PEM, and the authority that issued it."""

    certificate: NodeCertificate
    chain: bytes
    key: NodeKey
    authority: Certificate


class Identity:
    """An open identity, with the clock it is judged by and the documents that the node keeps.

    Open it once in a process. `credential` changes when the certificate is renewed, `trust` when the roster says so.
    refused: what it refused, and for which reason; for a metric.
    """

    def __init__(self, folder: Path, trust: Trust, credential: Credential, clock: BootClock) -> None:
        self.folder = folder
        self.trust = trust
        self.credential = credential
        self.clock = clock
        self.refused: Counter[Reason] = Counter()
        self.issuing_keys = IssuingKeys(folder / ISSUING_KEY)
        self.documents = DocumentStore(folder / DOCUMENTS, trust, clock, self.count_refusal)
        self._roster: tuple[int, Roster] | None = None
        clock.learn(credential.certificate.issued_at_s)

    @classmethod
    def open(cls, data: Path, machine: Clock) -> "Identity":
        """data: the node's data folder. Raises NotFoundError without an identity, TrustError, NodeError."""
        folder = data / FOLDER
        trust = Trust.of(_read(folder / ROOT), _read(folder / ISSUING))
        credential = _credential(_read(folder / NODE), trust)
        clock = BootClock(folder / CLOCK, machine, latest_s=expires_at_s(trust.issuing))
        identity = cls(folder, trust, credential, clock)
        identity.follow()
        return identity

    @property
    def name(self) -> str:
        return self.credential.certificate.name

    @property
    def anchors_file(self) -> Path:
        """For TLS: what another node's certificate must be issued with."""
        return self.folder / ISSUING

    @property
    def credential_file(self) -> Path:
        """For TLS: key and chain."""
        return self.folder / NODE

    def roster(self) -> Roster | None:
        """Who belongs to the site, as far as this node knows."""
        document = self.documents.current(ROSTER)
        if document is None:
            return None
        if self._roster is None or self._roster[0] != document.number:
            self._roster = (document.number, decode_roster(document.content))
        return self._roster[1]

    def follow(self) -> bool:
        """Trusts the authorities that the roster names: whether the anchors for TLS are others now.

        Forgets keys of those that the site has retired. Raises TrustError, OSError.
        """
        roster = self.roster()
        if roster is None or roster.rollover is None or (trust := trust_by(roster.rollover, self.trust)) == self.trust:
            return False
        is_changed = trust.authorities != self.trust.authorities
        if is_changed:
            write_atomically(self.anchors_file, pem_of_chain(trust.authorities))
        self.trust = self.documents.trust = trust
        self.clock.extend(expires_at_s(trust.issuing))
        self.issuing_keys.retire(trust)
        return is_changed

    @property
    def is_behind(self) -> bool:
        """Whether this node's certificate is by an authority before the newest."""
        return issued_at_s(self.credential.authority) < issued_at_s(self.trust.issuing)

    def signing(self) -> Signing | None:
        """The newest authority whose key is here, if this node is an issuer. Raises TrustError for another site's."""
        return self.issuing_keys.signing(self.trust)

    def issuing_key(self) -> IssuingKey | None:
        """Of `signing`."""
        return None if (signing := self.signing()) is None else signing.key

    def count_refusal(self, refusal: Refusal) -> None:
        self.refused[refusal.reason] += 1

    def renew(self, chain: bytes, key: NodeKey) -> None:
        """From now on with this certificate. Raises TrustError for one of another name, key or site, or by an authority
        that counts no longer.
        """
        credential = _credential(pem_of(key) + chain, self.trust)
        if refusal := self.trust.refusal_of_authority(credential.authority, "the new certificate"):
            raise refusal.error()
        if credential.certificate.name != self.name:
            raise TrustError(f"the new certificate is of `{credential.certificate.name}`, this node is `{self.name}`")
        write_atomically(self.credential_file, pem_of(key) + chain, 0o600)
        self.credential = credential
        self.clock.learn(credential.certificate.issued_at_s)


def write_identity(
    data: Path,
    *,
    root: bytes,
    issuing: bytes,
    chain: bytes,
    key: NodeKey,
    issuing_keys: Sequence[IssuingKey] = (),
    documents: Mapping[str, bytes],
) -> None:
    """The files of a new identity; node.pem, which makes it one, last. Raises TrustError for what does not fit.

    issuing: the site's authorities, PEM. What is there of an identity before is replaced.
    """
    trust = Trust.of(root, issuing)
    _credential(pem_of(key) + chain, trust)
    folder = data / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_atomically(folder / ROOT, pem_of_chain([trust.root]))
    write_atomically(folder / ISSUING, pem_of_chain(trust.authorities))
    (folder / DOCUMENTS).mkdir(exist_ok=True)
    for file in (folder / DOCUMENTS).glob("*.json"):
        file.unlink()
    for kind, signed in documents.items():
        open_document(signed, trust)
        write_atomically(folder / DOCUMENTS / f"{kind}.json", signed, 0o600)
    IssuingKeys(folder / ISSUING_KEY).write(issuing_keys)
    write_atomically(folder / NODE, pem_of(key) + chain, 0o600)


def _credential(pem: bytes, trust: Trust) -> Credential:
    """Raises TrustError unless the certificate is of the key, and of this site."""
    key = node_key_of(pem)
    chain = _certificates_in(pem)
    authority = trust.authority_of(chain)
    certificate = read_node_certificate(chain[0], authority)
    if certificate.public_key != key.public_key():
        raise TrustError(f"the certificate of `{certificate.name}` does not belong to its key")
    return Credential(certificate, pem_of_chain(chain), key, authority)


def _certificates_in(pem: bytes) -> list[Certificate]:
    return certificates_of(pem[pem.find(b"-----BEGIN CERTIFICATE") :])


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(FILE_BYTES_MAX)
    except OSError as error:
        raise NotFoundError(
            f"`{file}`: {error.strerror}", hint="`littoral mesh init` begins a site, `littoral mesh join` joins one"
        ) from error
