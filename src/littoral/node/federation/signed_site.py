"""Roster and shard map of a site whose nodes have identities: documents that one node signs and every node verifies."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from littoral.errors import ForbiddenError, TrustError
from littoral.mesh.shard_map import ShardMap, decode_map, encode_map

if TYPE_CHECKING:
    from littoral.mesh.identity.identity import Identity
    from littoral.mesh.identity.rollover import RolloverState
    from littoral.mesh.roster import Roster

__all__ = ["SHARD_MAP", "SignedSite"]

SHARD_MAP = "shard-map"
"""Kind of the document."""


class SignedSite:
    """Of one node. The roster is the truth for who belongs to the site, who may write the map, and where nodes are."""

    def __init__(self, identity: "Identity") -> None:
        self._identity = identity
        self._regions: tuple[Roster | None, Mapping[str, str]] = (None, {})

    def roster(self, *, without: str | None = None) -> Mapping[str, str] | None:
        """Regions by node, the same object while the roster is the same; None while this node has none.

        without: a node that does not belong to the site, the same each time.
        """
        if (roster := self._identity.roster()) is None:
            return None
        if roster is not self._regions[0]:
            self._regions = (roster, {node.name: node.region for node in roster.nodes if node.name != without})
        return self._regions[1]

    @property
    def writer(self) -> str | None:
        """Who writes documents; None while this node has no roster."""
        roster = self._identity.roster()
        return None if roster is None else roster.writer

    def rollover(self) -> "RolloverState | None":
        """A change of the site's authority that is on its way."""
        from littoral.mesh.identity.rollover import rollover_state

        state = rollover_state(self._identity)
        return None if state is None or state.rollover.is_finished else state

    @property
    def authorities(self) -> list[str]:
        """SHA-256 of those that count, the newest first."""
        from littoral.mesh.trust.certificates import digest_of

        return [digest_of(authority) for authority in self._identity.trust.authorities]

    def map(self) -> ShardMap | None:
        """The latest that is here and verified. Its number is that of its document. Raises InputError."""
        document = self._identity.documents.current(SHARD_MAP)
        if document is None:
            return None
        return msgspec.structs.replace(decode_map(document.content), number=document.number)

    def signed_map(self) -> bytes | None:
        """As it travels."""
        return self._identity.documents.signed(SHARD_MAP)

    def take(self, signed: bytes) -> ShardMap | None:
        """One that came from a peer; None where it is no newer. Raises TrustError, InputError, ConflictError."""
        document = self._identity.documents.opened(signed)
        if document.kind != SHARD_MAP:
            raise TrustError(f"document of kind `{document.kind}`, expected `{SHARD_MAP}`")
        decode_map(document.content)
        return self.map() if self._identity.documents.take(signed) else None

    def write(self, shard_map: ShardMap) -> ShardMap:
        """As the writer: signed, one number on. Raises ForbiddenError on another node."""
        from littoral.mesh.identity.issuer import Issuer

        Issuer(self._identity).write_document(SHARD_MAP, encode_map(shard_map))
        written = self.map()
        if written is None:
            raise ForbiddenError(f"node `{self._identity.name}` has written no shard map")
        return written
