"""The keeper of a running node, over a transport that can fail when its links are made anew."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from littoral.errors import NodeError
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.keeper import Keeper, peers_of
from littoral.transport.fake import Network
from littoral.transport.fake_end import FakeTransport
from mesh_site import DAY_S, MovedClock, found, joined


class Relinked(FakeTransport):
    """Notes what it was told; raises as often as `failures` says."""

    def __init__(self, network: Network, name: str) -> None:
        super().__init__(network, name, 1 << 20, None)
        self.peers: list[Mapping[str, str | None]] = []
        self.shown = 0
        self.failures = 0
        self.generations: dict[str, int] = {}

    async def admit(self, peers: Mapping[str, str | None], generations: Mapping[str, int]) -> None:
        self._fail()
        self.generations = dict(generations)
        if not self.peers or self.peers[-1] != peers:
            self.peers.append(peers)

    async def renew(self, certificate: Path, key: Path) -> None:
        assert certificate == key
        self._fail()
        self.shown += 1

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise NodeError("address already in use")


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def founder(tmp_path: Path, clock: MovedClock) -> Identity:
    return found(tmp_path, clock, endpoints=["tls/10.0.0.1:7447"])


@pytest.fixture
async def links() -> Relinked:
    return Relinked(Network(), "gw-1")


@pytest.fixture
def keeper(founder: Identity, links: Relinked) -> Keeper:
    return Keeper(founder, links, protocol="quic", told=lambda _: None, say=lambda _: None, rng=random.Random(0))


async def test_who_is_let_in_follows_the_roster(
    tmp_path: Path, clock: MovedClock, founder: Identity, links: Relinked, keeper: Keeper
) -> None:
    await keeper.tick()
    await joined(tmp_path, founder, "gw-2", clock, endpoints=["tls/10.0.0.2:1", "quic/10.0.0.2:7447"])
    await joined(tmp_path, founder, "gw-3", clock)
    await keeper.tick()
    Issuer(founder).write(lambda roster: roster.without("gw-2", clock.wall()))
    await keeper.tick()
    assert links.peers == [{}, {"gw-2": "10.0.0.2:7447", "gw-3": None}, {"gw-3": None}]


async def test_what_a_command_wrote_is_followed(
    tmp_path: Path, clock: MovedClock, links: Relinked, keeper: Keeper
) -> None:
    """Another process of the node writes the roster."""
    await joined(tmp_path, Identity.open(tmp_path / "gw-1", clock), "gw-2", clock)
    await keeper.tick()
    assert links.peers == [{"gw-2": None}]


async def test_a_renewed_certificate_is_shown(clock: MovedClock, links: Relinked, keeper: Keeper) -> None:
    await keeper.tick()
    assert links.shown == 0
    clock.move(25 * DAY_S)
    await keeper.tick()
    await keeper.tick()
    assert links.shown == 1


@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_links_that_could_not_be_made_are_made_in_a_later_round(
    clock: MovedClock, links: Relinked, keeper: Keeper, failures: int
) -> None:
    await keeper.tick()
    clock.move(25 * DAY_S)
    links.failures = failures
    for _ in range(failures):
        with pytest.raises(NodeError, match="address already in use"):
            await keeper.tick()
    await keeper.tick()
    await keeper.tick()
    assert links.shown == 1


def test_an_address_is_of_the_protocol_that_is_spoken(founder: Identity) -> None:
    roster = founder.roster()
    assert roster is not None
    assert peers_of(roster, "gw-2", "tls") == {"gw-1": "10.0.0.1:7447"}
    assert peers_of(roster, "gw-2", "quic") == {"gw-1": None}
    assert peers_of(roster, "gw-2", "quic", {"gw-1": "10.9.9.9:1", "gw-7": "10.9.9.8:1"}) == {"gw-1": "10.9.9.9:1"}
    assert peers_of(roster, "gw-1", "quic") == {}
