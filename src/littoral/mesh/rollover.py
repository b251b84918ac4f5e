"""From one authority of a site to the next, as the roster says it: both count until the change is finished.

While it is on its way, a node that trusts the old authority only takes what the new one issues by its cross-signature.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from littoral.errors import TrustError
from littoral.mesh.trust.certificates import NAME_PATTERN, Certificate, certificates_of, issued_at_s
from littoral.mesh.trust.chain import Trust

__all__ = ["OLD_COUNT_MAX", "WITHIN_S_MAX", "Rollover", "trust_by"]

OLD_COUNT_MAX = 3
WITHIN_S_MAX = 30 * 86400

Pem = Annotated[str, Meta(max_length=4096)]
Second = Annotated[int, Meta(ge=0)]


class Rollover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """new, old: issuing certificates. cross: the key of `new`, signed by `old[0]`.

    within_s: nodes renew, each at a time of its own, within so long of the beginning. finished_at_s: from then on only
    `new` counts; 0: on its way. without: nodes that were left behind.
    """

    new: Pem
    old: Annotated[list[Pem], Meta(min_length=1, max_length=OLD_COUNT_MAX)]
    cross: Pem
    begun_at_s: Second
    within_s: Annotated[int, Meta(ge=0, le=WITHIN_S_MAX)]
    finished_at_s: Second = 0
    without: Annotated[list[Annotated[str, Meta(pattern=NAME_PATTERN)]], Meta(max_length=4096)] = []

    @property
    def is_finished(self) -> bool:
        return self.finished_at_s > 0

    def renew_from_s(self, share: float) -> float:
        """When a node is to renew. share: 0 … 1, its own."""
        return self.begun_at_s + self.within_s * share


def trust_by(rollover: Rollover, trust: Trust) -> Trust:
    """What a node trusts that has heard of it; never an authority that it trusts no longer, nor fewer than one.

    Raises TrustError for an authority that the root has not signed for this site.
    """
    new, old = _certificate(rollover.new), [_certificate(pem) for pem in rollover.old]
    named = Trust.by(trust.root, [new, *old])
    if named.site != trust.site or named.issuing != new:
        raise TrustError(f"the roster names authorities that are not of `{trust.site}`, or not in their order")
    if issued_at_s(new) < issued_at_s(trust.issuing):
        return trust
    since_s = issued_at_s(trust.authorities[-1])
    count = [new] if rollover.is_finished else [one for one in named.authorities if issued_at_s(one) >= since_s]
    retired = tuple(one for one in named.authorities if one not in count)
    return Trust(trust.root, count[0], tuple(count[1:]), retired)


def _certificate(pem: str) -> Certificate:
    return certificates_of(pem.encode())[0]
