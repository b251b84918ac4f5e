"""What all tests share: an installation of their own, and `require` for what a machine may lack."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from littoral import settings


@pytest.fixture(autouse=True)
def installation(tmp_path: Path) -> Iterator[Path]:
    """A state and a cache folder that nobody else has; the folder above them."""
    with settings.override(LITTORAL_STATE=str(tmp_path / "state"), LITTORAL_CACHE=str(tmp_path / "cache")):
        yield tmp_path


@pytest.fixture
def require() -> Callable[[str], ModuleType]:
    """Imports a package or skips, naming it; with LITTORAL_REQUIRE_ALL=1 its absence fails."""

    def require_package(name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except ImportError:
            if settings.boolean("LITTORAL_REQUIRE_ALL"):
                pytest.fail(f"package `{name}` is missing")
            pytest.skip(f"package `{name}` is missing")

    return require_package
