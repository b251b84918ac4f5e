"""Whatever is changed in a log is found: bytes, files, order, history; and nothing is found in a log that is right."""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from audit_log import KEY, ORIGIN, WITNESS_KEY, entries, entry, filled, opened
from littoral.artifact.ed25519 import SecretKey
from littoral.audit.checkpoint import Checkpoint
from littoral.audit.disk import FolderDisk, ForeignFolder
from littoral.audit.log import CHECKPOINT, KEYS, WITNESSED, WITNESSES, TreeLog
from littoral.audit.note import Note, Verifier, cosign, parse_note, sign
from littoral.audit.tiles import ENTRIES, Tile, bundle, bundled
from littoral.audit.verify import Report, verify_log
from littoral.audit.witness import Asked, Witness, cosigned_note
from tracked import ROOT

VERIFIER = ROOT / "tools/verify_audit.py"
SIZE = 66_000
CHANGES = 150
"""`bench/audit.py` makes a thousand in a log of a million."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log over three levels, which a witness has seen a while ago."""
    folder = tmp_path_factory.mktemp("whole")
    log = filled(folder, 65_000, batch=13_000)
    witness = Witness(FolderDisk(tmp_path_factory.mktemp("witness")), "littoral/gateway-2", WITNESS_KEY, lambda: 99.0)
    note = str(log.note).encode()
    signed, by = cosigned_note(witness.add("gateway-1", log.verifier, Asked(0, [], note)), note)
    log.cosigned(signed, by)
    log.append(entries(65_000, SIZE))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "log")
    return tmp_path / "log"


def verified(folder: Path, key: Verifier | None = None, earlier: tuple[bytes, ...] = ()) -> Report:
    return verify_log(FolderDisk(folder), key=key, earlier=earlier)


def where(report: Report) -> list[str]:
    return [fault.where for fault in report.faults]


def test_a_log_that_is_right(whole: Path) -> None:
    heeded = []
    report = verify_log(FolderDisk(whole), heed=lambda index, data: heeded.append((index, data)))
    assert report.faults == []
    assert (report.size, report.checked, report.pruned, report.is_own_key) == (SIZE, SIZE, 0, True)
    assert [(one.name, one.size, one.at_s) for one in report.witnesses] == [("littoral/gateway-2", 65_000, 99)]
    assert heeded[1234] == (1234, entry(1234))


def flip(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data))]


def grow(data: bytes, rng: Random) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 40))


def swap(data: bytes, rng: Random) -> bytes:
    """Two parts of 32 bytes in each other's place, as hashes would be."""
    parts = [data[at : at + 32] for at in range(0, len(data), 32)]
    one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    parts[one], parts[other] = parts[other], parts[one]
    return b"".join(parts)


def test_random_changes_are_all_found(folder: Path) -> None:
    rng = Random(7)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    near = [path for path in files if not path.relative_to(folder).as_posix().startswith(("tile/entries/", "tile/0/"))]
    missed, done = [], 0
    small = filled(folder.parent / "small", 700)
    del small
    for root, found in ((folder, near), (folder.parent / "small", None)):
        paths = found or sorted(path for path in root.rglob("*") if path.is_file())
        rounds = 4 if root is folder else CHANGES
        for number in range(rounds):
            path = rng.choice(paths)
            before = path.read_bytes()
            change = rng.choice((flip, flip, cut, grow, swap))
            after = change(before, rng)
            if after == before:
                continue
            path.write_bytes(after)
            done += 1
            if verified(root).is_right:
                missed.append((number, path, change.__name__))
            path.write_bytes(before)
        assert verified(root).is_right
    assert missed == []
    assert done > CHANGES * 0.9


def of_bundle(number: int, change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        path = folder / Tile(ENTRIES, number).path
        path.write_bytes(bundle(change(bundled(path.read_bytes(), path.name))))

    return changed


def removed(*tiles: Tile) -> Callable[[Path], None]:
    return lambda folder: [(folder / tile.path).unlink() for tile in tiles] and None


def renamed(folder: Path) -> None:
    one, other = (folder / Tile(ENTRIES, number).path for number in (3, 4))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def hash_and_entry(folder: Path) -> None:
    """Who changes an entry mends the tile above it too, but cannot sign."""
    made = filled(folder.parent / "made", 256)
    data = made.tile(Tile(0, 0))
    of_bundle(5, lambda found: [b"{}", *found[1:]])(folder)
    path = folder / Tile(0, 5).path
    path.write_bytes(data[:32] + path.read_bytes()[32:])


ATTACKS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "an entry is rewritten": (of_bundle(7, lambda found: [b"{}", *found[1:]]), ["entry 1792"]),
    "an entry is taken out": (of_bundle(7, lambda found: found[1:]), ["tile/entries/007", "entry 1792"]),
    "an entry is put in": (of_bundle(7, lambda found: [*found, b"{}"]), ["tile/entries/007"]),
    "two entries change places": (
        of_bundle(7, lambda found: [found[1], found[0], *found[2:]]),
        ["entry 1792", "entry 1793"],
    ),
    "two files of entries change places": (renamed, ["entry 768", "entry 769"]),
    "a file of entries is taken away": (removed(Tile(ENTRIES, 7)), ["tile/entries/007"]),
    "a tile is taken away": (removed(Tile(0, 7)), ["tile/0/007"]),
    "an entry and its hash are rewritten": (hash_and_entry, ["tile/0/005"]),
    "the checkpoint is taken away": (lambda folder: (folder / CHECKPOINT).unlink(), [CHECKPOINT]),
    "the key is taken away": (lambda folder: (folder / KEYS).unlink(), [KEYS]),
    "keys of witnesses are taken away": (lambda folder: (folder / WITNESSES).unlink(), [WITNESSED]),
    "a strange file is put in": (
        lambda folder: (folder / "tile/0/007.txt").write_text("x") and None,
        ["tile/0/007.txt"],
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_done_and_where_is_said(folder: Path, attack: str) -> None:
    change, wanted = ATTACKS[attack]
    change(folder)
    assert where(verified(folder))[: len(wanted)] == wanted


def rewritten(folder: Path, key: SecretKey, *, size: int = SIZE) -> TreeLog:
    """Another history from entry 30 on, whole and signed."""
    for path in (folder / "tile", folder / CHECKPOINT):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    log = TreeLog.begin(FolderDisk(folder), ORIGIN, key)
    todo = [*entries(0, 30), b"{}", *entries(31, size)]
    for at in range(0, size, 13_000):
        log.append(todo[at : at + 13_000])
    return log


def test_a_forked_history_is_found_by_what_others_have_seen(folder: Path) -> None:
    earlier = (folder / CHECKPOINT).read_bytes()
    rewritten(folder, KEY)
    report = verified(folder)
    assert report.faults == [
        (WITNESSED, "the first 65000 entries are others now: the log was forked"),
    ]
    (folder / WITNESSED).unlink()
    assert verified(folder).is_right, "nobody else has seen it"
    report = verified(folder, earlier=(earlier,))
    assert report.faults == [("earlier checkpoint 1", f"the first {SIZE} entries are others now: the log was forked")]


def test_a_log_that_was_cut_back_is_found(folder: Path) -> None:
    earlier = (folder / CHECKPOINT).read_bytes()
    rewritten(folder, KEY, size=50)
    faults = verified(folder, earlier=(earlier,)).faults
    assert [fault.what for fault in faults] == [
        "speaks of 65000 entries, the log has 50: it was cut back",
        f"speaks of {SIZE} entries, the log has 50: it was cut back",
    ]


def test_another_key_is_found_where_the_key_is_known(folder: Path) -> None:
    other = SecretKey(bytes(32))
    rewritten(folder, other)
    (folder / WITNESSED).unlink()
    assert verified(folder).is_right
    assert verified(folder).is_own_key
    assert where(verified(folder, Verifier(ORIGIN, KEY.public))) == [KEYS, CHECKPOINT]


def test_a_cosignature_that_is_none_is_found(folder: Path) -> None:
    note = parse_note((folder / WITNESSED).read_bytes(), WITNESSED)
    others = cosign("something else\n", "littoral/gateway-2", WITNESS_KEY, 99)
    (folder / WITNESSED).write_text(str(Note(note.text, (note.signatures[0], others))))
    assert verified(folder).faults == [(WITNESSED, "note: the signature of `littoral/gateway-2` is not of this text")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\xe2\x80\x94 name AAAA\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAA=\nx\n",
        b"text\n\n- name AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 na me AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAB=\n",
        b"te\0xt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        b"\xfftext\n\n\xe2\x80\x94 name AAAAAAA=\n",
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(Exception, match="is no signed note"):
        parse_note(data, "note")


def test_a_log_that_grows_meanwhile_is_right(tmp_path: Path) -> None:
    log = filled(tmp_path, 300)
    tiles = []

    class Growing(FolderDisk):
        def read(self, path: str) -> bytes | None:
            data = super().read(path)
            if path == CHECKPOINT and not tiles:
                log.append(entries(300, 600))
                tiles.append(log.size)
            return data

    report = verify_log(Growing(tmp_path))
    assert (report.faults, report.size) == ([], 300)
    assert tiles == [600]


def test_root_is_told(whole: Path) -> None:
    report = verified(whole)
    text = (whole / CHECKPOINT).read_text().split("\n")[2]
    assert bytes.fromhex(report.root) == base64.b64decode(text)
    assert opened(FolderDisk(whole)).checkpoint.root.hex() == report.root


PLACED: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "endless file": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
}


@pytest.mark.parametrize("placed", PLACED)
@pytest.mark.parametrize("path", [CHECKPOINT, KEYS, "tile/0/000", "tile/entries/000"])
def test_what_is_no_file_is_found_and_not_waited_for(tmp_path: Path, path: str, placed: str) -> None:
    filled(tmp_path, 300)
    (tmp_path / path).unlink()
    PLACED[placed](tmp_path / path)
    assert path in where(verify_log(ForeignFolder(tmp_path)))
    done = subprocess.run([sys.executable, VERIFIER, tmp_path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout[:7], done.stderr) == (1, "WRONG: ", "")


def test_a_checkpoint_of_a_log_without_end_is_told_at_once(tmp_path: Path) -> None:
    filled(tmp_path, 300)
    text = Checkpoint(ORIGIN, 10**17, bytes(32)).text
    (tmp_path / CHECKPOINT).write_text(str(Note(text, (sign(text, ORIGIN, KEY),))))
    (found,) = verified(tmp_path).faults
    assert found.where == CHECKPOINT
    assert f"take {10**17 // 256} files; the folder has" in found.what
