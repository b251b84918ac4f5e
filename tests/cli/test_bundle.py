"""`littoral bundle`: what `--check` fails at, one archive, `verify`, and the workflow that comes with a bundle."""

import gzip
import io
import json
import re
import shlex
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from command import littoral as cli
from littoral import settings
from littoral.bundle.verifying import verified
from littoral.errors import InputError, LittoralError, TrustError
from modules_in_text import agent, model
from site_folder import TEXT, site_folder

ASKED = ("--pipeline", "similar", "--for", "workers")
MORE = """
[agents.mine]
path = "mine.wasm"

[models.large]
path = "large.wasm"

[pipelines.mine]
steps = [{ agent = "mine" }]

[pipelines.large]
steps = [{ model = "large" }]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    own = {name: str(folder / name) for name in ("state", "cache")}
    with settings.override(LITTORAL_STATE=own["state"], LITTORAL_CACHE=own["cache"]):
        done = cli("bundle", site_folder(folder), *ASKED, "--out", folder / "dist", "--archive", folder / "b.tar")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of the folder beside a copy of its archive."""
    shutil.copytree(made / "dist", tmp_path / "dist")
    shutil.copy(made / "b.tar", tmp_path)
    return tmp_path / "dist"


# --- what --check fails at ---


def test_check_fails_at_a_size(tmp_path: Path) -> None:
    done = cli("bundle", site_folder(tmp_path), *ASKED, "--check", "--size-mb", "0.05")
    assert done.code == 1
    assert "packed, `--size-mb`" in done.out
    assert "OVER" in done.out


def test_check_fails_at_what_no_bundle_gives(tmp_path: Path) -> None:
    site = site_folder(tmp_path, TEXT + MORE)
    (tmp_path / "large.wasm").write_bytes(model())
    imports = '(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))'
    (tmp_path / "mine.wasm").write_bytes(agent(imports=imports))
    (tmp_path / "sample").write_bytes(b"x")
    asked = ("--pipeline", "mine", "--for", "workers", "--check", "--sample", tmp_path / "sample")
    done = cli("bundle", site, *asked)
    assert done.code == 3
    assert "wasi_snapshot_preview1" in done.err
    text = site.read_text()
    site.write_text(text.replace('path = "mine.wasm"', 'path = "mine.wasm"\ngrants = ["wasi_snapshot_preview1"]'))
    done = cli("bundle", site, *asked)
    assert done.code == 4
    assert "agent `mine` is granted `wasi_snapshot_preview1`, which no bundle can give" in done.err


def test_check_fails_at_memory(tmp_path: Path) -> None:
    site = site_folder(tmp_path, TEXT + MORE)
    (tmp_path / "mine.wasm").write_bytes(agent())
    (tmp_path / "large.wasm").write_bytes(model(pages="2000 2000"))
    asked = ("bundle", site, "--pipeline", "large", "--for", "workers", "--out", tmp_path / "out", "--json")
    done = cli(*asked, "--check")
    assert done.code == 1
    (over,) = [found for found in done.json["findings"] if not found["kept"]]
    assert (over["what"], over["bound"], over["value"]) == ("memory of the guests", True, 2000 << 16)
    assert cli(*asked).code == 1
    assert not (tmp_path / "out").exists()


def test_a_known_input_is_asked_for(tmp_path: Path) -> None:
    site = site_folder(tmp_path, TEXT + MORE)
    (tmp_path / "large.wasm").write_bytes(model())
    (tmp_path / "mine.wasm").write_bytes(agent())
    done = cli("bundle", site, "--pipeline", "mine", "--for", "node", "--out", tmp_path / "out")
    assert done.code == 4
    assert "hint: `--sample FILE`" in done.err
    done = cli("bundle", site, "--pipeline", "mine", "--for", "node", "--sample", tmp_path / "nothing")
    assert (done.code, "`--sample`: " in done.err) == (4, True)


# --- one archive ---


def test_an_archive_is_the_same_bytes_again_and_what_the_folder_has(bundle: Path) -> None:
    first = bundle.parent / "b.tar"
    again = cli("bundle", site_folder(bundle.parent), *ASKED, "--out", bundle, "--archive", bundle.parent / "c.tar")
    assert again.code == 0
    assert first.read_bytes() == (bundle.parent / "c.tar").read_bytes()
    with tarfile.open(first) as archive:
        found = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
        assert {(entry.mtime, entry.uid, entry.mode) for entry in archive} == {(0, 0, 0o644)}
    assert found == {file.name: file.read_bytes() for file in bundle.iterdir()}
    manifest = json.loads(found["bundle.json"])
    assert (manifest["format"], manifest["name"], manifest["target"]) == (1, "similar", "workers")
    assert {limit["what"] for limit in manifest["limits"]} >= {"packed", "memory of the guests"}


def test_an_archive_of_another_kind_is_refused(tmp_path: Path) -> None:
    done = cli("bundle", site_folder(tmp_path), *ASKED, "--archive", tmp_path / "b.zip")
    assert done.code == 4
    assert "must end in .tar or .tar.gz" in done.err


def test_what_was_written_is_verified(bundle: Path) -> None:
    packed = bundle.parent / "b.tar.gz"
    packed.write_bytes(gzip.compress((bundle.parent / "b.tar").read_bytes()))
    found = [cli("bundle", "verify", path, "--json").json for path in (bundle, packed, bundle.parent / "b.tar")]
    assert found[0] == found[1] == found[2]
    assert (found[0]["name"], found[0]["target"]) == ("similar", "workers")
    assert cli("bundle", "verify", packed, "--sha256", found[0]["sha256"]).code == 0
    other = cli("bundle", "verify", packed, "--sha256", "0" * 64)
    assert other.code == 7
    assert "SHA-256 of `bundle.json`" in other.err


def changed(folder: Path) -> None:
    file = folder / "model.wasm"
    file.write_bytes(file.read_bytes()[:-1] + b"x")


OTHER = '{"format": 9, "name": "a", "target": "b", "version": "c", "files": {}, "limits": []}'
DAMAGE: dict[str, tuple[Callable[[Path], object], type[LittoralError], str]] = {
    "changed": (changed, TrustError, "`model.wasm` has SHA-256"),
    "missing": (lambda folder: (folder / "agent.wasm").unlink(), TrustError, "`agent.wasm` is missing"),
    "besides": (lambda folder: (folder / "more.mjs").write_text("x"), TrustError, "`more.mjs` is not in its manifest"),
    "no manifest": (lambda folder: (folder / "bundle.json").unlink(), InputError, "has no `bundle.json`"),
    "no JSON": (lambda folder: (folder / "bundle.json").write_text("{"), InputError, "`bundle.json`"),
    "other format": (lambda folder: (folder / "bundle.json").write_text(OTHER), InputError, "`format` is 9"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named(bundle: Path, kind: str) -> None:
    work, error, message = DAMAGE[kind]
    work(bundle)
    with pytest.raises(error, match=re.escape(message)):
        verified(bundle)


def test_damage_has_an_exit_code_of_its_own(bundle: Path) -> None:
    changed(bundle)
    assert cli("bundle", "verify", bundle).code == 7


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)
        if kind == tarfile.REGTYPE:
            archive.addfile(info)
    return buffer.getvalue()


HOSTILE = {
    "outside": entry("../escape"),
    "absolute": entry("/etc/passwd"),
    "link": entry("bundle.json", tarfile.SYMTYPE, "/etc/passwd"),
    "device": entry("null", tarfile.CHRTYPE),
    "folder": entry("folder", tarfile.DIRTYPE),
    "twice": entry("bundle.json"),
    "no archive": b"no archive" * 99,
    "cut off": b"\x1f\x8b\x08\x00",
    "empty": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_that_is_no_bundle_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "b.tar").write_bytes(HOSTILE[kind])
    with pytest.raises(InputError, match=r"archive|bundle\.json"):
        verified(tmp_path / "b.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar"]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = cli("bundle", "verify", tmp_path / "nothing")
    assert done.code == 4
    assert "nothing" in done.err


# --- the workflow ---


def test_the_workflow_runs(bundle: Path) -> None:
    """Its own commands, in its order; what it installs and uploads is another's."""
    workflow = yaml.safe_load((bundle / "deploy.yml").read_text())
    assert workflow.keys() == {"name", True, "permissions", "jobs"}  # `on` is a truth value to YAML 1.1
    jobs = workflow["jobs"]
    assert jobs["deploy"]["needs"] == "bundle"
    for job in jobs.values():
        assert job["runs-on"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    ours = [shlex.split(command) for command in commands if command.startswith("littoral ")]
    assert [words[1] for words in ours] == ["bundle", "bundle", "bundle"]
    (bundle.parent / "checkout").mkdir()
    site = site_folder(bundle.parent / "checkout")
    for words in ours:
        done = cli(*(site.name if word == "$SITE" else word for word in words[1:]), folder=site.parent)
        assert done.code == 0, (words, done.err)
    assert (site.parent / "similar.tar.gz").exists()
    unpack = next(command for command in commands if "tar -xf" in command)
    assert "tar -xf similar.tar.gz -C dist" in unpack
