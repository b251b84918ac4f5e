"""The demo as a newcomer runs it: real weights, real clips, a real node; again without network; ended by Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from littoral.demo.run import check_extras
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("demo")]
ENDS_WITHIN_S = 60  # what is promised is 2, on a machine that does nothing else
LISTEN = "127.0.0.1:0"
NO_NETWORK = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")}


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-P", "-m", "littoral", "demo", "--folder", str(folder), "--listen", LISTEN, *options]


def processes_of(folder: Path) -> set[int]:
    """Processes that name this folder on their command line."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    check_extras()
    return tmp_path_factory.mktemp("demo")


@pytest.mark.timeout(1200)
def test_the_demo_finds_what_it_should_and_again_without_network(folder: Path) -> None:
    first = subprocess.run(command(folder, "--check"), capture_output=True, text=True, timeout=800)
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-2000:]
    assert "enough were hits" in first.stdout
    assert "pictures/s" in first.stderr
    second = subprocess.run(
        command(folder, "--check", "--json"), capture_output=True, text=True, timeout=400, env=os.environ | NO_NETWORK
    )
    assert second.returncode == 0, second.stderr[-2000:]
    grades = json.loads(second.stdout)
    assert grades["hit_rate"] >= 0.95
    assert min(grades["hit_rate_by_kind"].values()) >= 0.9
    assert "indexed already" in second.stderr
    until(lambda: not processes_of(folder))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children take SIGINT as at a terminal, also where this run was started in the background and ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_everything(folder: Path) -> None:
    running = subprocess.Popen(
        command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stderr is not None
    with running:
        try:
            told = next((line for line in running.stderr if "the page is at" in line), "")
            assert told, running.wait()
            url = told.split("the page is at ")[1].split()[0]
            with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "text/html"})) as page:
                assert b"<html" in page.read()
            os.killpg(running.pid, signal.SIGINT)
            assert running.wait(ENDS_WITHIN_S) == 0
            until(lambda: not processes_of(folder))
        finally:
            running.kill()


def test_a_folder_without_pictures_is_told(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(command(folder, "--photos", str(tmp_path)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 4
    assert "holds no picture" in done.stderr
    assert "Traceback" not in done.stderr
