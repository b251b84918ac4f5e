"""One flow in real Chromium: an ONNX file is dropped on the orchestrator's page, and a real node serves it."""

import math
from pathlib import Path

import pytest
from bench.convolutional import CLASSES, SIDE, mobilenet_v2

from browser import browser
from fleet_flow import NODE, brought, serving_site
from raw_http import send_json
from supervised import short_folder

pytestmark = pytest.mark.e2e

MODEL = "mobilenet_v2"
SHAPE = [1, 3, SIDE, SIDE]


def test_a_model_from_the_page_is_served_by_a_node(tmp_path: Path) -> None:
    source = tmp_path / "mobilenet_v2.onnx"
    source.write_bytes(mobilenet_v2())
    with short_folder() as folder, serving_site(folder, MODEL) as site, browser(tmp_path / "profile") as page:
        assert not site.is_served()
        took_s = brought(page, site, source)
        assert list(took_s) == ["registered", "rolled out", "served", "done"]
        assert page.complaints() == []
        node = site.fleet.asked("GET", f"/api/fleet/nodes/{NODE}")
        assert node["running"] == node["desired"] == {f"models/{MODEL}": f"models/{MODEL}/1.wasm"}
        assert node["drift"] == []
        lineage = site.fleet.asked("GET", f"/api/fleet/artifacts/models/{MODEL}/1")["lineage"]
        assert lineage["nodes"] == [NODE]
        inputs = [{"name": "pixels", "datatype": "FP32", "shape": SHAPE, "data": [0.5] * math.prod(SHAPE)}]
        said = send_json(site.node.address, "POST", f"/v2/models/{MODEL}/infer", {"inputs": inputs})
        assert said.status == 200, said
        assert len(said.json["outputs"][0]["data"]) == CLASSES
        page.driver.get("about:blank")
