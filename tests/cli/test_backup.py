"""`littoral backup`, `littoral restore`, `littoral keys seal`: exit codes, what is printed and where."""

import re
from pathlib import Path

import pytest

from command import Done
from command import littoral as cli
from littoral.node.at_rest import read_key_file
from stopped_node import SITE, write_points, write_stopped


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "node").mkdir()
    return write_stopped(tmp_path / "node")


def told(done: Done) -> tuple[int, str, str]:
    """Without times and sizes."""
    out = re.sub(r"\d{8}T\d{6}Z", "TIME", done.out)
    out = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", out)
    return done.code, re.sub(r"[\d.]+ [KMG]?i?B\b", "SIZE", out), done.err


LEFT_OUT = "left out: tokens.json: digests of tokens: `--with-tokens` takes them along, or make new ones\n"
MADE = """\
{number}-TIME  gw-1 as of TIME UTC, {how}
  1 collections, {count} files, SIZE, of which SIZE were written
"""


def test_a_backup_is_made_listed_verified_pruned_and_restored(site: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = cli("backup", kept, "--site", site)
    count = int(re.findall(r"(\d+) files", first.out)[0])
    assert told(first) == (0, MADE.format(number="000001", how="not sealed", count=count), LEFT_OUT)
    write_points(site, range(100, 120))
    second = cli("backup", "new", kept, "--site", site, "--with-tokens", "--json").json
    assert (second["node"], second["collections"], second["key"]) == ("gw-1", ["parts"], "")
    assert (second["left_out"], second["removed"]) == ([], [])
    listed = cli("backup", "list", kept)
    assert [line.split("  ")[1] for line in listed.out.splitlines()] == ["gw-1", "gw-1"]
    assert told(cli("backup", "verify", kept)) == (0, "2 backups, every byte is as it was written\n", "")
    pruned = cli("backup", "prune", kept, "--keep", "1")
    assert (pruned.code, pruned.out.startswith("removed 000001-")) == (0, True)
    done = cli("restore", kept, "--to", tmp_path / "again")
    assert told(done)[:2] == (0, f"000002-TIME  gw-1, 1 collections, SIZE\n  littoral up {tmp_path}/again/site.toml\n")


def test_damage_is_told_and_nothing_is_restored(site: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert cli("backup", kept, "--site", site).code == 0
    blob = max((path for path in (kept / "blobs").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    found = cli("backup", "verify", kept, "--json")
    assert (found.code, found.json["ok"], len(found.json["damage"])) == (1, False, 1)
    refused = cli("restore", kept, "--to", tmp_path / "again")
    assert (refused.code, refused.out, "is not as it was written" in refused.err) == (7, "", True)
    assert not (tmp_path / "again").exists()


def test_a_sealed_backup_needs_its_keys(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    site = write_stopped(tmp_path / "node", SITE + '\n[encryption]\nkey_file = "keys"\n')
    keys, kept = site.parent / "keys", tmp_path / "kept"
    made = cli("keys", "seal", keys, "--json").json
    assert (made["keys"], keys.stat().st_mode & 0o777) == (1, 0o600)
    assert cli("backup", kept, "--site", site, "--json").json["key"] == made["key_id"]
    refused = cli("restore", kept, "--to", tmp_path / "again")
    assert (refused.code, "is sealed" in refused.err) == (7, True)
    rotated = cli("keys", "seal", keys)
    assert (rotated.code, "seals from now on, 2 in all" in rotated.out) == (0, True)
    assert read_key_file(keys).ids[1] == made["key_id"]
    again = cli("backup", kept, "--site", site, "--json").json
    assert again["key"] == read_key_file(keys).ids[0]
    assert cli("restore", kept, "--to", tmp_path / "again", "--keys", keys).code == 0


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    nobody = cli("backup", tmp_path / "kept", "--url", "http://127.0.0.1:9")
    assert (nobody.code, "cannot be reached" in nobody.err) == (5, True)
    assert not (tmp_path / "kept").exists()
    nothing = cli("backup", "verify", tmp_path / "kept")
    assert (nothing.code, "holds no backup" in nothing.err) == (4, True)
    both = cli("backup", tmp_path / "kept", "--plain", "--keys", tmp_path / "keys")
    assert both.code == 4
    assert cli("backup").code == 2
