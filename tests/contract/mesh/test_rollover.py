"""A site goes over to another authority: nobody is cut off while it does, and the old one is good for nothing after."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from littoral.artifact.model import write_atomically
from littoral.errors import ConflictError, ForbiddenError, NotFoundError, PeerError, TrustError
from littoral.mesh import documents
from littoral.mesh.doctor import Status, examine_node
from littoral.mesh.documents import Document, sign_document
from littoral.mesh.identity import identity, issuing_keys
from littoral.mesh.identity.asking import join_site, renew_at
from littoral.mesh.identity.founding import Root, new_root
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import LIFE_S, Issuer
from littoral.mesh.identity.issuing_keys import Signing
from littoral.mesh.identity.messages import RENEW, Proven, prove
from littoral.mesh.identity.rollover import begin_rollover, finish_rollover, rollover_state
from littoral.mesh.identity.tokens import Grant
from littoral.mesh.roster import ROSTER
from littoral.mesh.trust.certificates import issue, make_cross, make_request, pem_of_chain, read_request
from littoral.mesh.trust.chain import Reason, Refusal
from littoral.mesh.trust.keys import new_issuing_key, new_node_key, pem_of, sign
from mesh_site import DAY_S, MovedClock, found, opened, token_for
from rollover_site import Town, certificates_in

EVERYBODY = ["gw-1", "gw-2", "gw-3"]


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def root(clock: MovedClock) -> Root:
    return new_root("farm", clock)


@pytest.fixture
async def town(tmp_path: Path, clock: MovedClock, root: Root) -> Town:
    """gw-1 writes and issues, gw-2 issues, gw-3 does neither; each has what the site wrote."""
    town = Town(tmp_path, clock)
    await town.add(found(tmp_path, clock, root=root))
    await town.join("gw-2", is_issuer=True)
    await town.join("gw-3")
    await town.rounds()
    Issuer(town["gw-1"]).write_document("shard-map", b"map")
    await town.rounds()
    assert town.cut_off() == set()
    return town


def by_command(town: Town, name: str) -> Identity:
    """As a command opens it beside the node that runs."""
    return Identity.open(town.folder / name, town.clock)


def begun(town: Town, root: Root, *, within_s: int = 0) -> Signing:
    """The authority that was."""
    before = town["gw-1"].signing()
    assert before is not None
    begin_rollover(by_command(town, "gw-1"), root, within_s=within_s)
    return before


def waiting(town: Town) -> list[str]:
    state = rollover_state(by_command(town, "gw-1"))
    assert state is not None
    return state.waiting


async def test_a_site_goes_over_and_nobody_is_cut_off(town: Town, root: Root) -> None:
    old = begun(town, root)
    for _ in range(6):
        for name in EVERYBODY:
            await town.nodes[name].keeper.tick()
            assert town.cut_off() == set()
        town.clock.move(5)
    assert waiting(town) == []
    finish_rollover(by_command(town, "gw-1"))
    for _ in range(3):
        for name in EVERYBODY:
            await town.nodes[name].keeper.tick()
            assert town.cut_off() == set()
    for name in EVERYBODY:
        assert town[name].trust.authorities == town["gw-1"].trust.authorities != (old.authority,)
        assert certificates_in(town[name].anchors_file) == [town["gw-1"].trust.issuing]
        assert {town[name].documents.signer(kind) for kind in (ROSTER, "shard-map")} == {town[name].trust.issuing}
        assert pem_of(old.key) not in (town[name].folder / "issuing.key").read_bytes() if name != "gw-3" else True
        assert (await town.restart(name)).identity.is_behind is False
    assert (await town.join("gw-4")).identity.trust.authorities == town["gw-1"].trust.authorities


async def test_nodes_renew_within_the_time_that_is_given(town: Town, root: Root) -> None:
    begun(town, root, within_s=int(10 * DAY_S))
    await town.rounds()
    assert waiting(town) == EVERYBODY
    await town.days(11)
    await town.rounds()
    assert waiting(town) == []
    assert {town.nodes[name].keeper.renewal.state.renewed_count for name in EVERYBODY} == {1}


async def test_it_is_not_finished_before_everybody_has_shown(town: Town, root: Root) -> None:
    town.away.add("gw-3")
    begun(town, root)
    with pytest.raises(ConflictError, match=r"not every node has shown .*: `gw-1`, `gw-2`, `gw-3`"):
        finish_rollover(by_command(town, "gw-1"))
    await town.rounds(6)
    with pytest.raises(ConflictError, match=r"by the new authority: `gw-3`") as refused:
        finish_rollover(by_command(town, "gw-1"))
    assert "--without" in str(refused.value.hint)
    with pytest.raises(NotFoundError, match="gw-7"):
        finish_rollover(by_command(town, "gw-1"), without=["gw-7"])
    finish_rollover(by_command(town, "gw-1"), without=["gw-3", "gw-2"])
    state = rollover_state(by_command(town, "gw-1"))
    assert state is not None
    assert (state.rollover.without, state.waiting) == (["gw-3"], [])
    with pytest.raises(ConflictError, match="does not go over"):
        finish_rollover(by_command(town, "gw-1"))


async def test_who_has_shown_counts_when_it_is_away_and_after_a_start(town: Town, root: Root) -> None:
    begun(town, root)
    await town.rounds(6)
    town.away |= {"gw-2", "gw-3"}
    await town.restart("gw-1")
    assert waiting(town) == []
    finish_rollover(by_command(town, "gw-1"))
    await town.rounds()
    town.return_all()
    await town.rounds()
    assert town.cut_off() == set()
    assert len(town["gw-3"].trust.authorities) == 1


async def test_ninety_days_offline_while_it_is_on_its_way(town: Town, root: Root) -> None:
    """The node knows nothing of the new authority, and its certificate ended two months ago: the door lets it in."""
    town.away.add("gw-3")
    begun(town, root)
    await town.rounds(18, pass_s=5 * DAY_S)
    assert waiting(town) == ["gw-3"]
    town.return_all()
    await town.rounds(1)
    assert {pair for pair in town.cut_off() if "gw-3" not in pair} == set()
    assert not town.nodes["gw-3"].links.reaches("gw-1")
    async with opened(town["gw-1"]) as door:
        await renew_at(by_command(town, "gw-3"), door.host, door.port)
    await town.restart("gw-3")
    await town.rounds()
    assert town.cut_off() == set()
    assert waiting(town) == []
    finish_rollover(by_command(town, "gw-1"))


async def test_a_node_that_missed_the_beginning_is_let_in_by_the_cross_signature(town: Town, root: Root) -> None:
    """It trusts the old authority only, and everybody shows the new one's certificates: no command is needed."""
    town.away.add("gw-3")
    begun(town, root)
    await town.days(8)
    assert waiting(town) == ["gw-3"]
    town.return_all()
    await town.restart("gw-3")
    assert town.cut_off() == set()
    await town.rounds(4)
    assert waiting(town) == []


async def test_who_was_left_behind_is_told_so_and_joins_again(town: Town, root: Root) -> None:
    town.away.add("gw-3")
    begun(town, root)
    await town.rounds(6)
    finish_rollover(by_command(town, "gw-1"), without=["gw-3"])
    await town.rounds()
    town.return_all()
    kept = town.folder / "gw-3" / "vectors"
    kept.write_text("kept")
    await town.restart("gw-3")
    await town.rounds()
    assert town.cut_off() == {("gw-1", "gw-3"), ("gw-2", "gw-3")}
    writer = town["gw-1"]
    async with opened(writer) as door:
        with pytest.raises(TrustError, match=r"certificate of `gw-3` is by an authority that `farm` has retired") as no:
            await renew_at(by_command(town, "gw-3"), door.host, door.port)
        assert "mesh join … --replace" in str(no.value.hint)
        assert writer.refused[Reason.RETIRED] == 1
        heard = by_command(town, "gw-3")
        heard.documents.take(writer.documents.signed(ROSTER) or b"")
        heard.follow()
        found_wrong = {finding.check: finding for finding in examine_node(heard, town.clock)}
        assert found_wrong["authority"].status is Status.FAIL
        assert "is by an authority that `farm` has retired" in found_wrong["authority"].message
        grant = Grant("gw-3", "", int(town.clock.wall()) + 60)
        token = Issuer(writer).make_token(grant, replace=True)
        with pytest.raises(ConflictError, match="holds the identity"):
            await join_site(town.folder / "gw-3", door.host, door.port, token, "gw-3", town.clock)
        await join_site(town.folder / "gw-3", door.host, door.port, token, "gw-3", town.clock, replace=True)
    for name in ("gw-1", "gw-2"):
        town.nodes[name].links.peers = frozenset(EVERYBODY)
    again = await town.restart("gw-3")
    assert again.identity.documents.numbers() == {ROSTER: writer.documents.numbers()[ROSTER]}
    assert kept.read_text() == "kept"


def forged(identity: Identity, old: Signing, name: str, *, more: list[Any] | None = None) -> Proven:
    """A request by who has an authority's key, under a node's name."""
    key, now_s = new_node_key(), identity.clock.wall()
    leaf = issue(read_request(make_request(name, key)), old.authority, old.key, now_s=now_s, life_s=LIFE_S)
    chain, request = pem_of_chain([leaf, old.authority, *(more or [])]), make_request(name, new_node_key())
    return Proven(chain, request, sign(key, RENEW, request))


async def gone_over(town: Town, root: Root) -> Signing:
    old = begun(town, root)
    await town.rounds(6)
    finish_rollover(by_command(town, "gw-1"))
    await town.rounds()
    return old


async def test_the_old_key_is_good_for_nothing_afterwards(town: Town, root: Root) -> None:
    cross_of = certificates_in(town["gw-3"].credential_file)
    old = await gone_over(town, root)
    node, issuer = town["gw-3"], Issuer(town["gw-2"])
    assert Issuer(town["gw-2"]).signing().authority == town["gw-1"].trust.issuing
    with pytest.raises(TrustError, match="has retired"):
        issuer.renew(forged(node, old, "gw-3", more=cross_of[2:]))
    judged = node.trust.judge(forged(node, old, "gw-1").chain[: -len(pem_of_chain([old.authority]))], 0)
    assert isinstance(judged, Refusal)
    assert judged.reason is Reason.RETIRED
    thief = Document("farm", ROSTER, 1 << 40, "gw-1", 5, b"mine")
    with pytest.raises(TrustError, match=r"document `roster` 1099511627776 is by an authority that `farm` has retired"):
        node.documents.take(sign_document(thief, old.key, old.authority))
    assert (town["gw-2"].refused[Reason.RETIRED], node.refused[Reason.RETIRED]) == (1, 1)
    told = {reading.labels: reading.value for reading in town.nodes["gw-3"].keeper.admission.readings()}
    assert told["retired",] == 1


async def test_an_authority_that_only_the_old_one_signed_is_none(town: Town, root: Root) -> None:
    """Neither while both count nor afterwards: authorities are the root's to make."""
    old = begun(town, root)
    await town.rounds(1)
    key = new_issuing_key()
    own_root = new_root("farm", town.clock)
    from littoral.mesh.trust.certificates import make_issuing

    mine = make_issuing("farm", key.public_key(), own_root.certificate, own_root.key, town.clock.wall() + 9)
    cross = make_cross(mine, old.authority, old.key)
    for authority in (mine, cross):
        judged = town["gw-3"].trust.judge(forged(town["gw-3"], Signing(authority, key), "gw-3").chain, 0)
        assert isinstance(judged, Refusal)
        assert judged.reason is Reason.FOREIGN
        document = Document("farm", ROSTER, 1 << 30, "gw-1", 5, b"mine")
        with pytest.raises(TrustError, match="was not issued by the site's root"):
            town["gw-3"].documents.take(sign_document(document, key, authority))


async def test_a_roster_of_before_is_not_taken_again(town: Town, root: Root) -> None:
    """Not even where a node has lost its documents."""
    first = town["gw-1"].documents.signed(ROSTER)
    old = begun(town, root)
    during = by_command(town, "gw-1").documents.signed(ROSTER)
    await town.rounds(6)
    finish_rollover(by_command(town, "gw-1"))
    await town.rounds()
    assert first is not None
    assert during is not None
    (town["gw-3"].folder / "documents" / "roster.json").unlink()
    bare = by_command(town, "gw-3")
    assert bare.roster() is None
    with pytest.raises(TrustError, match="has retired"):
        bare.documents.take(first)
    assert bare.documents.take(during)
    assert not bare.follow()
    assert bare.trust.authorities == town["gw-1"].trust.authorities
    assert old.authority not in bare.trust.authorities


async def test_a_key_that_is_nowhere_any_more_is_replaced_by_another(town: Town, root: Root) -> None:
    """The writer dies before another issuer has fetched the new key; the other one takes over, and begins again."""
    begun(town, root)
    for name in ("gw-2", "gw-3"):
        town[name].documents.take(by_command(town, "gw-1").documents.signed(ROSTER) or b"")
    town.away.add("gw-1")
    await town.rounds(3)
    lost = town["gw-2"].trust.issuing
    assert town["gw-2"].is_behind
    assert "has not got the key" in town.nodes["gw-3"].keeper.renewal.state.failure
    Issuer(by_command(town, "gw-2")).take_over()
    with pytest.raises(ConflictError, match="has not got the key of the new authority"):
        finish_rollover(by_command(town, "gw-2"))
    begin_rollover(by_command(town, "gw-2"), root, within_s=0)
    town.clock.move(60)
    await town.rounds(6)
    assert town.cut_off() == set()
    with pytest.raises(ConflictError, match=r"authority: `gw-1` ·"):
        finish_rollover(by_command(town, "gw-2"))
    finish_rollover(by_command(town, "gw-2"), without=["gw-1"])
    await town.rounds()
    assert town["gw-3"].trust.authorities == town["gw-2"].trust.authorities
    assert lost not in town["gw-3"].trust.authorities
    assert town.cut_off() == set()


async def test_a_token_of_before_it_began_is_good(town: Town, root: Root, clock: MovedClock) -> None:
    token = token_for(town["gw-1"], "gw-4")
    begun(town, root)
    await town.rounds(2)
    async with opened(town["gw-1"]) as door:
        node = await join_site(town.folder / "gw-4", door.host, door.port, token, "gw-4", clock)
    assert len(node.trust.authorities) == 2
    assert not node.is_behind
    await town.add(node)
    await town.rounds(3)
    assert town.cut_off() == set()


async def test_who_may_begin_and_with_what(town: Town, root: Root, clock: MovedClock) -> None:
    with pytest.raises(TrustError, match="has not signed the authority of `farm`"):
        begin_rollover(by_command(town, "gw-1"), new_root("farm", clock), within_s=0)
    with pytest.raises(ForbiddenError, match="`gw-1` writes the roster"):
        begin_rollover(by_command(town, "gw-2"), root, within_s=0)
    with pytest.raises(ForbiddenError, match="is not an issuer"):
        begin_rollover(by_command(town, "gw-3"), root, within_s=0)
    with pytest.raises(ConflictError, match="does not go over"):
        finish_rollover(by_command(town, "gw-1"))
    begun(town, root)
    with pytest.raises(ConflictError, match="goes over to another authority already"):
        begin_rollover(by_command(town, "gw-1"), root, within_s=0)


async def test_another_change_follows_the_first(town: Town, root: Root) -> None:
    first = await gone_over(town, root)
    second = await gone_over(town, root)
    assert town.cut_off() == set()
    node = town["gw-3"]
    for old in (first, second):
        judged = node.trust.judge(forged(node, old, "gw-3").chain, 0)
        assert isinstance(judged, Refusal)
        assert judged.reason is Reason.RETIRED


async def test_an_issuer_without_the_new_key_leaves_renewals_to_one_that_has_it(town: Town, root: Root) -> None:
    begun(town, root)
    second = by_command(town, "gw-2")
    second.documents.take(by_command(town, "gw-1").documents.signed(ROSTER) or b"")
    second.follow()
    node, key = town["gw-3"], new_node_key()
    proof = prove(node.credential, RENEW, make_request("gw-3", key))
    with pytest.raises(ForbiddenError, match="`gw-2` has not got the key of the site's new authority yet"):
        Issuer(second).renew(proof)
    town.clock.move(25 * DAY_S)
    node.renew(Issuer(second).renew(proof).chain, key)
    assert not node.is_behind
    second.issuing_keys.take(by_command(town, "gw-1").issuing_keys.pem(second.trust), second.trust)
    answer = Issuer(second).renew(prove(node.credential, RENEW, make_request("gw-3", key := new_node_key())))
    node.renew(answer.chain, key)
    assert node.credential.authority == second.trust.issuing


async def test_nobody_shows_for_another(town: Town, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is another's, not what was shown before, not what is by the old authority."""
    begun(town, root)
    first = town.nodes["gw-1"].links
    answers: list[bytes] = []

    async def replayed(peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        if service != "identity-show":
            raise PeerError("not now")
        return answers[0]

    for peer, body in (("gw-2", bytes(32)), ("gw-3", bytes(32)), ("gw-2", b"")):
        with monkeypatch.context() as patched:
            if body:
                answers[:] = [await first.request(peer, "identity-show", body, deadline_s=1)]
            else:
                answers[:] = [b"{}"]
            patched.setattr(first, "request", replayed)
            await town.nodes["gw-1"].keeper.tick()
        assert waiting(town) == (["gw-1"] if town["gw-1"].is_behind else []) + ["gw-2", "gw-3"]


class Crash(BaseException):
    """The process ends: nothing catches it."""


class Crashing:
    """Writes of identities, and after so many the process ends."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        if self.left == 0:
            raise Crash
        self.left -= 1
        write_atomically(path, data, mode)


async def crashes_after(writes: int, town: Town, step: Callable[[], None], patched: pytest.MonkeyPatch) -> bool:
    """Whether it does, in the step or while the nodes follow it; then they have started again."""
    with patched.context() as patch:
        for module in (documents, identity, issuing_keys):
            patch.setattr(module, "write_atomically", Crashing(writes))
        try:
            step()
            await town.rounds(1)
        except Crash:
            for name in EVERYBODY:
                await town.restart(name)
            return True
    return False


@pytest.mark.parametrize("step", ["begin", "finish"])
async def test_a_crash_at_any_write_is_gone_on_from(
    town: Town, root: Root, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each write of the command, and of every node that follows it."""
    if step == "finish":
        begun(town, root)
        await town.rounds(6)

    def run() -> None:
        state = rollover_state(by_command(town, "gw-1"))
        if state is None:
            begin_rollover(by_command(town, "gw-1"), root, within_s=0)
        elif step == "finish" and not state.rollover.is_finished:
            finish_rollover(by_command(town, "gw-1"))

    writes = 0
    while await crashes_after(writes, town, run, monkeypatch):
        assert town.cut_off() == set()
        writes += 1
    assert writes >= 2
    await town.rounds(6)
    assert town.cut_off() == set()
    if step == "begin":
        assert waiting(town) == []
        finish_rollover(by_command(town, "gw-1"))
        await town.rounds(3)
    for name in EVERYBODY:
        assert town[name].trust.authorities == (town["gw-1"].trust.issuing,)
        assert {town[name].documents.signer(kind) for kind in (ROSTER, "shard-map")} == {town[name].trust.issuing}
    assert town.cut_off() == set()
