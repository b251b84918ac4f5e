"""An ONNX file in the orchestrator's page to a node that serves it: MobileNetV2, one flow in real Chromium."""

import sys
import tempfile
from pathlib import Path

from bench.convolutional import mobilenet_v2
from bench.rows import Row, row

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from browser import browser
from fleet_flow import brought, serving_site

__all__ = ["run"]

LIMIT_S = 30.0


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        source = folder / "mobilenet_v2.onnx"
        source.write_bytes(mobilenet_v2())
        with serving_site(folder, "mobilenet_v2") as site, browser(folder / "profile") as page:
            took_s = brought(page, site, source)
            page.driver.get("about:blank")
    return [
        row("file dropped until it is compiled, measured, signed and registered", took_s["registered"], "s"),
        row("file dropped until a node serves it", took_s["served"], "s", limit=LIMIT_S),
    ]
