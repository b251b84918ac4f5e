"""`littoral audit`: what it finds, shows and proves, in words, JSON and exit codes."""

import base64
import json
from pathlib import Path

import pytest

from audit_log import ORIGIN, entry, filled
from command import littoral as cli
from littoral.audit.tiles import ENTRIES, Tile
from littoral.audit.tree import is_included, leaf_hash

SIZE = 700


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    filled(tmp_path / "log", SIZE)
    return tmp_path / "log"


def test_a_log_that_is_right(folder: Path) -> None:
    key = (folder / "log.key").read_text().strip()
    done = cli("audit", "verify", folder)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"entries    {SIZE}, {SIZE} read, 0 pruned"
    assert "from the folder itself" in done.out
    told = json.loads(cli("audit", "verify", folder, "--key", key, "--json").out)
    assert (told["ok"], told["size"], told["key"], told["key_is_of_the_folder"]) == (True, SIZE, key, False)
    assert cli("audit", "verify", folder, "--key", folder / "log.key", "--earlier", folder / "checkpoint").code == 0


def test_what_was_changed_is_said_with_its_place(folder: Path) -> None:
    path = folder / Tile(ENTRIES, 1).path
    path.write_bytes(path.read_bytes().replace(b"frames", b"framed", 1))
    done = cli("audit", "verify", folder)
    assert done.code == 7
    assert done.out.splitlines()[0] == "WRONG  entry 256: its hash is not hash 0 of `tile/entries/001`'s tile"
    assert f"log `{folder}`: 1 fault" in done.err
    told = json.loads(cli("audit", "verify", folder, "--json").out)
    assert [fault["where"] for fault in told["faults"]] == ["entry 256"]


def test_entries_are_shown(folder: Path) -> None:
    lines = cli("audit", "show", folder, "--count", "3").out.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:4] == ["697", "2026-01-01T00:11:37Z", "query", "camera#ab12"]
    told = [
        json.loads(line)
        for line in cli("audit", "show", folder, "--from", "5", "--count", "2", "--json").out.splitlines()
    ]
    assert [one["number"] for one in told] == [5, 6]
    assert told[0]["entry"] == json.loads(entry(5))
    assert cli("audit", "show", folder, "--did", "delete").out == ""


def test_entries_are_found_by_whom_and_when(folder: Path) -> None:
    def numbers(*options: str) -> list[int]:
        return [int(line.split()[0]) for line in cli("audit", "show", folder, *options).out.splitlines()]

    assert numbers("--who", "camera", "--count", "2") == [698, 699]
    assert numbers("--who", "camera#ab12", "--until", "2026-01-01T00:00:02") == [0, 1, 2]
    assert numbers("--since", "2026-01-01T00:11:38", "--on", "frames") == [698, 699]
    assert numbers("--from", "10", "--count", "5", "--until", "2026-01-01T00:00:12") == [10, 11, 12]
    assert numbers("--who", "nobody") == numbers("--since", "2026-01-02") == []


def test_an_entry_is_proven(folder: Path) -> None:
    told = json.loads(cli("audit", "prove", folder, "300", "--json").out)
    origin, size, root = told["checkpoint"].split("\n")[:3]
    proof = [base64.b64decode(one) for one in told["proof"]]
    assert (origin, int(size)) == (ORIGIN, SIZE)
    assert is_included(300, SIZE, leaf_hash(told["entry"].encode()), proof, base64.b64decode(root))
    assert cli("audit", "prove", folder, "300").out.startswith(told["entry"])
    wrong = cli("audit", "prove", folder, "700")
    assert (wrong.code, "entry 700: the log has 700" in wrong.err) == (4, True)


def test_what_is_no_log_is_said(tmp_path: Path) -> None:
    assert "is none" in cli("audit", "verify", tmp_path / "nothing").err
    assert "so it is no log" in cli("audit", "show", tmp_path).err
    done = cli("audit", "verify", tmp_path, "--key", "a+b+c")
    assert (done.code, "is no NAME+HASH+KEY of Ed25519" in done.err) == (4, True)
