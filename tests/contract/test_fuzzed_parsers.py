"""Changed bytes at every parser: read, or refused with an error of ours, and nothing else."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from littoral import settings
from parser_seeds import PARSERS, fuzz

if TYPE_CHECKING:
    from pathlib import Path

CASES = 300
COST_MAX = 80
NEVER_REFUSED = ("traceparent", "cache-journal", "module", "aliases")


@pytest.fixture(scope="module", autouse=True)
def installation_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    with settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")):
        yield


@pytest.mark.parametrize("name", [name for name, parser in PARSERS.items() if parser.cost < COST_MAX])
def test_changed_bytes_are_read_or_refused(name: str) -> None:
    found = fuzz(name, 1, max(4, CASES // PARSERS[name].cost))
    assert found["taken"]
    assert found["refused"] or name in NEVER_REFUSED
