"""One rig for each network."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh_rigs import FakeRig, MeasuredRig, Rig, ZenohRig


@pytest.fixture(params=["fake", "measured", "zenoh_quic", "zenoh_tls"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    made: Rig
    match request.param:
        case "measured":
            made = MeasuredRig()
        case "zenoh_quic":
            made = ZenohRig(tmp_path, "quic")
        case "zenoh_tls":
            made = ZenohRig(tmp_path, "tls")
        case _:
            made = FakeRig()
    yield made
    await made.close()
