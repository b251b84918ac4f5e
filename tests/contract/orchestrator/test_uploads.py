"""Models that are brought as ONNX become artifacts: compiled, quantised, measured, with where they are from."""

import asyncio
import hashlib
import io
import json
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brought_models import dense
from command import Done, command, environment
from littoral import settings
from littoral.artifact import Model
from onnx_models import Network
from orchestrated import Kept, orchestrated

UPLOADS = "/api/fleet/uploads"


async def ended(kept: Kept, upload: str) -> Any:
    """Once it is built, or is not."""
    while (found := await kept.done("viewer", "GET", f"{UPLOADS}/{upload}"))["state"] == "building":
        await asyncio.wait_for(kept.found.builds.find(upload).ended.wait(), 120)
    return found


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path) -> Any:
    with settings.override(LITTORAL_STATE=str(tmp_path / "state"), LITTORAL_CACHE=str(tmp_path / "cache")):
        yield


async def test_onnx_becomes_an_artifact_with_where_it_is_from(tmp_path: Path) -> None:
    source = dense()
    async with orchestrated(tmp_path) as kept:
        brought = await kept.done("publisher", "POST", f"{UPLOADS}?file=dense.onnx", source)
        assert (brought["state"], brought["is_kept"], brought["examined"]["is_usable"]) == ("new", True, True)
        feeds = io.BytesIO()
        np.savez(feeds, x=np.random.default_rng(0).standard_normal((10, 1, 3, 8, 8)).astype(np.float32))
        at = f"{UPLOADS}/{brought['id']}"
        await kept.done("publisher", "POST", f"{at}/feeds?file=feeds.npz", feeds.getvalue())
        reply = await kept.ask("publisher", "POST", f"{at}/start", {"name": "spotter", "int8": {"bits": 7}})
        assert reply.status == 202, reply
        made = await ended(kept, brought["id"])
        assert made["state"] == "made", made["problem"]
        artifact = made["artifact"]
        assert artifact["target"] == "models/spotter/1.wasm"
        assert artifact["by"].startswith("publisher-1#")
        lineage = {"siblings": [], "groups": [], "rollouts": [], "nodes": []}
        told = await kept.done("viewer", "GET", "/api/fleet/artifacts/models/spotter/1")
        assert told == artifact | {"lineage": lineage}
        told = artifact["provenance"]
        assert told["source_sha256"] == hashlib.sha256(source).hexdigest()
        assert told["calibration_sha256"]
        assert 0 < told["figures"]["p50_ms"] <= told["figures"]["p95_ms"]
        assert told["figures"]["file_bytes"] == artifact["length"]
        data = (await kept.ask("viewer", "GET", "/api/fleet/artifacts/models/spotter/1/bytes")).body
        assert hashlib.sha256(data).hexdigest() == artifact["sha256"]
        assert Model(data).manifest.int8 is not None


async def test_the_next_version_keeps_the_bytes_of_layers_that_are_the_same(tmp_path: Path) -> None:
    feeds = io.BytesIO()
    np.savez(feeds, x=np.random.default_rng(0).standard_normal((10, 1, 3, 8, 8)).astype(np.float32))
    async with orchestrated(tmp_path) as kept:
        fits = tmp_path / "data/objects/fits"

        async def registered(source: bytes, name: str, **order: Any) -> Any:
            brought = await kept.done("publisher", "POST", f"{UPLOADS}?file=dense.onnx", source)
            at = f"{UPLOADS}/{brought['id']}"
            await kept.done("publisher", "POST", f"{at}/feeds?file=feeds.npz", feeds.getvalue())
            await kept.ask("publisher", "POST", f"{at}/start", {"name": name, **order})
            made = await ended(kept, brought["id"])
            assert made["state"] == "made", made["problem"]
            row = made["artifact"]
            data = (await kept.ask("viewer", "GET", f"/api/fleet/artifacts/models/{name}/{row['version']}/bytes")).body
            about = Model(data).manifest.int8 or {}
            return about.get("kept"), row["provenance"]["figures"].get("changed_bytes"), row["sha256"]

        kept_count, changed, first = await registered(dense(), "spotter", int8={})
        assert (kept_count, changed, [one.name for one in fits.iterdir()]) == (None, None, [first])
        kept_count, changed, second = await registered(dense(), "spotter", int8={})
        assert (kept_count, [one.name for one in fits.iterdir()]) == (2, [second])
        assert changed > 0  # the manifest says that layers were kept
        assert (await registered(dense(), "spotter"))[:2] == (None, None)
        assert (await registered(dense(), "other", int8={}))[0] is None
        assert (await registered(dense(), "spotter", int8={}))[0] == 2
        assert len([*fits.iterdir()]) == 2


async def test_one_request_is_enough_and_siblings_know_each_other(tmp_path: Path) -> None:
    order = urllib.parse.quote(json.dumps({"name": "spotter", "target": "simd128"}))
    async with orchestrated(tmp_path) as kept:
        for version in (1, 2):
            reply = await kept.ask("publisher", "POST", f"{UPLOADS}?file=a.onnx&order={order}", dense())
            assert reply.status == 202, reply
            made = await ended(kept, reply.json["id"])
            assert made["artifact"]["version"] == version, made
        told = await kept.done("viewer", "GET", "/api/fleet/artifacts/models/spotter/2")
        assert told["lineage"]["siblings"] == ["models/spotter/1.wasm"]
        data = (await kept.ask("viewer", "GET", "/api/fleet/artifacts/models/spotter/2/bytes")).body
        assert Model(data).manifest.target == "simd128"
        again = await kept.done("publisher", "POST", f"{UPLOADS}?file=made.wasm", data)
        assert again["kind"] == "wasm"
        await kept.ask("publisher", "POST", f"{UPLOADS}/{again['id']}/start", {"name": "compiled"})
        made = await ended(kept, again["id"])
        assert made["artifact"]["target"] == "models/compiled/1.wasm"
        assert made["artifact"]["provenance"]["figures"]["calls"] >= 1
        assert made["artifact"]["sha256"] == told["sha256"]


async def test_what_cannot_be_used_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    network = Network((1, 3))
    network.node("Frobnicate", "x")
    async with orchestrated(tmp_path) as kept:
        odd = await kept.done("publisher", "POST", f"{UPLOADS}?file=odd.onnx", network.bytes())
        assert odd["is_kept"] is False
        assert "Frobnicate" in odd["examined"]["problems"][0]["message"]
        kept_one = await kept.done("publisher", "POST", f"{UPLOADS}?file=dense.onnx", dense())
        at = f"{UPLOADS}/{kept_one['id']}"
        for order in ({"int8": {"through": "a"}}, {"name": "a/b"}, {"target": "gpu"}, {"more": 1}):
            assert (await kept.ask("publisher", "POST", f"{at}/start", order)).status == 400, order
        await kept.ask("publisher", "POST", f"{at}/start", {"int8": {}})
        failed = await ended(kept, kept_one["id"])
        assert failed["state"] == "failed"
        assert "no files to calibrate with" in failed["problem"]["message"]
        assert (await kept.ask("operator", "POST", f"{UPLOADS}?file=a.onnx", dense())).status == 403
        assert await kept.done("viewer", "GET", "/api/fleet/artifacts") == []
        assert (await kept.done("publisher", "DELETE", at))["gone"] is True
        assert (await kept.done("viewer", "GET", UPLOADS))["builds"] == []
        assert [*(tmp_path / "data/builds").iterdir()] == []


async def test_the_verb_brings_what_the_page_does(tmp_path: Path) -> None:
    source, odd, feeds = tmp_path / "dense.onnx", tmp_path / "odd.onnx", tmp_path / "feeds.npz"
    source.write_bytes(dense())
    network = Network((1, 3))
    network.node("Frobnicate", "x")
    odd.write_bytes(network.bytes())
    np.savez(feeds, x=np.random.default_rng(0).standard_normal((10, 1, 3, 8, 8)).astype(np.float32))
    (tmp_path / "empty.onnx").touch()
    async with orchestrated(tmp_path) as kept:
        more = {"LITTORAL_TOKEN": kept.tokens["publisher"], "LITTORAL_FLEET": f"http://{kept.address}"}

        async def said(*words: object) -> Done:
            env, asked = environment() | more, command("fleet", "upload", *words)
            done = await asyncio.to_thread(subprocess.run, asked, capture_output=True, text=True, env=env)
            return Done(done.returncode, done.stdout, done.stderr)

        made = await said(source, "--name", "spotter", "--int8", feeds, "--int8-bits", "7", "--json")
        assert made.code == 0, made.err
        assert (made.json["target"], made.json["state"]) == ("models/spotter/1.wasm", "published")
        assert made.json["provenance"]["calibration_sha256"]
        assert "dense.onnx: " in made.err
        refused = await said(odd)
        assert (refused.code, "Frobnicate" in refused.err) == (3, True)
        assert (await said(tmp_path / "empty.onnx")).code == 4
        wrong = await said(source, "--shape", "x=one")
        assert (wrong.code, "must be like 1,3,224,224" in wrong.err) == (4, True)
        (build,) = (await kept.done("viewer", "GET", UPLOADS))["builds"]
        assert build["loaded"] == "models/spotter/1.wasm"
