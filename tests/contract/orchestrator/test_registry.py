"""Artifacts: bytes in, known by their content, never changed."""

import hashlib
from pathlib import Path

import pytest

from littoral.artifact.manifest import MODEL_SECTION
from littoral.artifact.sections import HEADER, custom_section_bytes
from orchestrated import FILE, orchestrated
from placeholder_models import model_of

PATH = "/api/fleet/artifacts"


async def test_bytes_become_an_artifact_that_is_there_after_a_restart(tmp_path: Path) -> None:
    data = model_of(bytes(range(256)) * 5000)
    async with orchestrated(tmp_path) as kept:
        told = await kept.artifact(data=data)
        assert (told["target"], told["length"]) == ("models/embedder/1.wasm", len(data))
        assert told["sha256"] == hashlib.sha256(data).hexdigest()
        assert told["by"].startswith("publisher-1#")
        assert (await kept.artifact(data=model_of(b"2")))["version"] == 2
        assert [*(tmp_path / "data/coming").iterdir()] == []
    async with orchestrated(tmp_path) as kept:
        found = await kept.done("viewer", "GET", "/api/fleet/artifacts/models/embedder/1")
        assert found.pop("lineage") == {"siblings": [], "groups": [], "rollouts": [], "nodes": []}
        assert found == told
        listed = await kept.done("viewer", "GET", "/api/fleet/artifacts?kind=models")
        assert [one["version"] for one in listed] == [2, 1]
        assert await kept.found.registry.read(f"image/targets/{told['sha256']}.wasm", 4, 8) == data[4:12]


async def test_a_version_is_never_changed(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        told = await kept.artifact(version=7)
        again = await kept.ask(
            "publisher", "POST", "/api/fleet/artifacts?kind=models&name=embedder&version=7", model_of(b"other")
        )
        assert (again.status, "never changed" in again.error) == (409, True)
        found = await kept.done("viewer", "GET", "/api/fleet/artifacts/models/embedder/7")
        assert found["sha256"] == told["sha256"]


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("kind=planes&name=a", b"x", 400),
        ("kind=models&name=..%2Fa", b"x", 400),
        ("kind=models", b"x", 400),
        ("kind=models&name=a&version=0", b"x", 400),
        ("kind=models&name=a&version=99999999999", b"x", 400),
        ("kind=models&name=a", b"", 400),
        ("kind=dashboards&name=a", b'{"panels": []}', 400),
        ("kind=models&name=a", b"\x08\x07\x12\x04onnx", 400),
        ("kind=models&name=a", HEADER, 400),
        ("kind=models&name=a", HEADER + custom_section_bytes(MODEL_SECTION, b"{}"), 400),
        ("kind=models&name=a", model_of(b"cut off")[:-3], 400),
        ("kind=agents&name=a", model_of(b"no agent"), 400),
        ("kind=sites&name=a", b"[node", 400),
        ("kind=sites&name=a", b"\xff", 400),
        ("kind=models&name=a", bytes(5000), 413),
    ],
)
async def test_what_is_no_artifact_is_refused_and_leaves_nothing(
    tmp_path: Path, query: str, body: bytes, status: int
) -> None:
    async with orchestrated(tmp_path, FILE + "[limits]\nartifact_bytes_max = 4096\n") as kept:
        assert (await kept.ask("publisher", "POST", f"/api/fleet/artifacts?{query}", body)).status == status
        assert await kept.done("viewer", "GET", "/api/fleet/artifacts") == []
        assert [*(tmp_path / "data/coming").iterdir()] == []
