"""Nodes of a site in one process that speak at once or not at all: over links that judge certificates as TLS does."""

import random
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

from littoral.errors import LittoralError, PeerError
from littoral.mesh.identity.identity import Identity
from littoral.mesh.keeper import Keeper
from littoral.mesh.trust.certificates import (
    Certificate,
    certificates_of,
    expires_at_s,
    node_of_common_name,
    was_issued_by,
)
from littoral.transport import Handler, OnLiveness, OnMessage, Reply
from littoral.transport.fake import BODY_BYTES_MAX
from littoral.transport.traffic import Traffic
from mesh_site import DAY_S, MovedClock, joined

__all__ = ["Links", "Node", "Town", "certificates_in"]


class Links:
    """A node's end. It shows and trusts what the files held when links were made last, as Zenoh does."""

    def __init__(self, town: "Town", identity: Identity) -> None:
        self.name = identity.name
        self.body_bytes_max = BODY_BYTES_MAX
        self.traffic = Traffic()
        roster = identity.roster()
        self.peers = frozenset(roster.names if roster else []) - {self.name}
        self.relinked = 0
        self._town = town
        self._anchors_file = identity.anchors_file
        self._services: dict[str, Handler] = {}
        self._topics: dict[str, OnMessage] = {}
        self._watchers: list[OnLiveness] = []
        self._link(identity.credential_file)

    def _link(self, certificate: Path) -> None:
        self.anchors = certificates_of(self._anchors_file.read_bytes())
        self.shown = certificates_in(certificate)
        self.relinked += 1

    async def admit(self, peers: Mapping[str, str | None], generations: Mapping[str, int]) -> None:
        assert not generations
        if self.peers != (named := frozenset(peers)):
            self.peers = named
            self._link(self._anchors_file.with_name("node.pem"))

    async def renew(self, certificate: Path, key: Path) -> None:
        assert certificate == key
        self._link(certificate)

    def reaches(self, peer: str) -> bool:
        other = self._town.nodes.get(peer)
        if other is None or peer in self._town.away or self.name in self._town.away:
            return False
        return self._takes(other.links) and other.links._takes(self)

    def _takes(self, other: "Links") -> bool:
        leaf, *more = other.shown
        ends_s = self._town.clock.wall()
        issuers = [one for one in more if any(was_issued_by(one, anchor) for anchor in self.anchors)]
        issued = any(was_issued_by(leaf, issuer) for issuer in [*self.anchors, *issuers])
        name, _ = node_of_common_name(str(leaf.subject.rfc4514_string()).removeprefix("CN="))
        return issued and expires_at_s(leaf) >= ends_s and name in self.peers

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        assert deadline_s > 0
        if not self.reaches(peer):
            raise PeerError(f"peer `{peer}`: no way to it")
        handler = self._town.nodes[peer].links._services.get(service)
        if handler is None:
            raise PeerError(f"peer `{peer}`: no service `{service}`")
        return await handler(self.name, body)

    async def fan_out(
        self, peers: Iterable[str], service: str, body: bytes, *, deadline_s: float
    ) -> AsyncIterator[Reply]:
        for peer in peers:
            try:
                yield Reply(peer, await self.request(peer, service, body, deadline_s=deadline_s), None)
            except LittoralError as error:
                yield Reply(peer, None, error)

    async def publish(self, topic: str, body: bytes) -> None:
        for peer, node in self._town.nodes.items():
            if peer != self.name and self.reaches(peer) and topic in node.links._topics:
                node.links._topics[topic](self.name, topic, body)

    async def serve(self, service: str, handler: Handler) -> None:
        self._services[service] = handler

    async def subscribe(self, topic: str, on_message: OnMessage) -> None:
        self._topics[topic] = on_message

    def alive(self) -> frozenset[str]:
        return frozenset(name for name in self._town.nodes if name == self.name or self.reaches(name))

    def watch(self, on_liveness: OnLiveness) -> None:
        self._watchers.append(on_liveness)

    def notice(self, name: str) -> None:
        """It came back."""
        for on_liveness in self._watchers:
            on_liveness(name, True)

    async def close(self) -> None:
        pass


class Node:
    """One that runs; `said`: by its keeper."""

    def __init__(self, town: "Town", identity: Identity) -> None:
        self.identity = identity
        self.links = Links(town, identity)
        self.said: list[str] = []
        self.keeper = Keeper(
            identity, self.links, protocol="quic", told=lambda _: None, say=self.said.append, rng=random.Random(7)
        )

    async def start(self) -> "Node":
        await self.keeper.start()
        return self


class Town:
    """A site by one clock. away: nodes that are off."""

    def __init__(self, folder: Path, clock: MovedClock) -> None:
        self.folder = folder
        self.clock = clock
        self.nodes: dict[str, Node] = {}
        self.away: set[str] = set()

    async def add(self, identity: Identity) -> Node:
        node = self.nodes[identity.name] = await Node(self, identity).start()
        return node

    async def join(self, name: str, *, is_issuer: bool = False) -> Node:
        """At the door of gw-1."""
        identity = await joined(self.folder, self["gw-1"], name, self.clock, is_issuer=is_issuer)
        return await self.add(identity)

    async def restart(self, name: str) -> Node:
        """What the process knew is gone, what is on its disk is not."""
        return await self.add(Identity.open(self.folder / name, self.clock))

    def return_all(self) -> None:
        """Who was away is on again, and those who reach it hear of that."""
        self.away.clear()
        for one in self.nodes.values():
            for other in self.nodes:
                if one.links.reaches(other):
                    one.links.notice(other)

    def __getitem__(self, name: str) -> Identity:
        return self.nodes[name].identity

    @property
    def here(self) -> list[str]:
        return [name for name in self.nodes if name not in self.away]

    async def rounds(self, count: int = 3, *, pass_s: float = 5.0) -> None:
        """Of every node that is here, with so much time between two."""
        for _ in range(count):
            for name in self.here:
                await self.nodes[name].keeper.tick()
            self.clock.move(pass_s)

    async def days(self, count: int) -> None:
        for _ in range(count):
            await self.rounds(1, pass_s=DAY_S)

    def cut_off(self) -> set[tuple[str, str]]:
        """Pairs of nodes that are here and do not reach each other."""
        return {
            (one, other) for one in self.here for other in self.here if one < other and not self._joined(one, other)
        }

    def _joined(self, one: str, other: str) -> bool:
        return self.nodes[one].links.reaches(other)


def certificates_in(file: Path) -> list[Certificate]:
    """Of a file that has a key before them."""
    pem = file.read_bytes()
    return certificates_of(pem[pem.find(b"-----BEGIN CERTIFICATE") :])
