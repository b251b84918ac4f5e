"""Whether a certificate is a node's of this site, and why not: pure, by the time that the caller gives."""

from enum import StrEnum
from typing import NamedTuple

from littoral.errors import TrustError
from littoral.mesh.trust.certificates import (
    Certificate,
    NodeCertificate,
    certificates_of,
    digest_of,
    read_node_certificate,
    site_of,
)

__all__ = ["Reason", "Refusal", "Trust"]

DAY_S = 86400


class Reason(StrEnum):
    """Why a node is refused; the label of the metric."""

    FOREIGN = "foreign"
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
    """A site's root and the certificate that its nodes' are issued with."""

    root: Certificate
    issuing: Certificate

    @classmethod
    def of(cls, root_pem: bytes, issuing_pem: bytes) -> "Trust":
        """Raises TrustError unless the root signed the issuing certificate."""
        trust = cls(certificates_of(root_pem)[0], certificates_of(issuing_pem)[0])
        site_of(trust.issuing, trust.root)
        return trust

    @property
    def site(self) -> str:
        return site_of(self.issuing, self.root)

    @property
    def digest(self) -> str:
        """Of the issuing certificate: what a join token carries."""
        return digest_of(self.issuing)

    def judge(self, data: bytes, now_s: float, *, grace_s: float = 0) -> NodeCertificate | Refusal:
        """data: PEM or DER, the node's certificate first. grace_s: how long after its end it still counts."""
        try:
            chain = certificates_of(data)
            node = read_node_certificate(chain[0], self._issuing_of(chain))
        except TrustError as error:
            return Refusal(
                Reason.FOREIGN, error.message, f"nodes of `{self.site}` were issued by its own authority: join the site"
            )
        if now_s > node.expires_at_s + grace_s:
            days = (now_s - node.expires_at_s) / DAY_S
            return Refusal(
                Reason.EXPIRED,
                f"the certificate of `{node.name}` ended {days:.1f} days ago",
                "renew it at an issuer: `littoral mesh renew`",
            )
        return node

    def _issuing_of(self, chain: list[Certificate]) -> Certificate:
        """The one that comes along, if the root signed it for this site; else the one that is known."""
        if len(chain) > 1 and chain[1] != self.issuing and site_of(chain[1], self.root) == self.site:
            return chain[1]
        return self.issuing
