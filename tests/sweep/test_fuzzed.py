"""A hundred thousand changed requests, and as many inputs of parsers: minutes. Memory stays where it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzzed_node import FuzzedNode, fuzzed_node
from littoral import settings
from parser_seeds import PARSERS, fuzz

REQUESTS, PIECE = 100_000, 10_000
WARM_UP = 2
INPUTS = 10_000
GROWTH_BYTES_MAX = 48 << 20


@pytest.fixture(scope="module")
def node() -> Iterator[FuzzedNode]:
    with fuzzed_node() as found:
        yield found


@pytest.mark.timeout(7200)
def test_requests(node: FuzzedNode) -> None:
    sizes = []
    for seed in range(REQUESTS // PIECE):
        findings = node.fuzz(seed, PIECE)
        sizes.append(node.resident_bytes())
        print(f"{PIECE} requests, seed {seed}: {dict(findings.statuses)}, {sizes[-1]}")
        assert not findings.faults, findings.report()
    for name, before in sizes[WARM_UP].items():
        assert sizes[-1][name] - before < GROWTH_BYTES_MAX


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", PARSERS)
def test_inputs(name: str, tmp_path: Path) -> None:
    with settings.override(LITTORAL_STATE=str(tmp_path / "state"), LITTORAL_CACHE=str(tmp_path / "cache")):
        print(f"{name}: {fuzz(name, 2, max(100, INPUTS // PARSERS[name].cost))}")
