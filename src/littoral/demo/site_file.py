"""The demo's site file: one model, one agent, one collection, three pipelines."""

from pathlib import Path

from littoral.demo.model import NAME, PREPROCESS
from littoral.demo.questions import HITS_ASKED

__all__ = ["COLLECTION", "write_site_file"]

COLLECTION = "frames"

_TEXT = """\
# Written by `littoral demo`; `littoral up {name}` starts this node without it.
[node]
name = "demo"
listen = "{listen}"
data = "{data}"

[models.embedder]
path = "{model}.wasm"
sha256 = "{sha256}"
instances = {{ min = 1, max = 2 }}

[agents.decode]
path = "builtin:image"
config = {{ {config} }}
memory_mb = 256
deadline_ms = 2000
instances = {{ min = 1, max = 2 }}

[collections.{collection}]
vectors = {{ size = 1280, distance = "Cosine" }}

[pipelines.embed]
steps = [
  {{ agent = "decode" }},
  {{ model = "embedder", take = "embedding" }},
  {{ step = "normalize" }},
]

[pipelines.similar]
steps = [
  {{ agent = "decode" }},
  {{ model = "embedder", take = "embedding" }},
  {{ step = "normalize" }},
  {{ search = "{collection}", limit = {limit}, with_payload = true }},
]

[pipelines.classify]
steps = [
  {{ agent = "decode" }},
  {{ model = "embedder", take = "logits" }},
  {{ step = "softmax" }},
  {{ step = "top_k", k = 5 }},
]
"""


def write_site_file(folder: Path, listen: str, sha256: str, data: str) -> Path:
    """Writes `site.toml` into `folder`. data: the node's folder, relative to it."""
    path = folder / "site.toml"
    config = ", ".join(f"{key} = {_toml(value)}" for key, value in PREPROCESS.items())
    text = _TEXT.format(
        name=path.name,
        listen=listen,
        data=data,
        model=NAME,
        sha256=sha256,
        config=config,
        collection=COLLECTION,
        limit=HITS_ASKED,
    )
    path.write_text(text)
    return path


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
