"""What a node with a table `encryption` leaves on its disk: snapshots, the cache; where its keys come from; doctor."""

import os
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from littoral import settings
from littoral.clock import SYSTEM
from littoral.errors import LittoralError, SettingError, TrustError
from littoral.node.at_rest import open_keys, read_key_file
from littoral.node.doctor.at_rest import examine_at_rest
from littoral.node.gateway.sealing import Seal
from littoral.node.site import parse_site
from littoral.vault import Key, KeyRing
from littoral.vault.keys import new_key
from littoral.vectors.cache_journal import CacheJournal
from littoral.vectors.snapshots import SnapshotFolder, is_sealed

OLD, NEW = Key(bytes(range(32))), Key(bytes(range(1, 33)))
RING, LATER = KeyRing([OLD]), KeyRing([NEW, OLD])
ROWS = [(bytes([i]) * 32, b"secret value %d" % i) for i in range(20)]


def journal(
    path: Path, ring: KeyRing | None, rows: list[tuple[bytes, bytes]] | None = None
) -> list[tuple[bytes, bytes]]:
    """What is in it; afterwards these rows are too."""
    opened = CacheJournal(path, 1 << 20, ring)
    found = list(opened.read())
    for row in rows or []:
        opened.add(*row)
    opened.close()
    return found


def test_a_sealed_cache_is_read_again_and_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.log"
    assert journal(path, RING, ROWS[:10]) == []
    assert journal(path, RING, ROWS[10:]) == ROWS[:10]
    assert journal(path, RING) == ROWS
    data = path.read_bytes()
    assert b"secret" not in data
    assert bytes([3]) * 32 not in data
    assert path.stat().st_mode & 0o77 == 0


def test_a_changed_byte_of_a_sealed_cache_ends_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.log"
    journal(path, RING, ROWS[:3])
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        found = journal(path, RING)
        assert len(found) < 3, at
        assert found == ROWS[: len(found)], at
    path.write_bytes(data)
    assert journal(path, RING) == ROWS[:3]


def test_a_plain_cache_is_sealed_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "c.log"
    journal(path, None, ROWS)
    assert b"secret" in path.read_bytes()
    assert journal(path, RING) == ROWS
    assert b"secret" not in path.read_bytes()
    assert journal(path, RING) == ROWS


def test_a_cache_goes_over_to_a_new_key(tmp_path: Path) -> None:
    path = tmp_path / "c.log"
    journal(path, RING, ROWS)
    assert journal(path, LATER) == ROWS
    assert journal(path, KeyRing([NEW])) == ROWS
    assert journal(path, RING) == []


def packed(folder: SnapshotFolder, content: bytes = b"points") -> Path:
    part = folder.new("frames")
    with tarfile.open(part, "x") as archive:
        entry = tarfile.TarInfo("x")
        entry.size = len(content)
        archive.addfile(entry, BytesIO(content))
    return part


def test_a_sealed_snapshot_is_told_and_given_as_the_tar_that_it_is(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path, ring=RING)
    part = packed(folder)
    tar = part.read_bytes()
    kept = folder.keep(part)
    assert (kept.size_bytes, folder.all("frames")) == (len(tar), [kept])
    path = folder.path("frames", kept.name)
    assert is_sealed(path)
    assert b"points" not in path.read_bytes()
    assert b"".join(folder.parts(path)) == tar
    plain = folder.unsealed(path)
    assert plain is not None
    assert plain.read_bytes() == tar
    assert sorted(left.suffix for left in path.parent.iterdir()) == [".checksum", ".snapshot"]


def test_a_sealed_snapshot_that_was_changed_or_moved_is_refused(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path, ring=RING)
    path = folder.path("frames", folder.keep(packed(folder)).name)
    data = path.read_bytes()
    for at in range(0, len(data), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        if is_sealed(path):
            with pytest.raises(TrustError):
                b"".join(folder.parts(path))
    path.write_bytes(data)
    moved = path.rename(path.with_name("other.snapshot"))
    with pytest.raises(TrustError):
        folder.unsealed(moved)
    assert list(folder.folder.glob(".received*")) == []


def test_snapshots_of_former_keys_and_plain_ones_are_read(tmp_path: Path) -> None:
    plain, old, later = (SnapshotFolder(tmp_path, ring=ring) for ring in (None, RING, LATER))
    names = [one.keep(packed(one, b"x" * 5000)).name for one in (plain, old, later)]
    sizes = {len(b"".join(later.parts(later.path("frames", name)))) for name in names}
    assert len(sizes) == 1
    assert later.unsealed(later.path("frames", names[0])) is None
    with pytest.raises(TrustError, match="is sealed by key"):
        b"".join(old.parts(old.path("frames", names[2])))
    with pytest.raises(TrustError, match="is sealed"):
        b"".join(plain.parts(plain.path("frames", names[1])))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(new_key()[1])
    file.chmod(0o600)
    return file


def ring_of(folder: Path, text: str) -> KeyRing | None:
    return open_keys(parse_site(f"[encryption]\n{text}".encode(), folder / "site.toml"))


def test_keys_come_from_a_file_a_credential_or_a_command(key_file: Path) -> None:
    ids = read_key_file(key_file).ids
    told = ring_of(key_file.parent, 'key_file = "keys"')
    assert told is not None
    assert told.ids == ids
    with settings.override(CREDENTIALS_DIRECTORY=str(key_file.parent)):
        given = ring_of(key_file.parent, 'credential = "keys"')
    assert given is not None
    assert given.ids == ids
    printed = ring_of(key_file.parent, f'command = ["{sys.executable}", "-c", "print(open(\'keys\').read())"]')
    assert printed is not None
    assert printed.ids == ids
    assert open_keys(parse_site(b"", key_file.parent / "site.toml")) is None


WRONG = {
    "": "no source of keys, needs exactly one",
    'key_file = "a"\ncredential = "b"': "names key_file, credential, needs exactly one",
    'key_file = "missing"': "No such file",
    'credential = "keys"': "systemd gave none",
    'command = ["/no/such/program"]': "No such file",
    'command = ["false"]': "exit code 1",
    'command = ["true"]': "0 keys",
}


@pytest.mark.parametrize("text", WRONG)
def test_where_there_are_no_keys_it_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingError, match=WRONG[text]):
        ring_of(tmp_path, text)


def test_keys_that_others_can_read_are_refused(key_file: Path) -> None:
    key_file.chmod(0o640)
    with pytest.raises(SettingError, match="others can read it, mode 640"):
        read_key_file(key_file)


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    device = tmp_path.stat().st_dev
    folder = tmp_path / f"root/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    (folder / "slaves/sda2/dm").mkdir(parents=True)
    return folder


def test_the_doctor_says_what_is_sealed_and_what_is_not(tmp_path: Path, key_file: Path, devices: Path) -> None:
    def told(text: str) -> dict[str, tuple[str, str]]:
        site = parse_site(text.encode(), tmp_path / "site.toml")
        found = examine_at_rest(site, root=tmp_path / "root")
        return {one.subject: (one.status.value, one.message) for one in found}

    assert [status for status, _ in told("").values()] == ["ok"]
    text = '[encryption]\nkey_file = "keys"'
    found = told(text)
    assert (found["keys"][0], found["shards"][0], "snapshots" in found) == ("ok", "warn", False)
    (devices / "slaves/sda2/dm/uuid").write_text("CRYPT-LUKS2-abc")
    plain = SnapshotFolder(tmp_path / "data", SYSTEM)
    plain.keep(packed(plain))
    found = told(text)
    assert (found["shards"][0], found["snapshots"][0]) == ("ok", "warn")
    key_file.chmod(0o644)
    assert told(text)["keys"][0] == "fail"
    for path in (tmp_path / "data/snapshots/frames").iterdir():
        path.unlink()
    sealing = SnapshotFolder(tmp_path / "data", SYSTEM, RING)
    sealing.keep(packed(sealing))
    assert told(text)["snapshots"] == ("ok", "1, all sealed")
    assert "near misses" not in found
    for folder in ("data/gateway", "data/tenants/acme/gateway"):
        (tmp_path / folder).mkdir(parents=True)
        misses = tmp_path / folder / "near-misses"
        misses.write_bytes(b"questions")
    assert told(text)["near misses"][0] == "warn"
    for misses in (tmp_path / "data").rglob("near-misses"):
        misses.write_bytes(Seal(RING, "near misses").pack(b"questions"))
    assert told(text)["near misses"] == ("ok", "of the gateway, 2, all sealed")


def test_a_seal_that_nobody_has_is_a_trust_error() -> None:
    with pytest.raises(LittoralError, match="keep a key until"):
        RING.of(NEW.id, "file")
