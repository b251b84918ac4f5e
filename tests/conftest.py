"""What all tests share: an installation of their own, golden files, and a word for what a machine may lack."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from littoral import settings

collect_ignore = [] if settings.boolean("LITTORAL_SWEEP") else ["sweep"]


@pytest.fixture(autouse=True)
def installation(tmp_path: Path) -> Iterator[Path]:
    """A state and a cache folder that nobody else has; the folder above them."""
    with settings.override(LITTORAL_STATE=str(tmp_path / "state"), LITTORAL_CACHE=str(tmp_path / "cache")):
        yield tmp_path


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
