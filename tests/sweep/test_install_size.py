"""What a node installs stays small, and an installed wheel works without the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest
from flit_core.wheel import make_wheel_in

from tracked import ROOT

NODE_BYTES_MAX = 200_000_000
NOT_FOR_NODES = ("onnx", "PIL", "av", "onnxruntime", "pip")
HELLO = """
import sys, littoral, littoral.runtime.pipeline, littoral.vectors.collections, littoral.cli.app
print(littoral.__version__)
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment as a node has it: the node's lock and the wheel; its folder."""
    folder = tmp_path_factory.mktemp("node")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    wheel = make_wheel_in(ROOT / "pyproject.toml", folder).file
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "venv/bin/python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "-r", ROOT / "locks/node.txt"], check=True)
    subprocess.run([*pip, wheel], check=True)
    return folder / "venv"


def test_it_takes_at_most_200_mb(node: Path) -> None:
    (packages,) = node.glob("lib/python*/site-packages")
    blocks = {(p.stat().st_dev, p.stat().st_ino): p.stat().st_blocks * 512 for p in packages.rglob("*") if p.is_file()}
    total = sum(blocks.values())
    print(f"{total / 1e6:.1f} MB")
    assert total <= NODE_BYTES_MAX


def test_no_library_of_the_demo_is_there(node: Path) -> None:
    (packages,) = node.glob("lib/python*/site-packages")
    assert [name for name in NOT_FOR_NODES if (packages / name).exists()] == []


def test_it_starts_from_the_wheel_alone(node: Path, tmp_path: Path) -> None:
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run([node / "bin/python", "-c", HELLO], **run)
    assert (done.returncode, done.stderr) == (0, "")
    assert subprocess.run([node / "bin/littoral", "--version"], **run).stdout == f"littoral {done.stdout}"
