"""A holder that lost its shard gets a snapshot of another's, whoever dies meanwhile; what it took itself stays."""

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from littoral.mesh import snapshot_shipping
from littoral.node.federation import seeding
from littoral.node.federation.federation import Federation
from littoral.vectors.replication.journal import Journal
from seeded_site import COUNT, PART, SeededSite, rows_of, seeded_site
from waiting import until_async

PIECE_BYTES = 64 << 10
MORE = 20


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of two nodes with the same points, and no log of them; the first has taken writes since."""
    folder = tmp_path_factory.mktemp("filled")

    async def fill() -> None:
        async with seeded_site(folder) as site:
            await site.start("a", "b")
            await site.write("a", range(COUNT))
            await site.until_forgotten()
            await site.stop("b")
            await site.write("a", range(10), turn=1)

    asyncio.run(fill())
    return folder


@pytest.fixture
async def site(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SeededSite]:
    """Node `b` has lost its shard, and is not there yet."""
    monkeypatch.setattr(snapshot_shipping, "PIECE_BYTES", PIECE_BYTES)
    shutil.copytree(filled, tmp_path / "site", symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
    async with seeded_site(tmp_path / "site") as found:
        found.lose_shard("b")
        await found.start("a")
        yield found


async def check_whole(site: SeededSite) -> None:
    """Everything that was acknowledged is on both nodes."""
    await site.until_alike()
    first, second = [await site.points(name) for name in "ab"]
    assert first == second
    assert len(first) == COUNT + MORE
    assert {first[point][0] for point in range(10)} == {1}
    assert {first[point][0] for point in range(COUNT, COUNT + MORE)} == {2}
    await until_async(lambda: not (site.folder / "b" / "mesh" / "seeds" / PART).exists())
    assert len(list((site.folder / "b" / "collections" / PART).glob("shard-*"))) == 1


async def take_own(site: SeededSite) -> None:
    """What `b` writes before it has anything else."""
    await site.write("b", range(COUNT, COUNT + MORE), turn=2)


class Halt:
    """Takes the place of a function: the call of that number never ends, as if the node had died in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, at: int = 1) -> None:
        self.reached = asyncio.Event()
        plain, count = getattr(owner, name), 0

        async def call(*told: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count < at:
                return await plain(*told, **named)
            self.reached.set()
            return await asyncio.Event().wait()

        monkeypatch.setattr(owner, name, call)


async def test_a_holder_that_lost_its_shard_is_whole_again(site: SeededSite) -> None:
    await site.start("b")
    await take_own(site)
    await check_whole(site)
    assert site.fetched_bytes("b") > COUNT * 32
    assert site.repaired_count("b") == 0
    hits = await site.nodes["b"]["points"].search(rows_of(range(10), 1)[3], limit=1)
    assert hits[0].id == 3


@pytest.mark.parametrize(
    ("owner", "name", "at"),
    [(seeding.Seeding, "spent", 5), (seeding, "bring_over", 1), (seeding, "bring_over", 2), (Federation, "_reopen", 1)],
    ids=["while it is fetched", "before it is brought over", "while nothing is written", "when it is exchanged"],
)
async def test_the_node_may_die_at_every_step(
    site: SeededSite, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, at: int
) -> None:
    with monkeypatch.context() as patched:
        halt = Halt(patched, owner, name, at)
        await site.start("b")
        await take_own(site)
        async with asyncio.timeout(200):
            await halt.reached.wait()
        await site.stop("b")
    await site.start("b")
    await check_whole(site)
    assert site.repaired_count("b") == 0
    if name == "spent":
        size = sum(path.stat().st_size for path in (site.folder / "a" / "mesh" / "offers").rglob("*.snapshot"))
        assert 0 < site.fetched_bytes("b") < size
    if name == "_reopen":
        assert site.fetched_bytes("b") == 0


@pytest.mark.parametrize("is_restarted", [False, True], ids=["is cut off", "dies"])
async def test_who_has_the_snapshot_goes_away(
    site: SeededSite, monkeypatch: pytest.MonkeyPatch, is_restarted: bool
) -> None:
    with monkeypatch.context() as patched:
        plain, count = seeding.Seeding.spent, 0

        async def spent(self: seeding.Seeding, bytes_sent: int, began_s: float) -> None:
            nonlocal count
            count += 1
            if count == 5:
                site.wires.kill("a")
            await plain(self, bytes_sent, began_s)

        patched.setattr(seeding.Seeding, "spent", spent)
        await site.start("b")
        await take_own(site)
        await until_async(lambda: "a" in site.wires.dead)
    if is_restarted:
        await site.stop("a")
        await site.start("a")
    else:
        site.wires.revive("a")
    await check_whole(site)
    assert site.repaired_count("b") == 0


async def test_a_piece_that_is_another_is_not_taken(site: SeededSite, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = snapshot_shipping._read_piece
    monkeypatch.setattr(snapshot_shipping, "_read_piece", lambda *asked: plain(*asked)[:-1] + b"!")
    await site.start("b")
    await take_own(site)
    await check_whole(site)
    assert site.repaired_count("b") >= COUNT


async def test_a_full_disk_leaves_the_shard_as_it_is(site: SeededSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(snapshot_shipping, "_append", full)
    await site.start("b")
    await take_own(site)
    await check_whole(site)
    assert site.repaired_count("b") >= COUNT


async def test_a_snapshot_that_lacks_points_is_not_taken(site: SeededSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its journal knows of more: as if a store had lost some."""
    plain = Journal.count
    monkeypatch.setattr(Journal, "count", lambda journal: (plain(journal)[0] + (plain(journal)[0] >= COUNT), 0))
    await site.start("b")
    await take_own(site)
    await check_whole(site)
    assert site.repaired_count("b") >= COUNT
