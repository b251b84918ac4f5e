"""One rig for each network."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh_rigs import FakeRig, Rig, ZenohRig


@pytest.fixture(params=["fake", "zenoh_quic", "zenoh_tls"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    made: Rig
    match request.param:
        case "zenoh_quic":
            made = ZenohRig(tmp_path, "quic")
        case "zenoh_tls":
            made = ZenohRig(tmp_path, "tls")
        case _:
            made = FakeRig()
    yield made
    await made.close()
