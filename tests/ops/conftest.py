"""Where the guests under test lie: the committed ones, or a folder of freshly built ones (`--guests`)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from littoral import settings

ROOT = Path(__file__).parents[2]
COMMITTED = {
    "image": ROOT / "src/littoral/runtime/builtin/image.wasm",
    "text": ROOT / "src/littoral/runtime/builtin/text.wasm",
    "probe": ROOT / "tests/guests/probe.wasm",
    "neural": ROOT / "tests/guests/neural.wasm",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--guests", metavar="FOLDER", help="test the guests in this folder, not the committed ones")


def guest(config: pytest.Config, name: str) -> Path:
    folder = config.getoption("--guests", None)
    return Path(folder) / f"{name}.wasm" if folder else COMMITTED[name]


@pytest.fixture
def image(request: pytest.FixtureRequest) -> Path:
    """The agent `image`."""
    return guest(request.config, "image")


@pytest.fixture
def probe(request: pytest.FixtureRequest) -> Path:
    """The agent `probe`."""
    return guest(request.config, "probe")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def text(request: pytest.FixtureRequest, installation: Path, compiled: Path) -> Iterator[Path]:
    """The agent `text`, whose machine code takes seconds to make, and is made once."""
    with settings.override(LITTORAL_STATE=str(compiled / "state"), LITTORAL_CACHE=str(compiled / "cache")):
        yield guest(request.config, "text")


@pytest.fixture
def neural(request: pytest.FixtureRequest) -> Path:
    """The agent `neural`."""
    return guest(request.config, "neural")
