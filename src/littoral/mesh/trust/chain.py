"""Whether a certificate is a node's of this site, and why not: pure, by the time that the caller gives."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from littoral.errors import TrustError
from littoral.mesh.trust.certificates import (
    Certificate,
    NodeCertificate,
    certificates_of,
    digest_of,
    issued_at_s,
    read_node_certificate,
    site_of,
    was_issued_by,
)

__all__ = ["Reason", "Refusal", "Trust"]

DAY_S = 86400


class Reason(StrEnum):
    """Why a node is refused; the label of the metric."""

    FOREIGN = "foreign"
    RETIRED = "retired"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    REVOKED = "revoked"
    WRONG_NAME = "wrong-name"


class Refusal(NamedTuple):
    reason: Reason
    message: str
    hint: str | None = None

    def error(self) -> TrustError:
        return TrustError(self.message, hint=self.hint)


class Trust(NamedTuple):
    """A site's root and its authorities: the certificates that its nodes' are issued with.

    issuing: the newest. older: those that count beside it while it takes their place, newest first. retired: known to
    count no longer. An authority that is newer than all of them counts where the root signed it for this site, one that
    is older than all that count does not: when each was made stands in it, by the root's word.
    """

    root: Certificate
    issuing: Certificate
    older: tuple[Certificate, ...] = ()
    retired: tuple[Certificate, ...] = ()

    @classmethod
    def of(cls, root_pem: bytes, issuing_pem: bytes) -> "Trust":
        """issuing_pem: one authority or more. Raises TrustError unless the root signed each, for one site."""
        return cls.by(certificates_of(root_pem)[0], certificates_of(issuing_pem))

    @classmethod
    def by(cls, root: Certificate, authorities: Sequence[Certificate]) -> "Trust":
        """authorities: at least one, in any order. Raises TrustError unless the root signed each, for one site."""
        if len({site_of(authority, root) for authority in authorities}) != 1:
            raise TrustError("authorities of several sites, or none")
        newest, *older = sorted(authorities, key=issued_at_s, reverse=True)
        return cls(root, newest, tuple(older))

    @property
    def site(self) -> str:
        return site_of(self.issuing, self.root)

    @property
    def digest(self) -> str:
        """Of the newest authority: what a join token carries."""
        return digest_of(self.issuing)

    @property
    def authorities(self) -> tuple[Certificate, ...]:
        """Those that count, the newest first."""
        return (self.issuing, *self.older)

    def learned(self, authorities: Sequence[Certificate]) -> "Trust":
        """With those of them that count, as somebody of no standing told them. Raises TrustError for another site's."""
        known = {digest_of(one): one for one in self.authorities}
        told = {digest_of(one): one for one in authorities if self.refusal_of_authority(one, "it") is None}
        learned = Trust.by(self.root, list((known | told).values()))
        if learned.site != self.site:
            raise TrustError(f"the authority is of the site `{learned.site}`, this is `{self.site}`")
        return learned._replace(retired=self.retired)

    def judge(self, data: bytes, now_s: float, *, grace_s: float = 0) -> NodeCertificate | Refusal:
        """data: PEM or DER, the node's certificate first. grace_s: how long after its end it still counts."""
        try:
            chain = certificates_of(data)
            authority = self.authority_of(chain)
            node = read_node_certificate(chain[0], authority)
        except TrustError as error:
            return Refusal(
                Reason.FOREIGN, error.message, f"nodes of `{self.site}` were issued by its own authority: join the site"
            )
        if refusal := self.refusal_of_authority(authority, f"the certificate of `{node.name}`"):
            return refusal
        if now_s > node.expires_at_s + grace_s:
            days = (now_s - node.expires_at_s) / DAY_S
            return Refusal(
                Reason.EXPIRED,
                f"the certificate of `{node.name}` ended {days:.1f} days ago",
                "renew it at an issuer: `littoral mesh renew`",
            )
        return node

    def authority_of(self, chain: Sequence[Certificate]) -> Certificate:
        """What issued the first one: a known authority, or the second one, whether it counts or not.
        Raises TrustError for none, and for a second one that is no authority of this site.
        """
        brought = chain[1:2]
        if brought and site_of(brought[0], self.root) != self.site:
            raise TrustError(f"`{brought[0].subject.rfc4514_string()}` is not an authority of `{self.site}`")
        for authority in (*self.authorities, *self.retired, *brought):
            if was_issued_by(chain[0], authority):
                return authority
        raise TrustError(f"`{chain[0].subject.rfc4514_string()}` was not issued by the site")

    def refusal_of_authority(self, authority: Certificate, what: str) -> Refusal | None:
        """Why what it signed does not count. what: that. None: it does."""
        if issued_at_s(authority) >= issued_at_s(self.authorities[-1]):
            return None
        return Refusal(
            Reason.RETIRED,
            f"{what} is by an authority that `{self.site}` has retired: {digest_of(authority)[:16]}…",
            "join again: `littoral mesh token … --replace` on the writer, `littoral mesh join … --replace` on the node",
        )
