"""`littoral keys`, `sign`, `verify`, and a node that asks for signatures."""

import stat
from pathlib import Path

import pytest

from command import littoral
from modules_in_text import model
from site_folder import MODEL, TEXT, site_folder

SIGNATURES = '\n[signatures]\nkeys = ["release.pub"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a pair of keys, and a module."""
    made = littoral("keys", "new", "release", "--json", folder=tmp_path)
    assert made.json["key"] == "release.key"
    (tmp_path / "m.wasm").write_bytes(model())
    return tmp_path


def test_a_key_is_its_owners_and_is_not_replaced(folder: Path) -> None:
    key = folder / "release.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    again = littoral("keys", "new", "release", folder=folder)
    assert (again.code, again.out) == (4, "")
    assert "`release.key` is there already" in again.err
    assert key.read_bytes() == before
    shown = [littoral("keys", "show", f"release.{kind}", "--json", folder=folder).json for kind in ("key", "pub")]
    assert [one["kind"] for one in shown] == ["secret", "public"]
    assert shown[0]["key_id"] == shown[1]["key_id"]
    assert before.hex() not in littoral("keys", "show", "release.key", folder=folder).out


def test_what_was_signed_is_verified_and_what_was_changed_is_not(folder: Path) -> None:
    signed = littoral("sign", "m.wasm", "--key", "release.key", "-o", "s.wasm", folder=folder)
    assert (signed.code, signed.err) == (0, "")
    verified = littoral("verify", "s.wasm", "--key", "release.pub", "--json", folder=folder).json
    assert verified["sha256"] in signed.out
    assert verified["signed_by"][0] in signed.out
    (folder / "s.wasm").write_bytes((folder / "s.wasm").read_bytes()[:-1] + b"\xff")
    refused = littoral("verify", "s.wasm", "--key", "release.pub", folder=folder)
    assert (refused.code, refused.out) == (7, "")
    assert f"`s.wasm`: signed by 0 of the keys {verified['signed_by'][0]}, needs 1" in refused.err
    again = littoral("sign", "s.wasm", "--key", "release.key", folder=folder)
    assert "changed after it was signed" in again.err
    assert littoral("sign", "s.wasm", "--key", "release.key", "--replace", folder=folder).code == 0
    assert littoral("verify", "s.wasm", "--key", "release.pub", folder=folder).code == 0


def test_signatures_lie_beside_a_module_that_stays_as_it_is(folder: Path) -> None:
    before = (folder / "m.wasm").read_bytes()
    assert littoral("verify", "m.wasm", "--key", "release.pub", folder=folder).code == 7
    assert littoral("sign", "m.wasm", "--key", "release.key", "--detached", folder=folder).code == 0
    assert (folder / "m.wasm").read_bytes() == before
    assert littoral("verify", "m.wasm", "--key", "release.pub", folder=folder).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("sign", "m.wasm", "--key", "release.pub"), 4, "key `release.pub`: not a secret key"),
        (("verify", "m.wasm", "--key", "release.key"), 4, "key `release.key`: not a public key"),
        (("verify", "m.wasm", "--key", "nowhere.pub"), 4, "key `nowhere.pub`: No such file"),
        (("verify", "nowhere.wasm", "--key", "release.pub"), 4, "module `nowhere.wasm`: No such file"),
        (("verify", "release.pub", "--key", "release.pub"), 3, "not a WebAssembly module"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = littoral(*arguments, folder=folder)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_a_node_opens_what_its_keys_signed_and_nothing_else(folder: Path) -> None:
    site = site_folder(folder, TEXT + SIGNATURES)
    refused = littoral("up", site, "--check")
    assert refused.code == 7
    assert "models.embedder" in refused.err
    assert "signed by 0 of the keys" in refused.err
    site.write_text(TEXT + SIGNATURES + "own = true\n")
    assert littoral("up", site, "--check").code == 0
    site.write_text(TEXT + SIGNATURES)
    assert littoral("sign", MODEL, "--key", "release.key", folder=folder).code == 0
    assert littoral("up", site, "--check").code == 0
    site.write_text(TEXT + SIGNATURES + "threshold = 2\n")
    assert "`signatures.threshold` is 2, at most the number of keys, 1" in littoral("up", site, "--check").err
    site.write_text(TEXT + SIGNATURES.replace("release.pub", "nowhere.pub"))
    assert "`signatures.keys[0]`: `nowhere.pub`" in littoral("up", site, "--check").err
