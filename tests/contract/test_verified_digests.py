"""A file that was hashed once is not read again, until it may have changed."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import littoral
from littoral.artifact import Store, digest
from littoral.errors import TrustError
from littoral.runtime.file_identity import COARSE_TICK_NS, SECOND_NS, TICK_NS, FileIdentity
from littoral.runtime.modules import load_module
from littoral.runtime.verified import VerifiedDigests
from littoral.testing import SimulatedClock
from modules_in_text import compiled_here, model

FEEDS = {"x": np.arange(4, dtype=np.float32)}
TRIPLE = model(
    """(v128.store (i32.const 1088)
         (f32x4.mul (v128.load (i32.const 1024)) (v128.const f32x4 3 3 3 3)))"""
)


@pytest.fixture
def later(tmp_path: Path) -> SimulatedClock:
    """A clock on which every file of the test has been there for a while."""
    probe = tmp_path / "probe"
    probe.touch()
    return SimulatedClock(wall=probe.stat().st_ctime + 3600)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.wasm"
    path.write_bytes(compiled_here(model()))
    return path


def load_digest(path: Path, clock: SimulatedClock) -> str:
    return load_module(path, "littoral.model", clock=clock).digest


def test_the_second_load_neither_reads_nor_hashes(
    file: Path, later: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_digest(file, later)
    monkeypatch.setattr("littoral.runtime.modules._read", lambda _: pytest.fail("the file was read"))
    loaded = load_module(file, "littoral.model", clock=later)
    assert (loaded.digest, loaded.code.kind, loaded.is_cached) == (digest(model()), "trusted", True)


@pytest.mark.parametrize("keeps_times", [False, True])
def test_a_changed_file_is_seen_even_if_size_and_times_are_kept(
    file: Path, later: SimulatedClock, keeps_times: bool
) -> None:
    before = file.stat()
    load_digest(file, later)
    changed = bytearray(file.read_bytes())
    changed[changed.index(b"by hand")] ^= 1
    file.write_bytes(changed)
    if keeps_times:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    loaded = load_module(file, "littoral.model", clock=later)
    assert loaded.digest == digest(bytes(changed))
    assert loaded.code.kind == "guarded"


def test_a_replaced_file_is_seen(file: Path, later: SimulatedClock) -> None:
    load_digest(file, later)
    other = file.with_name("other.wasm")
    other.write_bytes(TRIPLE)
    other.replace(file)
    assert load_digest(file, later) == digest(TRIPLE)


def test_a_file_changed_a_moment_ago_is_hashed_every_time(file: Path) -> None:
    """Within one tick of the kernel's clock a second write would leave no trace."""
    now = SimulatedClock(wall=file.stat().st_ctime)
    load_digest(file, now)
    before = file.stat()
    file.write_bytes(TRIPLE.ljust(before.st_size, b"\0")[: before.st_size] if len(TRIPLE) < before.st_size else TRIPLE)
    assert load_digest(file, now) == digest(file.read_bytes())


def test_settled_means_longer_ago_than_a_tick() -> None:
    fine = FileIdentity(1, 2, 3, 4, changed_ns=10 * SECOND_NS + 1)
    assert not fine.is_settled(fine.changed_ns + TICK_NS)
    assert fine.is_settled(fine.changed_ns + TICK_NS + 1)
    coarse = fine._replace(changed_ns=10 * SECOND_NS)
    assert not coarse.is_settled(coarse.changed_ns + COARSE_TICK_NS)
    assert coarse.is_settled(coarse.changed_ns + COARSE_TICK_NS + 1)
    assert not fine.is_settled(0)  # a clock that was set back proves nothing


def test_a_pin_is_held_against_the_remembered_digest(file: Path, later: SimulatedClock) -> None:
    load_digest(file, later)
    with pytest.raises(TrustError, match=r"expected `0{64}`"):
        load_module(file, "littoral.model", sha256="0" * 64, clock=later)


def test_the_record_alone_does_not_make_a_module_run_trusted(file: Path, later: SimulatedClock) -> None:
    """Whoever forges the record of a foreign file gets the module that was compiled here, not their own as trusted."""
    load_digest(file, later)
    foreign = file.with_name("foreign.wasm")
    foreign.write_bytes(TRIPLE)
    status = foreign.stat()
    VerifiedDigests(file.parent / "cache" / "verified", Store()).record(FileIdentity.of(status), digest(model()))
    with littoral.load(foreign) as session:
        assert session.run(FEEDS)["y"].tolist() == [0, 2, 4, 6]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: os.truncate(path, 10),
    "open to others": lambda path: path.chmod(0o666),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_as_good_as_none(file: Path, later: SimulatedClock, damage: str) -> None:
    load_digest(file, later)
    for record in (file.parent / "cache" / "verified").iterdir():
        DAMAGES[damage](record)
    assert load_digest(file, later) == digest(model())


def test_a_record_of_another_installation_is_not_believed(tmp_path: Path) -> None:
    identity = FileIdentity(1, 2, 3, 4, 5)
    VerifiedDigests(tmp_path / "v", Store(tmp_path / "one")).record(identity, "a" * 64)
    assert VerifiedDigests(tmp_path / "v", Store(tmp_path / "one")).find(identity) == "a" * 64
    assert VerifiedDigests(tmp_path / "v", Store(tmp_path / "two")).find(identity) is None


def test_records_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("littoral.runtime.verified.RECORDS_MAX", 4)
    verified = VerifiedDigests(tmp_path / "v", Store())
    for inode in range(8):
        verified.record(FileIdentity(1, inode, 3, 4, 5), "a" * 64)
        path = tmp_path / "v" / f"1-{inode:x}"
        os.utime(path, (inode, inode))
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == ["1-4", "1-5", "1-6", "1-7"]


def test_a_full_disk_costs_speed_only(file: Path, later: SimulatedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("littoral.runtime.verified.write_sealed", full)
    assert load_digest(file, later) == load_digest(file, later) == digest(model())
