"""`examples/read_signs`: its models made from the wheel, its pipelines asked for a drawn sign."""

import importlib.util
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from littoral import settings
from node_fixture import Served, node_in_thread
from raw_http import Reply, send
from supervised import short_folder
from tracked import ROOT
from trained_wheels import trained_wheels

pytestmark = pytest.mark.e2e
EXAMPLE = ROOT / "examples/read_signs"
LINES = ["Platform 4", "Departures 18:05", "Mind the gap", "LITTORAL 2026"]
SIZE = (1280, 960)


def maker() -> Any:
    spec = importlib.util.spec_from_file_location("read_signs_make", EXAMPLE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    wheel = trained_wheels(tmp_path_factory)["rapidocr-onnxruntime"]
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        maker().main(wheel, Path(folder))
        site = Path(shutil.copy(EXAMPLE / "site.toml", folder))
        with node_in_thread(folder, site=site) as found:
            yield found


def sign(lines: list[str], *, is_turned: bool = False) -> bytes:
    picture = Image.new("RGB", SIZE, (235, 235, 225))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(72)
    for i, line in enumerate(lines):
        draw.text((120 + 60 * i, 120 + 210 * i), line, (20, 40, 90), font)
    file = io.BytesIO()
    (picture.rotate(180) if is_turned else picture).save(file, "JPEG", quality=90)
    return file.getvalue()


def ask(served: Served, pipeline: str, body: bytes, **headers: str) -> Reply:
    reply = send(served.address, "POST", f"/pipelines/{pipeline}", body, headers)
    assert reply.status == 200, reply.body
    return reply


def test_a_sign_is_read_from_the_top_down(served: Served) -> None:
    said = ask(served, "read", sign(LINES)).json
    read = [line[0]["payload"]["text"] for line in said["result"]]
    assert ["".join(text.split()) for text in read] == ["".join(line.split()) for line in LINES]
    assert all(line[0]["score"] > 0.8 for line in said["result"])
    stages = list(said["how"]["stages"])
    assert stages == ["decode", "finder", "regions", "photo", "lines", "for_each", "for_each.reader", "for_each.ctc"]


def test_a_picture_without_text_has_no_lines(served: Served) -> None:
    assert ask(served, "read", sign([])).json["result"] == []


@pytest.mark.parametrize(("is_turned", "label"), [(False, "upright"), (True, "on its head")])
def test_whether_lines_are_upright_is_told(served: Served, is_turned: bool, label: str) -> None:
    said = ask(served, "directions", sign(LINES, is_turned=is_turned)).json
    assert [line[0]["payload"]["label"] for line in said["result"]] == [label] * len(LINES)


def test_what_was_found_is_drawn(served: Served) -> None:
    reply = ask(served, "shown", sign(LINES), Accept="application/octet-stream")
    with Image.open(io.BytesIO(reply.body)) as shown:
        assert (shown.format, shown.size) == ("JPEG", SIZE)
