"""A new replica's first copy: resumed, checked, and only then there."""

from pathlib import Path

import pytest

from littoral.errors import ForbiddenError, InputError, NotFoundError, TrustError
from littoral.mesh import snapshot_shipping
from littoral.mesh.replica_messages import encode
from littoral.mesh.snapshot_shipping import AskPiece, SnapshotOffers, fetch_snapshot
from littoral.testing import SimulatedClock
from littoral.transport.fake import Network
from littoral.transport.fake_end import FakeTransport

SHARD = "frames-0"
DATA = bytes(range(256)) * 40


async def pack(shard: str, folder: Path) -> list[Path]:
    assert shard == SHARD
    (folder / "points.tar").write_bytes(DATA)
    (folder / "journal").write_bytes(b"")
    return [folder / "points.tar", folder / "journal"]


@pytest.fixture
async def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeTransport]:
    monkeypatch.setattr(snapshot_shipping, "PIECE_BYTES", 1000)
    network = Network()
    found = {name: network.join(name) for name in ("old", "new", "stranger")}
    offers = SnapshotOffers(
        found["old"], tmp_path / "offers", pack, lambda peer, _: peer == "new", clock=SimulatedClock(), keep_s=60
    )
    await offers.start()
    return found


async def test_what_is_fetched_is_whole(ends: dict[str, FakeTransport], tmp_path: Path) -> None:
    found = await fetch_snapshot(ends["new"], "old", SHARD, tmp_path / "new")
    assert {name: path.read_bytes() for name, path in found.files.items()} == {"points.tar": DATA, "journal": b""}
    assert found.fetched_bytes == len(DATA)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["journal", "points.tar"]


async def test_it_goes_on_where_it_was(ends: dict[str, FakeTransport], tmp_path: Path) -> None:
    folder, asked = tmp_path / "new", 0
    plain = ends["new"].request

    async def broken(peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        nonlocal asked
        asked += 1
        if asked == 5:
            raise NotFoundError("the line broke")
        return await plain(peer, service, body, deadline_s=deadline_s)

    ends["new"].request = broken  # type: ignore[method-assign]
    with pytest.raises(NotFoundError):
        await fetch_snapshot(ends["new"], "old", SHARD, folder)
    with (folder / "points.tar.part").open("r+b") as torn:
        torn.seek(2500)
        torn.write(b"\xff\xff\xff")
    found = await fetch_snapshot(ends["new"], "old", SHARD, folder)
    assert found.files["points.tar"].read_bytes() == DATA
    assert found.fetched_bytes == len(DATA) - 2000


async def test_a_piece_that_is_another_is_refused(ends: dict[str, FakeTransport], tmp_path: Path) -> None:
    plain = ends["new"].request

    async def lying(peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        told = await plain(peer, service, body, deadline_s=deadline_s)
        return told[:-1] + b"!" if service == snapshot_shipping.PIECE else told

    ends["new"].request = lying  # type: ignore[method-assign]
    with pytest.raises(TrustError, match=r"piece 0 of `points.tar`"):
        await fetch_snapshot(ends["new"], "old", SHARD, tmp_path / "new")


async def test_only_who_may_have_the_shard_gets_it(ends: dict[str, FakeTransport], tmp_path: Path) -> None:
    with pytest.raises(ForbiddenError, match="has no replica"):
        await fetch_snapshot(ends["stranger"], "old", SHARD, tmp_path / "x")


async def test_no_file_but_those_offered_is_told(ends: dict[str, FakeTransport], tmp_path: Path) -> None:
    body = await ends["new"].request(
        "old", snapshot_shipping.OFFER, encode(snapshot_shipping.AskOffer(SHARD)), deadline_s=5
    )
    snapshot = snapshot_shipping.decode(body, snapshot_shipping.Offer).snapshot
    for ask, error in (
        (AskPiece(SHARD, snapshot, "../../etc/passwd", 0), InputError),
        (AskPiece(SHARD, "another", "points.tar", 0), NotFoundError),
    ):
        with pytest.raises(error):
            await ends["new"].request("old", snapshot_shipping.PIECE, encode(ask), deadline_s=5)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "x.part"])
def test_a_peer_cannot_choose_where_files_go(name: str) -> None:
    offer = snapshot_shipping.Offer("1", 1000, [snapshot_shipping.OfferedFile(name, 0, [])])
    with pytest.raises(InputError, match="has a file"):
        snapshot_shipping._check_offer(offer)
