"""What the soak asks of a node: its site, its small networks, and a minute's requests of each kind."""

import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from onnx import TensorProto, helper
from PIL import Image

import littoral
from bench.graph_layers import Layers
from bench.load import http_request

__all__ = ["KINDS", "POINTS", "SIZE", "Kind", "points_body", "requests_of", "write_site"]

SIZE, EDGE, WORDS = 64, 96, 1000
LENGTHS = (8, 16, 32)
POINTS = 20_000
WRITTEN = 20
"""Points of one write; as many of the oldest are deleted, so that their number stays, and graphs are built anew every
three minutes: until then the files of what is new are mapped, page by page. A soak of an hour so has fifteen of these
rises and falls behind its warm-up, which are no slope; of five, a slope of them would seem certain."""

FRESH = ("cache-control: no-store",)
PAGES = ("/api/node", "/api/collections", "/api/pipelines", "/api/models", "/api/caches", "/api/mqtt", "/api/logs",
         "/api/agents", "/api/collections/points", "/collections", "/readyz")  # fmt: skip
# caches as small as can be: they are full within the warm-up
SITE = """
[node]
name = "soak"
listen = "127.0.0.1:0"
[agents.decode]
path = "builtin:image"
config = {{ width = {edge}, height = {edge}, layout = "nchw", dtype = "float32" }}
instances = {{ min = 1, max = 2 }}
[agents.words]
path = "builtin:text"
files = {{ tokenizer = "tokenizer.json" }}
[models.pictures]
path = "pictures.wasm"
[models.texts]
path = "texts.wasm"
[collections.points]
vectors = {{ size = {size}, distance = "Cosine" }}
[pipelines.similar]
steps = [{{ agent = "decode" }}, {{ model = "pictures" }}, {{ step = "normalize" }}, {{ search = "points", limit = 5 }}]
[pipelines.sentences]
steps = [{{ agent = "words" }}, {{ model = "texts" }}]
[cache]
embeddings_mb = 1
results_mb = 1
near_mb = 1
[mqtt]
broker = "mqtt://127.0.0.1:{broker}"
[[mqtt.routes]]
topic = "cameras/+/frame"
pipeline = "similar"
publish = "answers/{{1}}"
"""


class Kind(NamedTuple):
    """per_s: how many are due; clients: over how many connections; made: the request of a number."""

    per_s: float
    clients: int
    made: Callable[[np.random.Generator, int], bytes]


def write_site(folder: Path, broker_port: int) -> Path:
    _picture_network().save(folder / "pictures.wasm")
    _text_network().save(folder / "texts.wasm")
    (folder / "tokenizer.json").write_text(_tokenizer())
    (folder / "site.toml").write_text(SITE.format(edge=EDGE, size=SIZE, broker=broker_port))
    return folder / "site.toml"


def points_body(rng: np.random.Generator, ids: range) -> bytes:
    rows = rng.standard_normal((len(ids), SIZE)).round(4).tolist()
    points = [{"id": at, "vector": row, "payload": {"n": at % 100}} for at, row in zip(ids, rows, strict=True)]
    return json.dumps({"points": points}).encode()


def requests_of(kind: str, first: int, seconds: float) -> list[bytes]:
    """As many as are due in that time; first: the number of the first, and what they are made from."""
    rng = np.random.default_rng([first, list(KINDS).index(kind)])
    due = max(1, int(KINDS[kind].per_s * seconds) + 1)
    return [KINDS[kind].made(rng, number) for number in range(first, first + due)]


def picture(rng: np.random.Generator) -> bytes:
    """Each another, 320 × 240, as soft as a photograph."""
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    out = io.BytesIO()
    small.resize((320, 240), Image.Resampling.BICUBIC).save(out, "JPEG", quality=88)
    return out.getvalue()


def _picture(rng: np.random.Generator, number: int) -> bytes:
    """Half of them around the caches."""
    about = FRESH if number % 2 else ()
    return http_request("POST", "/pipelines/similar", picture(rng), *about, content_type="image/jpeg")


def _search(rng: np.random.Generator, number: int) -> bytes:
    body: dict[str, object] = {"query": rng.standard_normal(SIZE).round(4).tolist(), "limit": 10, "with_payload": True}
    if number % 4 == 0:
        body["filter"] = {"must": [{"key": "n", "range": {"lt": 50}}]}
    return http_request("POST", "/collections/points/points/query", json.dumps(body).encode())


def _upsert(rng: np.random.Generator, number: int) -> bytes:
    ids = range(POINTS + number * WRITTEN, POINTS + (number + 1) * WRITTEN)
    return http_request("PUT", "/collections/points/points?wait=true", points_body(rng, ids))


def _delete(_: np.random.Generator, number: int) -> bytes:
    ids = list(range(number * WRITTEN, (number + 1) * WRITTEN))
    body = json.dumps({"points": ids}).encode()
    return http_request("POST", "/collections/points/points/delete?wait=true", body)


def _text(rng: np.random.Generator, _: int) -> bytes:
    words = " ".join(f"w{word}" for word in rng.integers(0, WORDS, rng.integers(4, LENGTHS[-1])))
    return http_request("POST", "/v1/embeddings", json.dumps({"model": "sentences", "input": words}).encode())


def _page(_: np.random.Generator, number: int) -> bytes:
    return http_request("GET", PAGES[number % len(PAGES)], b"")


def _metrics(_: np.random.Generator, __: int) -> bytes:
    return http_request("GET", "/metrics", b"")


KINDS: Mapping[str, Kind] = {
    "picture": Kind(2, 2, _picture),
    "search": Kind(10, 2, _search),
    "upsert": Kind(6, 2, _upsert),
    "delete": Kind(6, 2, _delete),
    "text": Kind(3, 2, _text),
    "page": Kind(1, 1, _page),
    "metrics": Kind(0.2, 1, _metrics),
}


def pictures() -> Iterator[bytes]:
    """For MQTT, without end."""
    rng = np.random.default_rng(5)
    kept = [picture(rng) for _ in range(16)]
    yield from itertools.cycle(kept)


def _picture_network() -> littoral.Model:
    layers = Layers()
    x = layers.input("x", 1, 3, EDGE, EDGE)
    for taken, given in ((3, 16), (16, 32), (32, 64)):
        x = layers.node("Relu", layers.conv(x, taken, given, 3, stride=2))
    x = layers.node("Flatten", layers.node("GlobalAveragePool", x))
    return littoral.compile(layers.model("pictures", layers.dense(x, 64, SIZE), 1, SIZE), name="pictures")


def _text_network() -> littoral.Model:
    """The mean over the rows of a table, where the mask says so."""
    layers = Layers()
    for name in ("input_ids", "attention_mask"):
        layers.inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, (1, "tokens")))
    mask = layers.node("Cast", layers.node("Unsqueeze", "attention_mask", layers.weight([2], np.int64)), to=1)
    axis = layers.weight([1], np.int64)
    rows = layers.node("Mul", layers.node("Gather", layers.random(WORDS + 1, SIZE), "input_ids"), mask)
    sums, counts = (layers.node("ReduceSum", one, axis, keepdims=0) for one in (rows, mask))
    model = layers.model("texts", layers.dense(layers.node("Div", sums, counts), SIZE, SIZE), 1, SIZE)
    shapes = [{"input_ids": (1, count), "attention_mask": (1, count)} for count in LENGTHS]
    pad = {"input_ids": 0, "attention_mask": 0}
    return littoral.compile(model, variants=shapes, axes={"tokens": {"pad": pad}}, name="texts")


def _tokenizer() -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"[UNK]": 0, **{f"w{word}": word + 1 for word in range(WORDS)}}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return str(made.to_str())
