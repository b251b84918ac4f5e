"""The log on a disk: files as C2SP names them, proofs, what a power cut and a full disk leave, retention."""

from pathlib import Path
from random import Random

import pytest

from audit_log import KEY, ORIGIN, entries, entry, filled, opened
from littoral.artifact.ed25519 import SecretKey
from littoral.audit.checkpoint import parse_checkpoint
from littoral.audit.disk import FolderDisk
from littoral.audit.entries import PRUNED, Entry, encode_entry
from littoral.audit.log import CHECKPOINT, TreeLog
from littoral.audit.note import parse_note
from littoral.audit.retention import Keep, Kept, prune, pruned_to
from littoral.audit.tiles import ENTRIES, Tile, bundle, bundled, parse_tile, partial_tiles, tiles_of
from littoral.audit.tree import is_consistent, is_included, leaf_hash, root
from littoral.audit.verify import verify_log
from littoral.errors import InputError, NotFoundError, TrustError
from littoral.testing.disk import PowerCutError, SimulatedDisk

SIZE = 70_000
CUTS = 100


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(ENTRIES, 273, 112), "tile/entries/273.p/112"),
        (Tile(2, 0, 1), "tile/2/000.p/1"),
        (Tile(0, 1000), "tile/0/x001/000"),
    ],
)
def test_files_are_called_as_others_expect(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_tile(path.removeprefix("tile/")) == tile


@pytest.mark.parametrize(
    "path",
    [
        *("0/1", "0/0001", "0/x001", "0/000.p/256", "0/000.p/0", "0/000.p/01", "00/000", "entries", "-1/000", "0/٣٣٣"),
        *("entriesentries/000", "1entries/000.p/11"),
    ],
)
def test_no_other_name_is_read(path: str) -> None:
    with pytest.raises(InputError, match="must be LEVEL/INDEX"):
        parse_tile(path)


def test_the_tiles_of_a_size_are_those_of_the_specification() -> None:
    found = list(tiles_of(SIZE))
    assert sum(tile.level == 0 and tile.width == 256 for tile in found) == 273
    assert partial_tiles(SIZE) == [Tile(ENTRIES, 273, 112), Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]


def test_a_log_lies_there_as_its_size_says_and_is_read_again(tmp_path: Path) -> None:
    log = filled(tmp_path, 1500, batch=333)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {tile.path for tile in tiles_of(1500)} | {CHECKPOINT, "log.key"}
    again = opened(FolderDisk(tmp_path))
    assert (again.size, again.checkpoint) == (1500, log.checkpoint)
    again.append(entries(1500, 1800))
    assert again.checkpoint == filled(tmp_path / "other", 1800).checkpoint
    assert [again.entry(index) for index in (0, 255, 256, 1799)] == [entry(index) for index in (0, 255, 256, 1799)]


def test_entries_and_earlier_sizes_are_proven(tmp_path: Path) -> None:
    log = filled(tmp_path, SIZE, batch=10_000)
    found = parse_checkpoint(parse_note(str(log.note).encode(), CHECKPOINT), CHECKPOINT)
    assert found.root == root(SIZE, log.reader.hash_at)
    rng = Random(1)
    for index in [0, SIZE - 1, *(rng.randrange(SIZE) for _ in range(50))]:
        told = log.inclusion(index)
        assert told.entry == entry(index)
        assert is_included(index, SIZE, leaf_hash(told.entry), told.proof, found.root)
    for old_size in [0, 1, 256, 65_536, SIZE, *(rng.randrange(SIZE) for _ in range(30))]:
        proof, _ = log.consistency(old_size)
        assert is_consistent(old_size, SIZE, log.root_at(old_size), found.root, proof)
    with pytest.raises(NotFoundError, match="entry 70000: the log has 70000"):
        log.entry(SIZE)


def test_entries_may_be_empty_and_have_a_bound(tmp_path: Path) -> None:
    log = opened(FolderDisk(tmp_path))
    log.append([b"", b"x" * 65_535])
    assert (log.entry(0), len(log.entry(1))) == (b"", 65_535)
    with pytest.raises(InputError, match="entry of 65536 bytes, at most 65535"):
        log.append([b"x" * 65_536])
    assert bundled(bundle([b"", b"a"]), "x") == [b"", b"a"]
    for torn in (b"\0", b"\0\2a", b"\0\1a\0"):
        with pytest.raises(TrustError, match="ends within entry"):
            bundled(torn, "x")


def test_a_log_of_another_key_or_name_is_not_gone_on_with(tmp_path: Path) -> None:
    filled(tmp_path, 10)
    with pytest.raises(TrustError, match="has 0 signatures of"):
        TreeLog.begin(FolderDisk(tmp_path), ORIGIN, SecretKey(bytes(32)))
    with pytest.raises(TrustError, match="has 0 signatures of"):
        TreeLog.begin(FolderDisk(tmp_path), "littoral/other", KEY)


def test_a_log_that_was_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    filled(tmp_path, 300)
    path = tmp_path / Tile(ENTRIES, 1, 44).path
    path.write_bytes(path.read_bytes().replace(b"camera", b"kamera", 1))
    with pytest.raises(TrustError, match="is missing or was changed"):
        opened(FolderDisk(tmp_path))
    (tmp_path / CHECKPOINT).unlink()
    with pytest.raises(TrustError, match="has tiles and no checkpoint"):
        opened(FolderDisk(tmp_path))


def batches(seed: int) -> list[list[bytes]]:
    rng = Random(seed)
    sizes = [rng.choice((1, 3, 100, 255, 256, 257, 700)) for _ in range(6)]
    return [entries(sum(sizes[:at]), sum(sizes[: at + 1])) for at in range(len(sizes))]


def write_all(disk: SimulatedDisk, todo: list[list[bytes]]) -> int:
    """How many entries were acknowledged before the power went."""
    log = opened(disk)
    for batch in todo:
        log.append(batch)
    return log.size


@pytest.mark.parametrize("seed", range(3))
def test_power_cut_at_every_step_never_leaves_a_checkpoint_without_its_entries(seed: int) -> None:
    todo = batches(seed)
    whole = SimulatedDisk(seed)
    size = write_all(whole, todo)
    told = 0
    for cut_at in range(1, whole.steps + 1, 1 + whole.steps // CUTS):
        disk = SimulatedDisk(1000 * seed + cut_at, cut_at=cut_at)
        acknowledged, log = 0, None
        try:
            log = opened(disk)
            for batch in todo:
                log.append(batch)
                acknowledged = log.size
        except PowerCutError:
            told += 1
        disk.powered_again()
        again = opened(disk)
        assert again.size >= acknowledged
        report = verify_log(disk)
        assert report.is_right, (cut_at, report.faults)
        assert report.size == again.size
        again.append(entries(again.size, size))
        assert again.root_at(size) == opened(whole).root_at(size)
        assert verify_log(disk).is_right
    assert told > CUTS // 3


def test_a_full_disk_leaves_the_log_as_it_was() -> None:
    disk = SimulatedDisk(1)
    log = opened(disk)
    log.append(entries(0, 600))
    for steps in range(1, 14):
        disk.full_at = disk.steps + steps
        with pytest.raises(OSError, match="no space left"):  # noqa: PT012  which of them meets it, the step says
            while True:
                log.append(entries(log.size, log.size + 600))
        disk.full_at = 0
        log = opened(disk)
        assert verify_log(disk).is_right
    log.append(entries(log.size, log.size + 10))
    report = verify_log(disk)
    assert (report.is_right, report.size) == (True, log.size)


def test_what_is_pruned_is_said_in_the_log_and_its_hashes_stay(tmp_path: Path) -> None:
    log, disk = filled(tmp_path, 3000), FolderDisk(tmp_path)
    kept = Kept.of(disk, log.size)
    assert kept.first == 0
    to = pruned_to(disk, kept, log, Keep(seconds=1000.0), 1_767_225_600.0 + 3000)
    assert to == 2000 // 256 * 256
    log.append([encode_entry(Entry(1_767_228_600.0, PRUNED, "node", count=to))])
    kept = prune(disk, Kept.of(disk, log.size), to)
    assert kept == Kept.of(disk, log.size)
    report = verify_log(disk)
    assert (report.is_right, report.pruned, report.checked) == (True, to, 3001 - to)
    with pytest.raises(NotFoundError, match="is no longer kept, its hash is"):
        log.entry(to - 1)
    assert opened(FolderDisk(tmp_path)).entry(to) == entry(to)
    by_bytes = pruned_to(disk, kept, log, Keep(data_bytes=kept.data_bytes // 2), 0.0)
    assert to < by_bytes < 3000


def test_nothing_is_pruned_in_secret(tmp_path: Path) -> None:
    log = filled(tmp_path, 3000)
    log.append([encode_entry(Entry(1.0, PRUNED, "node", count=512))])
    disk = FolderDisk(tmp_path)
    for number in range(3):
        disk.remove(Tile(ENTRIES, number).path)
    faults = verify_log(disk).faults
    assert [(fault.where, fault.what) for fault in faults] == [
        ("tile/entries/002", "is missing, and nothing in the log says that it was pruned")
    ]
