"""`littoral up --check`, what keeps a node from starting, and `littoral config schema`."""

import os
import socket
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from command import command, environment
from command import littoral as cli
from site_folder import TEXT, site_folder
from tracked import ROOT


def test_a_site_that_fits_is_shown_and_nothing_is_started(tmp_path: Path) -> None:
    done = cli("up", site_folder(tmp_path), "--check")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "embed: bytes",
        "  decode → `image` float32[1, 3, 32, 32]",
        "  embedder → `gemm_16` float32[1, 5]",
        "  normalize → `gemm_16` float32[1, 5]",
        "similar: bytes",
        "  decode → `image` float32[1, 3, 32, 32]",
        "  embedder → `gemm_16` float32[1, 5]",
        "  normalize → `gemm_16` float32[1, 5]",
        "  search → hits",
        f"{tmp_path / 'site.toml'}: agents 1, models 1, collections 1, pipelines 2: all fits",
    ]
    assert not (tmp_path / "data").exists()


def test_a_check_as_json(tmp_path: Path) -> None:
    report = cli("up", site_folder(tmp_path), "--check", "--json", "--listen", "[::1]:9").json
    assert (report["node"], report["listen"]) == ("store-12", "[::1]:9")
    assert report["pipelines"]["similar"][-1] == {
        "name": "search",
        "kind": "search",
        "uses": "frames",
        "takes": "`gemm_16` float32[1, 5]",
        "gives": "hits",
        "sources": ["normalize"],
        "digest": "",
    }


@pytest.mark.parametrize("check", [["--check"], []])
@pytest.mark.parametrize(
    ("right", "wrong", "code", "message"),
    [
        ("name =", "nam =", 5, "site.toml: `node.nam` is unknown\nhint: did you mean `name`?"),
        ('search = "frames"', 'search = "frame"', 5, "`pipelines.similar.steps[3].search` is `frame`, must be"),
    ],
)
def test_what_the_file_says_wrong_is_told_before_anything_starts(
    check: list[str], right: str, wrong: str, code: int, message: str, tmp_path: Path
) -> None:
    done = cli("up", site_folder(tmp_path, TEXT.replace(right, wrong)), *check)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("right", "wrong", "code", "message"),
    [
        ("embedder.wasm", "other.wasm", 4, "`models.embedder`: model `"),
        ('path = "embedder.wasm"', f'path = "embedder.wasm"\nsha256 = "{"0" * 64}"', 7, "SHA-256 is `"),
        ("builtin:image", "site.toml", 3, "`agents.decode`: "),
        ("width = 32", "width = 64", 5, "step `embedder` takes `x` float32[1, 3, 32, 32]"),
    ],
)
def test_what_does_not_fit_is_found_by_a_check_and_ends_a_start(
    right: str, wrong: str, code: int, message: str, tmp_path: Path
) -> None:
    site = site_folder(tmp_path, TEXT.replace(right, wrong))
    done = cli("up", site, "--check")
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    done = cli("up", site)
    assert (done.code, done.out) == (5, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = cli("up", tmp_path / "missing.toml", "--check")
    assert done.code == 4
    assert "missing.toml`: No such file or directory" in done.err


def test_an_address_that_is_none(tmp_path: Path) -> None:
    done = cli("up", site_folder(tmp_path), "--listen", "here")
    assert done.code == 5
    assert "address `here` is not HOST:PORT" in done.err


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = cli("up", site_folder(tmp_path), "--listen", address)
    assert done.code == 5
    assert address in done.err


def test_the_schema_is_json(tmp_path: Path) -> None:
    assert cli("config", "schema").json["title"] == "Littoral site file"


def test_a_supervisor_does_not_load_what_only_nodes_and_other_verbs_need() -> None:
    heavy = ("numpy", "asyncio", "typer", "rich", "ssl", "wasmtime", "littoral.web", "littoral.telemetry")
    show = f"import sys, littoral.cli.supervising; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", show], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_node_imports_nothing_but_what_a_node_installs() -> None:
    """`cryptography` and others come with extras: a node without them begins all the same."""
    locked = {line.partition("==")[0].lower() for line in (ROOT / "locks/node.txt").read_text().splitlines()}
    extras = sorted(
        module
        for module, owners in packages_distributions().items()
        if module != "littoral" and not locked.intersection(owner.lower() for owner in owners)
    )
    assert {"cryptography", "zenoh", "onnx"} <= set(extras)
    program = "\n".join(
        [
            "import sys",
            f"sys.modules.update(dict.fromkeys({extras!r}))",
            "import littoral.node.process, littoral.node.supervisor, littoral.cli",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_node_in_no_fleet_imports_nothing_of_updates() -> None:
    show = "import sys, littoral.node.process; print([name for name in sys.modules if name.startswith(%r)])"
    for part in ("littoral.updates", "littoral.node.updates.", "tuf", "securesystemslib"):
        done = subprocess.run([sys.executable, "-P", "-c", show % part], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"


def test_each_line_of_the_supervisor_is_one_write(tmp_path: Path) -> None:
    """The node writes to the same place; where streams are unbuffered too. A pipe of packets tells writes apart."""
    reads, writes = os.pipe2(os.O_DIRECT)
    site = site_folder(tmp_path)
    with os.fdopen(reads, "rb", buffering=0) as packets:
        told = {**environment(), "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command("up", site, "--listen", "127.0.0.1:0"), stderr=writes, env=told) as process:
            os.close(writes)
            try:
                found = iter(lambda: packets.read(4096).decode(), "")
                line = next(packet for packet in found if " serves http://" in packet)
            finally:
                process.terminate()
                while packets.read(4096):
                    pass
    assert line.startswith("littoral: node `store-12` serves http://127.0.0.1:")
    assert line.endswith("\n")
