"""A node as one file: copied, started without a network or an environment, and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import off_line
from command import command, environment
from command import littoral as cli
from littoral import settings
from needs import need
from page_pictures import page_pictures
from ports import free_port
from site_folder import TEXT, site_folder
from waiting import until

pytestmark = pytest.mark.e2e

AUTH = "\n[auth]\n"
PYTHON = Path(sys.base_prefix) / f"bin/python{sys.version_info[0]}.{sys.version_info[1]}"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHON": str(PYTHON)}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `site`, packed as `store-12.run` and as the folder `box`."""
    folder = tmp_path_factory.mktemp("packed")
    with settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")):
        (folder / "site").mkdir()
        site = site_folder(folder / "site", TEXT.replace("127.0.0.1:0", f"127.0.0.1:{free_port()}") + AUTH)
        told = [cli("pack", site, "--to", folder / to, "--json").json for to in ("store-12.run", "box")]
    assert told[0]["sha256"] == told[1]["sha256"]
    (folder / "told.json").write_text(json.dumps(told[0]))
    return folder


def start(program: Path, *arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
    line = [str(part) for part in (program, *arguments)]
    return subprocess.run(line, env=ENVIRONMENT | variables, capture_output=True, text=True, timeout=120)


def with_manifest(folder: Path, to: Path, **values: Any) -> Path:
    """The start of a pack whose manifest says something else."""
    to.mkdir()
    for name in ("littoral", "start.py"):
        shutil.copy(folder / "box" / name, to / name)
    manifest = json.loads((folder / "box/pack.json").read_text())
    (to / "pack.json").write_text(json.dumps(manifest | values))
    return to / "littoral"


def test_a_packed_node_runs_offline_and_through_a_power_cut(packed: Path, tmp_path: Path) -> None:
    need(shutil.which("unshare") and shutil.which("ip"), "unshare and ip")
    can_unshare = subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0
    need(can_unshare, "user namespaces")
    shutil.copy(packed / "store-12.run", tmp_path)
    (tmp_path / "picture.jpg").write_bytes(page_pictures()[0].data)
    port = (packed / "site/site.toml").read_text().partition("127.0.0.1:")[2].partition('"')[0]
    off = [str(PYTHON), off_line.__file__, str(tmp_path / "store-12.run"), str(tmp_path / "picture.jpg"), port]
    done = subprocess.run(["unshare", "-rn", *off], capture_output=True, text=True, timeout=500, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    seen: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        seen |= json.loads(line)
    assert seen["networks"] == ["lo"]
    assert seen["embedded"][0] == seen["written"][0] == seen["again"] == seen["page"] == 200
    assert seen["nobody"] == 401
    assert seen["read"][1]["result"]["payload"] == {"n": 7}
    assert "trusted engine" in done.stderr, "the model that was compiled where it was packed is trusted there"
    assert seen["end"] == 0
    assert str(packed) not in done.stderr


def test_what_it_needs_is_told(packed: Path) -> None:
    told = json.loads((packed / "told.json").read_text())
    assert told["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert (told["node"], told["machine"]) == ("store-12", os.uname().machine)
    assert {"littoral", "numpy", "wasmtime", "qdrant-edge-py"} <= told["packages"].keys()
    assert not {"onnx", "pillow", "pytest", "eclipse-zenoh"} & told["packages"].keys()
    assert [one["what"] for one in told["left_out"]] == ["tokens.json"]


def test_the_folder_is_what_the_file_holds(packed: Path) -> None:
    with zipfile.ZipFile(packed / "store-12.run") as archive:
        inside = {name: archive.read(name) for name in archive.namelist() if name != "__main__.py"}
    found = {
        path.relative_to(packed / "box").as_posix(): path for path in (packed / "box").rglob("*") if path.is_file()
    }
    assert found.keys() == inside.keys()
    assert [name for name, path in found.items() if path.read_bytes() != inside[name]] == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"python": [3, 99]}, "this pack is for Python 3.99, this is 3."),
        ({"machine": "vax"}, "this pack is for vax, this machine is "),
        ({"glibc": [9, 9]}, "this pack needs glibc 9.9 or newer, this is glibc "),
        ({"format": 2}, "`pack.json` has format 2, this is 1"),
        ({"files": [{"name": "../x", "size": 0, "sha256": "", "mode": 420}]}, "names `../x`, which no pack holds"),
    ],
)
def test_another_machine_is_refused(packed: Path, tmp_path: Path, values: dict[str, Any], said: str) -> None:
    done = start(with_manifest(packed, tmp_path / "other", **values), "--version")
    assert done.returncode in (5, 7)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_its_python_the_shell_says_so(packed: Path, tmp_path: Path) -> None:
    for program in (packed / "box/littoral", packed / "store-12.run"):
        text = program.read_bytes().partition(b"\nexit 5\n")[0].decode() + "\nexit 5\n"
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        other = tmp_path / program.name
        other.write_text(text.replace(version, "3.99"))
        other.chmod(0o755)
        done = start(other)
        assert done.returncode == 5
        assert "needs Python 3.99, which is not here" in done.stderr


def test_a_byte_that_is_another_is_found_before_anything_starts(packed: Path, tmp_path: Path) -> None:
    box = tmp_path / "box"
    shutil.copytree(packed / "box", box)
    victim = box / "site/embedder.wasm"
    spoiled = bytearray(victim.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    victim.write_bytes(spoiled)
    done = start(box / "littoral", "--version")
    assert done.returncode == 7
    assert "`site/embedder.wasm` is not what was packed: its SHA-256 is `" in done.stderr
    victim.write_bytes((packed / "box/site/embedder.wasm").read_bytes())
    assert start(box / "littoral", "--version").stdout.startswith("littoral ")
    (box / "packages/littoral/py.typed").unlink()  # once looked at, a pack is not looked at again
    assert start(box / "littoral", "--version").stdout.startswith("littoral ")


def test_a_file_that_was_spoiled_leaves_no_folder(packed: Path, tmp_path: Path) -> None:
    run = tmp_path / "store-12.run"
    spoiled = bytearray((packed / "store-12.run").read_bytes())
    with zipfile.ZipFile(packed / "store-12.run") as archive:
        at = archive.getinfo("site/embedder.wasm").header_offset + 400
    spoiled[at] ^= 0xFF
    run.write_bytes(spoiled)
    run.chmod(0o755)
    done = start(run, "--version")
    assert done.returncode == 7, done.stderr
    assert "`site/embedder.wasm`" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and "store" in path.name] == []


def test_unpacking_that_is_cut_off_is_begun_anew(packed: Path, tmp_path: Path) -> None:
    run = Path(shutil.copy(packed / "store-12.run", tmp_path))
    process = subprocess.Popen([run, "--version"], env=ENVIRONMENT)

    def is_unpacking() -> bool:
        return any((path / "packages").exists() for path in tmp_path.glob(".store-12.unpacking-*"))

    until(is_unpacking)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert not (tmp_path / "store-12").exists()
    assert start(run, "--version").stdout.startswith("littoral ")
    assert list(tmp_path.glob(".store-12.*")) == []
    other = with_manifest(packed, tmp_path / "other", site="site/other.toml").parent
    done = start(run, "--to", other)
    assert (done.returncode, "holds another pack" in done.stderr) == (4, True)


@pytest.mark.parametrize(
    ("right", "wrong", "code", "said"),
    [
        ('path = "embedder.wasm"', 'path = "{outside}/embedder.wasm"', 4, "lies outside"),
        ('path = "embedder.wasm"', 'path = "missing.wasm"', 4, "missing.wasm"),
    ],
)
def test_what_a_pack_cannot_hold(tmp_path: Path, right: str, wrong: str, code: int, said: str) -> None:
    for name in ("outside", "site"):
        (tmp_path / name).mkdir()
    site_folder(tmp_path / "outside")
    site = site_folder(tmp_path / "site", TEXT.replace(right, wrong.replace("{outside}", str(tmp_path / "outside"))))
    done = subprocess.run(
        command("pack", site, "--to", tmp_path / "box", "--json"), env=environment(), capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert not (tmp_path / "box").exists()


def test_nothing_is_written_over(packed: Path) -> None:
    again = cli("pack", packed / "site/site.toml", "--to", packed / "box")
    assert (again.code, "is there" in again.err) == (4, True)
