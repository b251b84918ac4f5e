"""Bytes on their way to a node: broken off, resumed, lied about, in blocks, from a peer, on a stick, at a pace."""

import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from random import Random

import pytest

from attacked_server import AttackedServer, Handler, Reply, attacked
from fleet_trust import NODE, Fleet
from littoral.errors import ExpiredUpdateError, NotFoundError, PeerError
from littoral.testing.clock import SimulatedClock
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName, Custom
from littoral.updates.blocks import BlockList, plan
from littoral.updates.metadata.export import export
from littoral.updates.targets import TargetFile
from littoral.updates.trust.bounds import Bounds
from littoral.updates.trust.client import TrustedClient
from littoral.updates.trust.fetching import Fetcher
from littoral.updates.trust.http_transport import HttpTransport
from littoral.updates.trust.mirror import Mirror
from littoral.updates.trust.transport import FirstOf, FolderTransport, Transport
from littoral.updates.wire import Desired

BYTES = Random(1).randbytes(3_000_000)
TARGET = TargetFile("models/embedder/1.wasm", len(BYTES), sha256(BYTES).hexdigest())
BOUNDS = Bounds(pause_s=0.0, attempts_max=3)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AttackedServer]:
    file = tmp_path / "served" / path_of(TARGET)
    file.parent.mkdir(parents=True)
    file.write_bytes(BYTES)
    with attacked(tmp_path / "served") as server:
        yield server


@pytest.fixture
def transport(server: AttackedServer) -> Iterator[HttpTransport]:
    transport = HttpTransport(server.url, silence_s=20.0)
    yield transport
    transport.close()


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher(SimulatedClock(), BOUNDS)


def path_of(target: TargetFile) -> str:
    return tree.target_file(ArtifactName.parse(target.name), target.sha256)


def cutting(times: int, after_bytes: int) -> Reply:
    """Ends the connection so many times, each after so many bytes."""
    left = [times]

    def reply(handler: Handler, data: bytes, first: int) -> None:
        body = data[first:]
        headers = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
        if not left[0]:
            handler.answer(206, body, **headers)
            return
        left[0] -= 1
        handler.answer(206, body[:after_bytes], length=len(body), **headers)
        handler.cut()

    return reply


def test_a_connection_cut_five_times_moves_each_byte_once(
    server: AttackedServer, transport: HttpTransport, fetcher: Fetcher, tmp_path: Path
) -> None:
    server.replies[path_of(TARGET)] = cutting(5, 400_000)
    assert fetcher.fetch(transport, TARGET, tmp_path / "model").read_bytes() == BYTES
    assert server.counted[path_of(TARGET)] == len(BYTES)
    assert len(server.asked) == 6


def test_what_was_interrupted_goes_on_in_another_process(
    server: AttackedServer, transport: HttpTransport, fetcher: Fetcher, tmp_path: Path
) -> None:
    server.replies[path_of(TARGET)] = cutting(99, 0)
    (tmp_path / "model.part").write_bytes(BYTES[:1_000_000])
    with pytest.raises(PeerError):
        fetcher.fetch(transport, TARGET, tmp_path / "model")
    server.replies.clear()
    assert fetcher.fetch(transport, TARGET, tmp_path / "model").read_bytes() == BYTES
    assert fetcher.fetched_bytes == len(BYTES) - 1_000_000


def test_a_part_that_was_damaged_is_fetched_again(transport: HttpTransport, fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "model.part").write_bytes(b"x" * 1000)
    assert fetcher.fetch(transport, TARGET, tmp_path / "model").read_bytes() == BYTES


def test_a_server_without_ranges_is_enough(
    server: AttackedServer, transport: HttpTransport, fetcher: Fetcher, tmp_path: Path
) -> None:
    server.replies[path_of(TARGET)] = lambda handler, data, _: handler.answer(200, data)
    (tmp_path / "model.part").write_bytes(BYTES[:1_000_000])
    assert fetcher.fetch(transport, TARGET, tmp_path / "model").read_bytes() == BYTES


def test_a_server_that_lies_about_ranges_is_asked_without(
    server: AttackedServer, transport: HttpTransport, fetcher: Fetcher, tmp_path: Path
) -> None:
    def lying(handler: Handler, data: bytes, first: int) -> None:
        if handler.headers.get("Range") is None:
            handler.answer(200, data)
        else:
            handler.answer(206, data[7:], **{"Content-Range": f"bytes {first + 7}-{len(data) - 1}/{len(data)}"})

    server.replies[path_of(TARGET)] = lying
    (tmp_path / "model.part").write_bytes(BYTES[:1_000_000])
    assert fetcher.fetch(transport, TARGET, tmp_path / "model").read_bytes() == BYTES


def test_other_bytes_under_the_right_range_cost_one_more_try(
    server: AttackedServer, transport: HttpTransport, fetcher: Fetcher, tmp_path: Path
) -> None:
    def lying(handler: Handler, data: bytes, first: int) -> None:
        if first:
            data = bytes(len(data))
        handler.answer(206, data[first:], **{"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"})

    server.replies[path_of(TARGET)] = lying
    (tmp_path / "model.part").write_bytes(BYTES[:1_000_000])
    assert fetcher.fetch(transport, TARGET, tmp_path / "model").read_bytes() == BYTES


def test_a_cap_of_bytes_a_second_is_kept(transport: HttpTransport, tmp_path: Path) -> None:
    clock = SimulatedClock()
    fetcher = Fetcher(clock, BOUNDS, wait=clock.advance)
    fetcher.fetch(transport, TARGET, tmp_path / "model", bytes_per_s_max=1_000_000)
    assert clock.monotonic() == pytest.approx(len(BYTES) / 1_000_000)


def test_a_nodes_cap_holds_for_metadata_too_and_leaves_it_a_least(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    model = fleet.publish("models/embedder/1.wasm", BYTES)
    fetcher = Fetcher(fleet.clock, BOUNDS, wait=fleet.clock.advance)
    asked_s: list[float] = []
    for number, cap in enumerate((1, 1_000_000, None)):
        wish = Desired(node=NODE, deployment=number + 1, models={"embedder": model}, bytes_per_s_max=cap)
        fleet.director.tell(NODE, wish, fleet.image.targets_for(wish))
        client = TrustedClient(
            tmp_path / f"{number}",
            NODE,
            fleet.trust,
            FolderTransport(tmp_path / "served"),
            clock=fleet.clock,
            fetcher=fetcher,
        )
        begun_s = fleet.clock.monotonic()
        client.refresh()
        asked_s.append(fleet.clock.monotonic() - begun_s)
    image = sum(
        len(fleet.store.read(tree.image_metadata(name)) or b"")
        for name in ("timestamp.json", "2.snapshot.json", "2.targets.json")
    )
    assert asked_s == pytest.approx([image / 16_384, image / 1_000_000, 0.0], rel=0.01)


def test_pauses_between_attempts_grow_and_are_uneven(server: AttackedServer, tmp_path: Path) -> None:
    pauses: list[float] = []
    bounds = Bounds(pause_s=1.0, pause_s_max=4.0, attempts_max=6)
    fetcher = Fetcher(SimulatedClock(), bounds, wait=pauses.append, random=Random(3))
    transport = HttpTransport(server.url)
    server.replies["1.root.json"] = lambda handler, _, __: handler.answer(503, b"")
    with pytest.raises(PeerError, match="503"):
        fetcher.metadata(transport, "image/metadata/1.root.json", 1000)
    transport.close()
    assert len(pauses) == 5
    for pause, longest in zip(pauses, (1.0, 2.0, 4.0, 4.0, 4.0), strict=True):
        assert longest / 2 <= pause <= longest
    assert len(set(pauses)) == 5


def changed(data: bytes) -> bytes:
    """Some bytes in the middle are others, and there are more of them."""
    return data[:1_000_000] + Random(2).randbytes(210_000) + data[1_200_000:]


def test_what_is_there_already_does_not_travel(
    server: AttackedServer, transport: HttpTransport, fetcher: Fetcher, tmp_path: Path
) -> None:
    new = changed(BYTES)
    blocks = BlockList.of(new).packed
    target = TargetFile(
        "models/embedder/2.wasm",
        len(new),
        sha256(new).hexdigest(),
        Custom(blocks_sha256=sha256(blocks).hexdigest()),
    )
    (server.folder / path_of(target)).write_bytes(new)
    (server.folder / tree.block_list_file(target.sha256)).write_bytes(blocks)
    (tmp_path / "old").write_bytes(BYTES)
    assert fetcher.fetch(transport, target, tmp_path / "new", have=[tmp_path / "old"]).read_bytes() == new
    assert 210_000 <= fetcher.fetched_bytes <= 250_000
    assert server.counted[path_of(target)] == fetcher.fetched_bytes


@pytest.mark.parametrize("lie", ["gone", "damaged", "of other bytes"])
def test_a_wrong_list_of_blocks_costs_the_whole_file(
    server: AttackedServer, transport: HttpTransport, fetcher: Fetcher, tmp_path: Path, lie: str
) -> None:
    """The last is even signed for: it is a list of the file that is there already."""
    new = changed(BYTES)
    old = BYTES[:1_000_000] + bytes(210_000) + BYTES[1_200_000:]
    blocks = BlockList.of(old if lie == "of other bytes" else new).packed
    custom = Custom(blocks_sha256=sha256(blocks).hexdigest())
    target = TargetFile("models/embedder/2.wasm", len(new), sha256(new).hexdigest(), custom)
    (server.folder / path_of(target)).write_bytes(new)
    if lie != "gone":
        served = blocks[:-1] + b"!" if lie == "damaged" else blocks
        (server.folder / tree.block_list_file(target.sha256)).write_bytes(served)
    (tmp_path / "old").write_bytes(old)
    assert fetcher.fetch(transport, target, tmp_path / "new", have=[tmp_path / "old"]).read_bytes() == new
    assert fetcher.fetched_bytes == len(new)


def test_blocks_add_up_and_a_change_moves_no_border_but_its_own(tmp_path: Path) -> None:
    old, new = BlockList.of(BYTES), BlockList.of(changed(BYTES))
    assert sum(block.length for block in old.blocks) == len(BYTES)
    assert BlockList.read(old.packed, len(BYTES)) == old
    assert len(set(new.blocks) - set(old.blocks)) <= 110
    (tmp_path / "old").write_bytes(BYTES)
    pieces = plan(new, [tmp_path / "gone", tmp_path / "old"])
    assert sum(piece.length for piece in pieces) == len(changed(BYTES))
    assert [piece.source is None for piece in pieces] == [False, True, False]
    assert BlockList.of(b"").blocks == ()


def test_a_mirror_gives_what_it_has_by_the_same_paths(tmp_path: Path) -> None:
    (tmp_path / TARGET.sha256).write_bytes(BYTES)
    mirror = Mirror(tmp_path, FolderTransport(tmp_path / "nowhere"))
    whole = mirror.answer(path_of(TARGET))
    assert (whole.status, b"".join(whole.body)) == (HTTPStatus.OK, BYTES)
    part = mirror.answer(path_of(TARGET), "bytes=10-19")
    assert (part.status, part.length, b"".join(part.body)) == (HTTPStatus.PARTIAL_CONTENT, 10, BYTES[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(BYTES)}"
    assert mirror.answer(path_of(TARGET), f"bytes={len(BYTES)}-").status == 416
    assert b"".join(mirror.answer(tree.block_list_file(TARGET.sha256)).body) == BlockList.of(BYTES).packed
    for path in ("image/metadata/timestamp.json", "image/pending/root.json", "../../etc/passwd", path_of(TARGET)[:-5]):
        with pytest.raises(NotFoundError):
            mirror.answer(path)


class Mirrored:
    """A peer as a transport."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror

    def read(self, path: str, *, offset: int = 0, end: int | None = None) -> Iterator[bytes]:
        asked = f"bytes={offset}-{'' if end is None else end - 1}"
        return self.mirror.answer(path, asked).body


def test_peers_first_and_a_peer_that_lies_harms_nobody(
    server: AttackedServer, transport: HttpTransport, fetcher: Fetcher, tmp_path: Path
) -> None:
    peer = tmp_path / "peer"
    peer.mkdir()
    (peer / TARGET.sha256).write_bytes(BYTES)
    chain: Transport = FirstOf([Mirrored(Mirror(peer)), transport])
    fetcher.fetch(chain, TARGET, tmp_path / "one")
    assert path_of(TARGET) not in server.counted
    (peer / TARGET.sha256).write_bytes(bytes(len(BYTES)))
    fetcher.fetch(chain, TARGET, tmp_path / "two")
    (peer / TARGET.sha256).unlink()
    fetcher.fetch(chain, TARGET, tmp_path / "three")
    assert server.counted[path_of(TARGET)] == 2 * len(BYTES)


def test_a_stick_updates_a_node_until_its_timestamps_expire(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    test = fleet.publish("selftests/embedder/1.safetensors", b"vectors")
    model = fleet.publish("models/embedder/1.wasm", BYTES, Custom(self_test=test))
    fleet.publish("models/other/1.wasm", b"nobody's")
    wish = fleet.tell(model)
    fleet.tell(model, node="gateway-2")
    fleet.clock.advance(6 * 86400.0)
    served = tmp_path / "served"

    def carry(nodes: list[str]) -> float:
        into = tmp_path / "stick"
        return export(
            fleet.store, fleet.image, fleet.director, nodes, lambda path: (served / path).open("rb"), into
        ).valid_until_s

    valid_until_s = carry([NODE])
    assert valid_until_s == pytest.approx(fleet.clock.wall() + 7 * 86400.0, abs=1.0)
    assert not (tmp_path / "stick" / tree.director_metadata("gateway-2")).exists()
    assert len(list((tmp_path / "stick" / tree.TARGETS).iterdir())) == 2
    assert not (tmp_path / "stick" / "image" / "pending").exists()
    shutil.rmtree(served)
    client = fleet.client(transport=FolderTransport(tmp_path / "stick"))
    fleet.clock.advance(6 * 86400.0)
    found = client.refresh()
    assert (found.desired, found.valid_until_s) == (wish, valid_until_s)
    assert set(found.targets) == {model, test}
    client.fetch(found.targets[model], tmp_path / "model")
    fleet.clock.advance(2 * 86400.0)
    with pytest.raises(ExpiredUpdateError, match="timestamp"):
        client.refresh(1)


def test_a_pipe_on_a_stick_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / path_of(TARGET)
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    with pytest.raises(PeerError, match="is a pipe or a device, expected a file"):
        FolderTransport(tmp_path).read(path_of(TARGET))
