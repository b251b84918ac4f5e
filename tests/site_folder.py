"""A folder with all that a site needs: a small model, a site file, and pictures."""

import functools
from pathlib import Path

import littoral
from littoral.artifact import Model, Store
from littoral.node.site import Site, read_site
from onnx_models import squeeze_excite
from page_pictures import page_pictures

MODEL = "embedder.wasm"
SITE = "site.toml"
SIZE = 5
TEXT = """
[node]
name = "store-12"
listen = "127.0.0.1:0"
data = "data"

[models.embedder]
path = "embedder.wasm"
instances = { min = 1, max = 2 }

[agents.decode]
path = "builtin:image"
config = { width = 32, height = 32 }
memory_mb = 64
deadline_ms = 5000
instances = { min = 1, max = 2 }

[collections.frames]
vectors = { size = 5, distance = "Cosine" }

[pipelines.embed]
steps = [{ agent = "decode" }, { model = "embedder" }, { step = "normalize" }]

[pipelines.similar]
steps = [{ agent = "decode" }, { model = "embedder" }, { step = "normalize" }, { search = "frames", limit = 3 }]
"""


@functools.cache
def _model() -> bytes:
    return littoral.compile(squeeze_excite(32), name="embedder").wasm


def site_folder(folder: Path, text: str = TEXT) -> Path:
    """Writes model and site file into the folder; the site file. The test's own installation knows the model."""
    model = Model(_model())
    Store().record(model.digest)
    model.save(folder / MODEL)
    (folder / SITE).write_text(text)
    return folder / SITE


def site_in(folder: Path, text: str = TEXT) -> Site:
    return read_site(site_folder(folder, text))


def write_pictures(folder: Path) -> list[Path]:
    """36 pictures of three sources as files; their names sort as they are drawn."""
    folder.mkdir()
    found = []
    for i, shown in enumerate(page_pictures()):
        path = folder / f"{shown.source}-{i:02}.jpg"
        path.write_bytes(shown.data)
        found.append(path)
    return found
