"""What all tests share: an installation of their own, golden files, and a word for what a machine may lack."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from littoral import settings
from littoral.runtime.pool import Pool
from repeated import pytest_runtest_protocol, pytest_terminal_summary

__all__ = ["golden", "installation", "pytest_runtest_protocol", "pytest_terminal_summary"]

POOL_WAIT_MS = 60_000.0
"""How long calls wait for an instance unless they say otherwise: the default, a second, is little on a busy machine."""

collect_ignore = [] if settings.boolean("LITTORAL_SWEEP") else ["sweep"]


@pytest.fixture(autouse=True)
def installation(tmp_path: Path) -> Iterator[Path]:
    """A state and a cache folder that nobody else has; the folder above them."""
    with settings.override(LITTORAL_STATE=str(tmp_path / "state"), LITTORAL_CACHE=str(tmp_path / "cache")):
        yield tmp_path


@pytest.fixture(scope="session", autouse=True)
def _patient_pools() -> Iterator[None]:
    """Of nodes in the test's own process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Pool.__init__.__kwdefaults__, "wait_ms", POOL_WAIT_MS)
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Compares text with the committed file of the test's name; `BLESS=1` rewrites it."""

    def check(text: str) -> None:
        name = request.node.name.replace("/", "_")
        path = Path(request.path).parent / "golden" / f"{name}.txt"
        if os.environ.get("BLESS"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        expected = path.read_text() if path.exists() else ""
        assert text == expected, f"accept with: BLESS=1 pytest '{request.node.nodeid}'"

    return check
