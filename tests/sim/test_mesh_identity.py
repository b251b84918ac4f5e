"""A site by itself for months, power cuts, dead issuers, machines in 1970: certificates by a simulated clock."""

import random
from pathlib import Path

import pytest

from littoral.errors import ForbiddenError, PeerError, TrustError
from littoral.mesh.identity.due import renew_from_s
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import LIFE_S, Issuer
from littoral.mesh.identity.messages import RENEW, SHARE_KEY, Proven, decoded, prove
from littoral.mesh.identity.renewal import Renewal
from littoral.mesh.trust.certificates import NodeCertificate, make_request
from littoral.mesh.trust.keys import new_node_key
from mesh_site import DAY_S, MovedClock, found, joined

TICK_S = DAY_S


class Island:
    """Nodes that ask each other directly, with a machine clock each; those in `dead` do not answer and do not tick."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.clocks: dict[str, MovedClock] = {}
        self.nodes: dict[str, Identity] = {}
        self.renewals: dict[str, Renewal] = {}
        self.dead: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    def add(self, identity: Identity, clock: MovedClock) -> None:
        name = identity.name
        self.clocks[name], self.nodes[name] = clock, identity

        async def ask(peer: str, service: str, body: bytes) -> bytes:
            return self.answer(name, peer, service, body)

        self.renewals[name] = Renewal(identity, ask, random.Random(self.rng.random()))

    def answer(self, caller: str, peer: str, service: str, body: bytes) -> bytes:
        import msgspec

        self.asked.append((caller, peer))
        if peer in self.dead:
            raise PeerError(f"peer `{peer}`: no answer")
        issuer, proof = Issuer(self.nodes[peer]), decoded(body, Proven, 1 << 20)
        served = {RENEW: issuer.renew, SHARE_KEY: issuer.share_key}[service]
        return msgspec.json.encode(served(proof, caller=caller))

    async def run(self, days: float) -> None:
        """Every living node ticks once a day, and everybody is believed by everybody."""
        for _ in range(int(days * DAY_S / TICK_S)):
            for clock in self.clocks.values():
                clock.move(TICK_S)
            for name in self.living:
                await self.renewals[name].tick()
            self.check()

    @property
    def living(self) -> list[str]:
        return [name for name in self.nodes if name not in self.dead]

    def check(self) -> None:
        for name in self.living:
            judge = self.nodes[name]
            for other in self.living:
                judged = judge.trust.judge(self.nodes[other].credential.chain, judge.clock.wall())
                assert isinstance(judged, NodeCertificate), f"{name} on {other}: {judged}"

    def restart(self, name: str, wall_s: float) -> None:
        """The machine starts, with this time on its clock."""
        clock = MovedClock(wall_s=wall_s)
        self.add(Identity.open(self.folder / name, clock), clock)


@pytest.fixture(params=range(2))
async def island(tmp_path: Path, request: pytest.FixtureRequest) -> Island:
    """gw-1 writes and issues, gw-2 issues, gw-3 and gw-4 do neither."""
    clock = MovedClock()
    founder = found(tmp_path, clock)
    site = Island(tmp_path, request.param)
    site.add(founder, clock)
    for name in ("gw-2", "gw-3", "gw-4"):
        own = MovedClock()
        site.add(await joined(tmp_path, founder, name, own, is_issuer=name == "gw-2"), own)
    for identity in site.nodes.values():
        identity.documents.take(founder.documents.signed("roster") or b"")
    return site


async def test_ninety_days_offline_with_the_second_issuer(island: Island) -> None:
    """The first dies at once and its certificate ends; it comes back by the other's word."""
    island.dead.add("gw-1")
    await island.run(90)
    assert {name: island.renewals[name].state.renewed_count for name in island.living} == {
        "gw-2": 4,
        "gw-3": 4,
        "gw-4": 4,
    }
    island.dead.clear()
    first = island.nodes["gw-1"]
    judged = island.nodes["gw-3"].trust.judge(first.credential.chain, island.nodes["gw-3"].clock.wall())
    assert "ended 60.0 days ago" in str(judged)
    assert await island.renewals["gw-1"].tick()
    island.check()


async def test_a_site_without_any_issuer_says_so_and_goes_on_when_one_is_back(island: Island) -> None:
    island.dead |= {"gw-1", "gw-2"}
    for _ in range(25):
        for clock in island.clocks.values():
            clock.move(TICK_S)
        for name in island.living:
            assert not await island.renewals[name].tick()
    assert "gw-1: peer `gw-1`: no answer" in island.renewals["gw-3"].state.failure
    island.dead = {"gw-1"}
    await island.run(2)
    assert island.renewals["gw-3"].state.failure == ""


async def test_a_power_cut_and_nobody_knows_the_time(island: Island) -> None:
    """After ten days all machines start in 1970: the site's time goes on, and so do renewals."""
    await island.run(10)
    before_s = island.nodes["gw-3"].clock.wall()
    for name in island.nodes:
        island.restart(name, wall_s=12.0)
    assert island.nodes["gw-3"].clock.wall() >= before_s - TICK_S
    await island.run(25)
    assert {renewal.state.renewed_count for renewal in island.renewals.values()} == {1}


async def test_one_that_lost_its_time_learns_it_from_what_is_signed(island: Island) -> None:
    """It was off for 40 days, its clock file is gone, and its machine is in 1970: an issuer's word brings it back."""
    island.dead.add("gw-4")
    await island.run(40)
    island.dead.clear()
    (island.folder / "gw-4" / "mesh" / "clock").unlink()
    island.restart("gw-4", wall_s=0.0)
    node = island.nodes["gw-4"]
    assert node.clock.wall() < island.nodes["gw-1"].clock.wall() - 30 * DAY_S
    request = make_request("gw-4", key := new_node_key())
    answer = Issuer(island.nodes["gw-1"]).renew(prove(node.credential, RENEW, request))
    node.renew(answer.chain, key)
    assert node.clock.wall() == pytest.approx(island.nodes["gw-1"].clock.wall(), abs=2)
    island.check()


async def test_a_machine_without_a_time_joins(island: Island, tmp_path: Path) -> None:
    node = await joined(tmp_path, island.nodes["gw-1"], "gw-5", MovedClock(wall_s=0.0))
    assert node.clock.wall() == pytest.approx(island.nodes["gw-1"].clock.wall(), abs=2)
    assert node.credential.certificate.expires_at_s == pytest.approx(node.clock.wall() + LIFE_S, abs=2)


async def test_a_revoked_node_renews_nowhere_that_knows_of_it(island: Island) -> None:
    writer = island.nodes["gw-1"]
    Issuer(writer).write(lambda roster: roster.without("gw-4", writer.clock.wall()))
    island.nodes["gw-2"].documents.take(writer.documents.signed("roster") or b"")
    for _ in range(25):
        for clock in island.clocks.values():
            clock.move(TICK_S)
        assert not await island.renewals["gw-4"].tick()
    assert "node `gw-4` was revoked" in island.renewals["gw-4"].state.failure


async def test_a_revoked_certificate_renews_no_more(island: Island) -> None:
    node, writer = island.nodes["gw-4"], island.nodes["gw-1"]
    Issuer(writer).write(lambda roster: roster.without_serial(node.credential.certificate.serial))
    with pytest.raises(TrustError, match=r"certificate [0-9a-f]+ of `gw-4` was revoked"):
        Issuer(writer).renew(prove(node.credential, RENEW, make_request("gw-4", new_node_key())))


async def test_a_node_whose_other_certificate_was_revoked_renews_the_one_it_has(island: Island) -> None:
    """At once, without a command there."""
    node, writer = island.nodes["gw-4"], island.nodes["gw-1"]
    stolen = node.credential
    Issuer(writer).write(lambda roster: roster)
    answer = Issuer(writer).renew(prove(stolen, RENEW, make_request("gw-4", key := new_node_key())))
    node.renew(answer.chain, key)
    Issuer(writer).write(lambda roster: roster.without_certificate("gw-4", stolen.certificate.serial))
    for name in ("gw-2", "gw-3", "gw-4"):
        island.nodes[name].documents.take(writer.documents.signed("roster") or b"")
    roster = node.roster()
    assert roster is not None
    assert "generation 0" in str(roster.refusal_of(node.credential.certificate))
    for name in ("gw-1", "gw-2"):
        with pytest.raises(TrustError, match=r"certificate [0-9a-f]+ of `gw-4` was revoked"):
            Issuer(island.nodes[name]).renew(prove(stolen, RENEW, make_request("gw-4", new_node_key())))
    assert await island.renewals["gw-4"].tick()
    assert node.credential.certificate.generation == 1
    assert roster.refusal_of(node.credential.certificate) is None


async def test_a_name_is_not_anothers_to_renew(island: Island) -> None:
    node, issuer = island.nodes["gw-4"], Issuer(island.nodes["gw-1"])
    with pytest.raises(ForbiddenError, match=r"`gw-4` asks for a certificate of `gw-3`"):
        issuer.renew(prove(node.credential, RENEW, make_request("gw-3", new_node_key())))
    proof = prove(node.credential, RENEW, make_request("gw-4", new_node_key()))
    with pytest.raises(TrustError, match=r"`gw-3` shows the certificate of `gw-4`"):
        issuer.renew(proof, caller="gw-3")
    with pytest.raises(TrustError, match="does not match"):
        issuer.renew(prove(node.credential, SHARE_KEY, proof.content))


async def test_a_machine_that_was_replaced_renews_with_its_old_key_no_more(island: Island, tmp_path: Path) -> None:
    from littoral.mesh.identity.asking import join_site
    from littoral.mesh.identity.tokens import Grant
    from mesh_site import opened

    old, writer = island.nodes["gw-4"], island.nodes["gw-1"]
    await island.run(1)
    token = Issuer(writer).make_token(Grant("gw-4", "", int(writer.clock.wall()) + 60), replace=True)
    async with opened(writer) as door:
        await join_site(tmp_path / "new", door.host, door.port, token, "gw-4", island.clocks["gw-4"])
    with pytest.raises(TrustError, match="was revoked"):
        Issuer(writer).renew(prove(old.credential, RENEW, make_request("gw-4", new_node_key())))


async def test_a_certificate_that_ended_more_than_a_year_ago_is_not_renewed(island: Island) -> None:
    old = island.nodes["gw-4"].credential
    island.dead.add("gw-4")
    for clock in island.clocks.values():
        clock.move(LIFE_S + 365 * DAY_S + 1)
    with pytest.raises(TrustError, match="ended 365"):
        Issuer(island.nodes["gw-1"]).renew(prove(old, RENEW, make_request("gw-4", new_node_key())))


async def test_a_node_that_the_roster_makes_an_issuer_fetches_the_key(island: Island) -> None:
    import msgspec

    writer, node = island.nodes["gw-1"], island.nodes["gw-3"]
    with pytest.raises(ForbiddenError, match="does not make `gw-3` an issuer"):
        Issuer(writer).share_key(prove(node.credential, SHARE_KEY, b""))

    def promote(roster):
        found_node = roster.find("gw-3")
        return roster.with_node(msgspec.structs.replace(found_node, is_issuer=True))

    Issuer(writer).write(promote)
    node.documents.take(writer.documents.signed("roster") or b"")
    await island.run(1)
    assert node.issuing_key() is not None


def test_a_sites_renewals_are_spread() -> None:
    certificate = NodeCertificate("gw-1", "1", 0, int(LIFE_S), None)  # type: ignore[arg-type]
    assert renew_from_s(certificate, 0.0) == pytest.approx(20 * DAY_S)
    assert renew_from_s(certificate, 1.0) == pytest.approx(21.5 * DAY_S)


async def test_what_an_issuer_answers_is_not_believed_blindly(island: Island, tmp_path: Path) -> None:
    """An answer of another site, or of another name, changes nothing."""
    import msgspec

    from littoral.mesh.identity.messages import RenewAnswer

    other = found(tmp_path / "other", MovedClock(), site="other")
    node = island.nodes["gw-4"]
    chains = [other.credential.chain, island.nodes["gw-3"].credential.chain, b"", b"-----BEGIN CERTIFICATE-----"]
    for clock in island.clocks.values():
        clock.move(25 * DAY_S)
    for chain in chains:

        async def lie(_peer: str, _service: str, _body: bytes, chain: bytes = chain) -> bytes:
            return msgspec.json.encode(RenewAnswer(chain, b""))

        before = node.credential_file.read_bytes()
        renewal = Renewal(node, lie, random.Random(0))
        assert not await renewal.tick()
        assert renewal.state.failure
        assert node.credential_file.read_bytes() == before
