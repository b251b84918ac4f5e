"""What keeps a running node in its site: who is let in follows the roster, documents come along, certificates renew."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from littoral.mesh.document_sync import DocumentSync
from littoral.mesh.documents import Document
from littoral.mesh.identity.admission import Admission, GuardedTransport
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.renewal import Renewal, asking, serve_renewals
from littoral.mesh.identity.showing import Witness, serve_showing
from littoral.mesh.roster import Roster, RosterNode, split_endpoint
from littoral.mesh.trust.certificates import digest_of
from littoral.telemetry import Endured
from littoral.transport import Transport

__all__ = ["Keeper", "Links", "generations_of", "peers_of"]

TICK_S = 5.0
ANNOUNCE_TICKS = 60

Say = Callable[[str], None]


class Links(Transport, Protocol):
    """A transport whose peers and certificate change while it runs: then its links are made anew."""

    async def admit(self, peers: Mapping[str, str | None], generations: Mapping[str, int]) -> None: ...

    async def renew(self, certificate: Path, key: Path) -> None: ...


def peers_of(
    roster: Roster, name: str, protocol: str, places: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """The others, with HOST:PORT where this protocol reaches them; None: it must reach this node by itself.

    places: what is to be taken before the roster's word, by name.
    """
    known = places or {}
    return {
        node.name: known.get(node.name) or next(_addresses(node, protocol), None)
        for node in roster.nodes
        if node.name != name
    }


def generations_of(roster: Roster, name: str) -> dict[str, int]:
    """Of the others: those of which a certificate was revoked, and how often."""
    return {node.name: node.generation for node in roster.nodes if node.name != name and node.generation}


class Keeper:
    """For one node. `transport` is what the rest of the node speaks over. `start` it, then `run` it as a task.

    protocol: `quic` or `tls`. places: addresses of other nodes as this machine knows them, before the roster's.
    told: called with each document that was taken, in the event loop; renewed: when there is another certificate.
    """

    def __init__(
        self,
        identity: Identity,
        links: Links,
        *,
        protocol: str,
        told: Callable[[Document], None],
        say: Say,
        rng: random.Random,
        places: Mapping[str, str] | None = None,
        renewed: Callable[[], None] = lambda: None,
    ) -> None:
        self.identity = identity
        self.admission = Admission(identity)
        self.transport = GuardedTransport(links, self.admission)
        self.documents = DocumentSync(identity.documents, self.transport, told)
        self.renewal = Renewal(identity, asking(self.transport), rng)
        self._witness = Witness(identity, self.transport)
        self._links = links
        self._protocol = protocol
        self._say = say
        self._places = places
        self._renewed = renewed
        self._announced: dict[str, int] = {}
        self._tick_count = 0
        self._is_linked = True

    async def start(self) -> None:
        """Answers the others' requests for renewals and documents. Raises ConflictError for a second time."""
        await serve_renewals(self.identity, self.transport)
        await serve_showing(self.identity, self.transport)
        await self.documents.start()

    async def run(self) -> None:
        """Until it is cancelled. What fails in a round is said, and tried again in the next."""
        endured = Endured(self._say)
        while True:
            with endured.round("mesh: identity"):
                await self.tick()
            await asyncio.sleep(TICK_S)

    async def tick(self) -> None:
        """One round: documents, who is let in, the certificate. Raises OSError and NodeError of the disk."""
        self.identity.documents.refresh()
        if self.documents.is_behind and not await self.documents.pull_heard():
            self._say(f"mesh: documents: {self.documents.failure}")
        if self.identity.follow():
            self._is_linked = False
            self._say(f"mesh: authorities: {', '.join(digest_of(one)[:16] for one in self.identity.trust.authorities)}")
        if (roster := self.identity.roster()) is not None:
            peers = peers_of(roster, self.identity.name, self._protocol, self._places)
            await self._relink(self._links.admit(peers, generations_of(roster, self.identity.name)))
        if await self.renewal.tick():
            self._is_linked = False
            self._renewed()
            self._say(f"mesh: the certificate of `{self.identity.name}` was renewed")
        if not self._is_linked:
            file = self.identity.credential_file
            await self._links.renew(file, file)
            self._is_linked = True
        for name in await self._witness.tick():
            self._say(f"mesh: `{name}` has shown a certificate by the new authority")
        await self._announce()

    async def _relink(self, change: Awaitable[None]) -> None:
        """What fails leaves no links, so the next round makes them anew."""
        self._is_linked, was_linked = False, self._is_linked
        await change
        self._is_linked = was_linked

    async def _announce(self) -> None:
        """After a change, for those who came or are behind, and now and then: an announcement may be lost."""
        numbers = self.identity.documents.numbers()
        if numbers != self._announced or self.documents.is_ahead or self._tick_count % ANNOUNCE_TICKS == 0:
            await self.documents.announce()
        self._announced = numbers
        self._tick_count += 1


def _addresses(node: RosterNode, protocol: str) -> Iterator[str]:
    for endpoint in node.endpoints:
        spoken, host, port = split_endpoint(endpoint)
        if spoken == protocol:
            yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
