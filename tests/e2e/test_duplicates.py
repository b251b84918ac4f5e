"""`examples/duplicates`: copies of what was kept are found, whatever was done to them; nothing else is."""

import importlib.util
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from littoral import settings
from node_fixture import Served, node_in_thread
from page_pictures import page_pictures
from raw_http import send
from supervised import short_folder
from tracked import ROOT

pytestmark = pytest.mark.e2e
EXAMPLE = ROOT / "examples/duplicates"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    spec = importlib.util.spec_from_file_location("duplicates_make", EXAMPLE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        maker.main(Path(folder))
        with node_in_thread(folder, site=Path(shutil.copy(EXAMPLE / "site.toml", folder))) as found:
            yield found


def ask(served: Served, pipeline: str, body: bytes) -> list[dict[str, object]]:
    reply = send(served.address, "POST", f"/pipelines/{pipeline}", body)
    assert reply.status == 200, reply.body
    return list(reply.json["result"])


def copy(data: bytes) -> bytes:
    """At half the size, a little brighter, and compressed again."""
    with Image.open(io.BytesIO(data)) as picture:
        small = picture.convert("RGB").resize((picture.width // 2, picture.height // 2))
    file = io.BytesIO()
    ImageEnhance.Brightness(small).enhance(1.1).save(file, "JPEG", quality=40)
    return file.getvalue()


def test_a_copy_is_found_and_nothing_else(served: Served) -> None:
    """Of 36 pictures of three scenes every other one is kept."""
    pictures = [shown.data for shown in page_pictures()]
    kept = {index: ask(served, "keep", pictures[index])[0]["id"] for index in range(0, len(pictures), 2)}
    for index, data in enumerate(pictures):
        found = ask(served, "known", copy(data))
        assert [hit["id"] for hit in found] == ([kept[index]] if index in kept else [])


def test_the_same_file_twice_is_one_point(served: Served) -> None:
    data = copy(page_pictures()[0].data)
    assert ask(served, "keep", data)[0]["id"] == ask(served, "keep", data)[0]["id"]


def test_what_was_never_kept_is_unknown(served: Served) -> None:
    file = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(file, "PNG")
    assert ask(served, "known", file.getvalue()) == []
