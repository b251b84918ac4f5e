"""Models made of files in a worker: what comes with one, for a registry to keep."""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from brought_models import dense
from littoral.artifact import Model
from littoral.errors import InputError
from littoral.making.orders import FEEDS, MODEL, ORDER, SOURCE, BuildOrder, Int8Order, Order
from littoral.making.provenance import provenance
from littoral.making.worker import Bounds, worked
from onnx_models import Network

BOUNDS = Bounds(2 << 30, 300)


def worked_here(work: str, folder: Path) -> Mapping[str, Any]:
    return asyncio.run(worked(work, folder, BOUNDS, lambda _: None))


def ordered(folder: Path, order: BuildOrder) -> bytes:
    source = dense()
    (folder / SOURCE).write_bytes(source)
    (folder / ORDER).write_bytes(msgspec.json.encode(order))
    return source


def test_a_model_comes_with_what_it_takes_and_where_it_is_from(tmp_path: Path) -> None:
    feeds = np.random.default_rng(0).standard_normal((10, 1, 3, 8, 8)).astype(np.float32)
    (tmp_path / FEEDS).mkdir()
    np.savez(tmp_path / FEEDS / "0001.npz", x=feeds)
    source = ordered(tmp_path, BuildOrder(Order(name="dense", int8=Int8Order()), is_measured=True))
    report = worked_here("build", tmp_path)
    model = Model.open(tmp_path / MODEL)
    told = provenance(model.manifest, report, made_at="2026-01-01T00:00:00Z", made_by="ada")
    assert told.source_sha256 == hashlib.sha256(source).hexdigest()
    assert told.compiler == model.manifest.compiler
    inner = hashlib.sha256((tmp_path / FEEDS / "0001.npz").read_bytes()).digest()
    assert told.calibration_sha256 == hashlib.sha256(inner).hexdigest()
    figures = told.figures
    assert 0 < figures["p50_ms"] <= figures["p95_ms"]
    assert figures["file_bytes"] == (tmp_path / MODEL).stat().st_size
    assert figures["memory_bytes"] >= model.manifest.memory.pages << 16
    assert figures["macs"] == sum(layer.macs for layer in model.manifest.layers) > 0


def test_targets_and_variants_are_as_ordered_and_a_compiled_model_is_measured_alike(tmp_path: Path) -> None:
    network = Network((-1, 3))
    network.node("Relu", network.at)
    ordered(tmp_path, BuildOrder(Order(), target="mvp", variants=[{"x": [1, 3]}, {"x": [4, 3]}], is_measured=True))
    (tmp_path / SOURCE).write_bytes(network.bytes())
    report = worked_here("build", tmp_path)
    assert report["target"] == "mvp"
    assert len(report["variants"]) == 2
    (tmp_path / SOURCE).write_bytes((tmp_path / MODEL).read_bytes())
    again = worked_here("measure", tmp_path)["figures"]
    timeless = {"memory_bytes", "weights_bytes", "file_bytes", "macs"}
    assert {name: again[name] for name in timeless} == {name: report["figures"][name] for name in timeless}
    (tmp_path / SOURCE).write_bytes(b"\0asm\1\0\0\0")
    with pytest.raises(InputError, match=r"littoral\.model"):
        worked_here("measure", tmp_path)
