"""The identities of a simulated site's nodes: real certificates, one signed roster, and changes to it as commands make
them, from a process of their own on the machine of the node that writes it.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from random import Random

from littoral.clock import Clock
from littoral.mesh.documents import Document
from littoral.mesh.identity.founding import found_site, new_root
from littoral.mesh.identity.identity import Identity, write_identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.identity.messages import AskJoin
from littoral.mesh.identity.tokens import Grant
from littoral.mesh.keeper import Keeper
from littoral.mesh.roster import ROSTER, Roster
from littoral.mesh.trust.certificates import make_request, pem_of_chain
from littoral.mesh.trust.keys import new_node_key
from littoral.testing.mesh.watched import WatchedTransport
from littoral.transport import Transport

__all__ = ["KeptNode", "SimulatedRoster"]

TOKEN_S = 3600


class SimulatedRoster:
    """folder: of the nodes' data folders. names: who belongs to the site. The first of them writes. regions: by node,
    as the roster says them, and nothing else does in a site that has one.
    """

    def __init__(self, site: str, names: Iterable[str], folder: Path, clock: Clock, regions: Mapping[str, str]) -> None:
        self._folder = folder
        self._clock = clock
        self._regions = regions
        self.writer, *others = names
        self.names = [self.writer]
        region = regions.get(self.writer, "")
        found_site(folder / self.writer, new_root(site, clock), site=site, name=self.writer, clock=clock, region=region)
        for name in others:
            self.join(name)
        roster = self._opened(self.writer).documents.signed(ROSTER)
        assert roster is not None
        for name in others:
            self._opened(name).documents.take(roster)

    def _opened(self, name: str) -> Identity:
        return Identity.open(self._folder / name, self._clock)

    def join(self, name: str) -> None:
        """As through an issuer's door: a token, a request, a certificate and the roster."""
        at, key = self._opened(self.writer), new_node_key()
        issuer = Issuer(at)
        until_s, region = int(self._clock.wall()) + TOKEN_S, self._regions.get(name, "")
        token = issuer.make_token(Grant(name, "", until_s, region=region))
        answer = issuer.join(AskJoin(token.id, token.secret, make_request(name, key), []))
        write_identity(
            self._folder / name,
            root=pem_of_chain([at.trust.root]),
            issuing=pem_of_chain([at.trust.issuing]),
            chain=answer.chain,
            key=key,
            documents={ROSTER: answer.roster},
        )
        self.names.append(name)

    def revoke(self, name: str) -> None:
        """From now on who has the new roster hears nothing of it any more."""
        now_s = self._clock.wall()

        def without(roster: Roster) -> Roster:
            return roster.without(name, now_s)

        Issuer(self._opened(self.writer)).write(without)
        self.names.remove(name)

    def behind(self) -> Iterator[str]:
        """Members on whose disk is another roster than on the writer's, one reason a node."""
        newest = self._opened(self.writer).roster()
        for name in self.names:
            if self._opened(name).roster() != newest:
                yield f"{name}: has an older roster"


class KeptNode:
    """What keeps one node in its site while it lives. transport: on which only members are heard."""

    def __init__(
        self, data: Path, transport: Transport, clock: Clock, *, say: Callable[[str], None], rng: Random
    ) -> None:
        def told(document: Document) -> None:
            say(f"mesh: {document.kind} {document.number}, by `{document.writer}`")

        self.identity = Identity.open(data, clock)
        self._keeper = Keeper(
            self.identity, _Links(transport, _nothing, _nothing), protocol="quic", told=told, say=say, rng=rng
        )
        self.transport = self._keeper.transport
        self._rounds: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._keeper.start()
        self._rounds = asyncio.create_task(self._keeper.run(), name="mesh-keeper")

    async def close(self) -> None:
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)


class _Links(WatchedTransport):
    """Links of a simulated network need no certificates: names are proven there."""

    async def admit(self, _peers: Mapping[str, str | None], _generations: Mapping[str, int]) -> None:
        return

    async def renew(self, _certificate: Path, _key: Path) -> None:
        return


def _nothing(*_: object) -> None:
    return
