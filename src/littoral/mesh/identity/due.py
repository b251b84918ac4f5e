"""When a node's certificate is to be renewed."""

from littoral.mesh.trust.certificates import NodeCertificate

__all__ = ["renew_from_s"]

RENEW_AT = 2 / 3
SPREAD = 0.05


def renew_from_s(certificate: NodeCertificate, share: float) -> float:
    """By its age, in Unix time. share: 0 … 1, the node's own, so that a site's nodes do not come all at once."""
    life_s = certificate.expires_at_s - certificate.issued_at_s
    return certificate.issued_at_s + life_s * (RENEW_AT + SPREAD * share)
