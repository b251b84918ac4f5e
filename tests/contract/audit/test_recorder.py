"""What gathers entries: batches, waiting, a full disk, a changed log, bounds; and nodes that witness each other."""

import asyncio
import errno
import hashlib
from pathlib import Path
from random import Random

import pytest

from audit_log import KEY, ORIGIN, filled
from littoral.artifact.ed25519 import SecretKey
from littoral.audit.disk import FolderDisk
from littoral.audit.entries import CLOSED, DROPPED, OPENED, PRUNED, Entry, Searched, decode_entry, encode_entry
from littoral.audit.log import CHECKPOINT, WITNESSED, LogFolder
from littoral.audit.recorder import Recorder, Terms
from littoral.audit.retention import Keep
from littoral.audit.tiles import ENTRIES, Tile
from littoral.audit.verify import verify_log
from littoral.audit.witness import Witness
from littoral.clock import SYSTEM
from littoral.errors import UnavailableError
from littoral.node.audit.cosigning import Cosigning
from littoral.node.audit.witnessing import Witnessing
from nodes_in_process import Wires
from waiting import until_async


class FullDisk(FolderDisk):
    """A folder on a disk that can be full."""

    is_full = False

    def write(self, path: str, data: bytes) -> None:
        if FullDisk.is_full:
            raise OSError(errno.ENOSPC, "no space left on device")
        super().write(path, data)


def recorder(folder: Path, terms: Terms, key: SecretKey = KEY, origin: str = ORIGIN) -> Recorder:
    return Recorder(lambda: FullDisk(folder), origin, key, terms, SYSTEM)


def told(number: int) -> Entry:
    return Entry(float(number), "query", "camera#1", "frames", number)


def kinds(folder: Path) -> list[str]:
    log = LogFolder.open(folder)
    return [decode_entry(log.entry(number), number).did for number in range(log.size)]


async def test_what_is_told_together_is_written_together(tmp_path: Path) -> None:
    one = recorder(tmp_path, Terms(commit_s=30.0))
    await one.open({"queries": 1.0})
    for number in range(1000):
        one.tell(told(number))
    await asyncio.gather(*(one.settle() for _ in range(50)))
    assert (one.size, one.batches, one.waiting_count) == (1001, 1, 0)
    await one.settle()
    await one.close()
    found = kinds(tmp_path)
    assert (found[0], found[-1], len(found)) == (OPENED, CLOSED, 1002)
    assert verify_log(FolderDisk(tmp_path)).is_right


async def test_searches_stand_in_their_order_as_any_other_entry(tmp_path: Path) -> None:
    one = recorder(tmp_path, Terms(commit_s=30.0))
    await one.open({})
    names = ['camera "1"#ab', 'x","digest":"-"', "käse"]
    wanted = []
    for number in range(600):
        who, vector = names[number % 3], bytes([number % 256]) * 8
        if number % 100 == 50:
            one.tell(told(number))
            wanted.append(encode_entry(told(number)))
            continue
        at_s = 1.7e9 + number / 7
        one.tell_searched(Searched(at_s, "query", who, "frames", vector, ("embedder@3",) * (number % 2)))
        model = "embedder@3" * (number % 2)
        digest = hashlib.sha256(vector).hexdigest()
        wanted.append(encode_entry(Entry(at_s, "query", who, "frames", 1, digest, "vector", model)))
    assert one.waiting_count == 601
    await one.settle()
    assert (one.size, one.waiting_count) == (601, 0)
    await one.close()
    log = LogFolder.open(tmp_path)
    assert [log.entry(number) for number in range(1, 601)] == wanted


async def test_a_change_waits_for_its_entry_where_it_should(tmp_path: Path) -> None:
    one = recorder(tmp_path, Terms(commit_s=30.0, waits=True))
    await one.open({})
    await one.changed(told(1))
    assert one.size == 2
    await one.close()


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_full_disk_refuses_changes_or_counts_and_goes_on_when_there_is_room(
    tmp_path: Path, refuses: bool
) -> None:
    one = recorder(tmp_path, Terms(commit_s=0.001, queue=16, refuses=refuses, waits=refuses))
    await one.open({})
    await one.settle()
    FullDisk.is_full = True
    try:
        if refuses:
            with pytest.raises(UnavailableError, match="the change was made, and is not logged yet"):
                await one.changed(told(0))
            with pytest.raises(
                UnavailableError, match="no space left on device: nothing is changed that is not logged"
            ):
                one.check()
        else:
            one.tell(told(0))
            await until_async(lambda: one.failure != "")
            one.check()
        for number in range(1, 40):
            one.tell(told(number))
        assert one.waiting_count == 16
        assert one.dropped == {"disk": 24}
    finally:
        FullDisk.is_full = False
    await until_async(lambda: one.failure == "" and not one.waiting_count)
    one.check()
    await one.close()
    found = kinds(tmp_path)
    assert (found.count("query"), found.count(DROPPED)) == (16, 1)
    assert verify_log(FolderDisk(tmp_path)).is_right


async def test_a_batch_that_was_written_though_its_end_failed_is_not_written_twice(tmp_path: Path) -> None:
    class Late(FolderDisk):
        """The checkpoint is there, and the disk fails after that."""

        fails = False

        def replace(self, path: str, data: bytes) -> None:
            super().replace(path, data)
            if path == CHECKPOINT and Late.fails:
                Late.fails = False
                raise OSError(errno.EIO, "input/output error")

    one = Recorder(lambda: Late(tmp_path), ORIGIN, KEY, Terms(commit_s=0.001), SYSTEM)
    await one.open({})
    await one.settle()
    Late.fails = True
    for number in range(10):
        one.tell(told(number))
    await until_async(lambda: one.failures == 1 and not one.waiting_count)
    await one.close()
    assert kinds(tmp_path) == [OPENED, *["query"] * 10, CLOSED]


async def test_a_log_that_was_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    filled(tmp_path, 300)
    path = tmp_path / Tile(0, 1, 44).path
    path.write_bytes(bytes(len(path.read_bytes())))
    one = recorder(tmp_path, Terms(commit_s=0.001, refuses=True))
    await one.open({})
    with pytest.raises(UnavailableError, match="was changed"):
        one.check()
    await one.close()
    assert LogFolder.open(tmp_path).size == 300


async def test_old_entries_are_pruned_and_the_log_says_so(tmp_path: Path) -> None:
    one = recorder(tmp_path, Terms(commit_s=30.0, keep=Keep(data_bytes=1)))
    await one.open({})
    for number in range(1000):
        one.tell(told(number))
    await one.settle()
    assert one.pruned == 768
    await one.close()
    report = verify_log(FolderDisk(tmp_path))
    assert (report.faults, report.pruned) == ([], 768)
    log = LogFolder.open(tmp_path)
    assert decode_entry(log.entry(1001), 1001).did == PRUNED
    assert FolderDisk(tmp_path).read(Tile(ENTRIES, 2).path) is None


async def test_nodes_witness_each_others_logs_and_refuse_another_history(tmp_path: Path) -> None:
    wires, names = Wires(), ("gw-1", "gw-2", "gw-3")
    members = dict.fromkeys(names, "")
    parts: dict[str, tuple[Recorder, Witness, Witnessing]] = {}
    for number, name in enumerate(names):
        log = recorder(tmp_path / name, Terms(commit_s=30.0), SecretKey(bytes([number] * 32)), f"littoral/{name}")
        await log.open({})
        await log.settle()
        key = SecretKey(bytes([number + 10] * 32))
        witness = Witness(FolderDisk(tmp_path / f"{name}-seen"), f"littoral/{name}/witness", key, SYSTEM.wall)
        cosigning = Cosigning(log, SYSTEM)
        witnessing = Witnessing(log, witness, wires.end(name), lambda: members, Random(1), cosigning, SYSTEM)
        await witnessing.open(0)
        parts[name] = log, witness, witnessing
    log, _, asking = parts["gw-1"]
    for number in range(3):
        log.tell(told(number))
        await log.settle()
        assert await asking.ask_some() == {"signed": 2}
    report = verify_log(FolderDisk(tmp_path / "gw-1"))
    assert (report.faults, sorted(one.name for one in report.witnesses)) == (
        [],
        ["littoral/gw-2/witness", "littoral/gw-3/witness"],
    )
    assert {one.size for one in report.witnesses} == {log.size}
    assert parts["gw-2"][1].signed == 3
    await log.close()
    for path in sorted((tmp_path / "gw-1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    fork = recorder(tmp_path / "gw-1", Terms(commit_s=30.0), SecretKey(bytes([0] * 32)), "littoral/gw-1")
    await fork.open({})
    for number in range(20):
        fork.tell(told(100 + number))
    await fork.settle()
    cosigning = Cosigning(fork, SYSTEM)
    other = Witnessing(fork, parts["gw-1"][1], wires.ends["gw-1"], lambda: members, Random(1), cosigning, SYSTEM)
    assert await other.ask_some() == {"refused": 2}
    assert cosigning.refused == 2
    assert parts["gw-2"][1].refused["fork"] == 1
    assert FolderDisk(tmp_path / "gw-1").read(WITNESSED) is None
    members.pop("gw-1")
    assert await other.ask_some() == {"away": 2}
    await fork.close()
    for name in ("gw-2", "gw-3"):
        await parts[name][0].close()
    for _, _, witnessing in parts.values():
        await witnessing.close()
