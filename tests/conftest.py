"""Fixtures for every kind of test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from littoral import settings


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cache and state of the tests never touch the user's."""
    base = tmp_path_factory.getbasetemp()
    with settings.override(LITTORAL_CACHE=str(base / "cache"), LITTORAL_STATE=str(base / "state")):
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


def require(condition: object, missing: str) -> None:
    """Skips a test, naming what is missing; fails it where everything must be there."""
    if condition:
        return
    if settings.boolean("LITTORAL_REQUIRE_ALL"):
        pytest.fail(f"missing: {missing}")
    pytest.skip(f"missing: {missing}")
