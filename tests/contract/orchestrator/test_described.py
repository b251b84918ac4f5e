"""schemathesis asks an orchestrator all that its OpenAPI document says, right and wrong, with tokens and without."""

import asyncio
from pathlib import Path

import pytest

from described_node import schemathesis
from littoral.web.access import guessing
from orchestrated import orchestrated

ENDLESS = ("/api/fleet/events", "/api/fleet/uploads", "/fleet/v1/signal")
"""Streams, and what waits for as long as it is told to. `test_uploads`, `test_node_side` ask these."""


async def test_nothing_is_other_than_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong tokens are refused one by one, without the wait that guesses otherwise cost."""
    monkeypatch.setattr(guessing, "BURST_COUNT", 1 << 30)
    async with orchestrated(tmp_path) as kept:
        await kept.artifact()
        await kept.enrolled("gw-1", "gw-2")
        tokens = {"LITTORAL_TEST_TOKEN": kept.tokens["publisher"], "LITTORAL_TEST_NODE_TOKEN": kept.tokens["gw-1"]}
        found = await asyncio.to_thread(
            schemathesis,
            f"http://{kept.address}",
            "schemathesis_fleet.toml",
            tokens,
            "--max-examples",
            "1",
            "--phases",
            "coverage",
            without=ENDLESS,
        )
    assert found.returncode == 0, found.stdout[-20000:] + found.stderr[-2000:]
    assert "Tested: " in found.stdout
