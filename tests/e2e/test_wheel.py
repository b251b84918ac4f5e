"""A wheel as it is published: whole, and working where the checkout is not."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from flit_core.wheel import make_wheel_in

from site_folder import site_folder
from tracked import ROOT, tracked_files

pytestmark = pytest.mark.e2e

WHERE = """
import sys, littoral
from littoral.web.page_assets import PageAssets
assert not littoral.__file__.startswith(sys.argv[1]), littoral.__file__
print(PageAssets().names())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_wheel_in(ROOT / "pyproject.toml", tmp_path_factory.mktemp("wheel")).file)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with this wheel; what it depends on is that of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--disable-pip-version-check", wheel], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
        (entries,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/entry_points.txt"))
    source = ROOT / "src"
    wanted = {path.relative_to(source).as_posix() for path in tracked_files() if path.is_relative_to(source)}
    assert inside == wanted
    assert "littoral=littoral.cli:main" in entries
    assert "Requires-Python: >=3.11" in metadata
    assert "Provides-Extra: vault" in metadata


def test_it_runs_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120}
    told = subprocess.run([installed / "littoral", "--version"], **run)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("littoral 0.")
    where = subprocess.run([installed / "python", "-c", WHERE, str(ROOT / "src")], **run)
    assert where.returncode == 0, where.stderr
    assert "index.html" in where.stdout
    checked = subprocess.run([installed / "littoral", "up", site_folder(tmp_path), "--check"], **run)
    assert checked.returncode == 0, checked.stderr
    assert "all fits" in checked.stdout
