"""A node that has something on each of its pages: pictures, texts, vectors with and without names, versions, MQTT, a
gateway to a language model that stands beside it."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import littoral
from broker import Broker
from fake_upstream import FakeUpstream, Scripted, fake_upstream
from littoral import settings
from littoral.artifact import Model
from littoral.telemetry.log import Log, LogOptions
from mixed_texts import wordpiece
from node_fixture import Served, node_in_thread, write_site
from onnx_models import Network
from page_host import embed_picture
from page_node import payload_of
from page_pictures import page_pictures
from raw_http import Reply, send, send_json
from supervised import short_folder
from text_node import encoder
from waiting import until

NOTES = [
    f"{what} {where}"
    for what in ("The pump runs warm", "A pallet fell", "The door stays open", "Two labels are missing", "All is well")
    for where in ("in hall one", "behind the cold store", "at gate seven", "near the oven", "on the roof")
]
QUESTIONS = [note.replace("The", "Why does the").replace("runs", "run") + "?" for note in NOTES[:8]]
ANSWERS = ("It was made so.", "Nobody knows.", "Ask the shift that was there before; they have a list of it.")
SITE = """
[node]
name = "store-12"
listen = "127.0.0.1:0"

[models.embedder]
path = "embedder.wasm"

[models.plain]
path = "plain"
versions = "all"

[models.encoder]
path = "encoder.wasm"

[agents.decode]
path = "builtin:image"
config = {{ width = 32, height = 32, layout = "nchw", dtype = "float32" }}

[agents.words]
path = "builtin:text"
files = {{ tokenizer = "tokenizer.json" }}
config = {{ max_tokens = 32 }}

[collections.frames]
vectors = {{ size = 192, distance = "Cosine" }}

[collections.notes]
vectors = {{ size = 24, distance = "Cosine" }}

[pipelines.similar]
steps = [
  {{ agent = "decode" }},
  {{ model = "embedder", take = "embedding" }},
  {{ step = "normalize" }},
  {{ search = "frames", limit = 5, with_payload = true }},
]

[pipelines.embed]
steps = [{{ agent = "decode" }}, {{ model = "embedder", take = "embedding" }}, {{ step = "normalize" }}]

[pipelines.sentences]
steps = [{{ agent = "words" }}, {{ model = "encoder" }}]

[pipelines.meanings]
steps = [{{ agent = "words" }}, {{ model = "encoder" }}, {{ step = "normalize" }}]

[pipelines.find]
steps = [{{ agent = "words" }}, {{ model = "encoder" }}, {{ search = "notes", limit = 3, with_payload = true }}]

[pipelines.double]
steps = [{{ model = "plain" }}]

[cache]
embeddings_mb = 4
results_mb = 4

[audit]
commit_ms = 20

[mqtt]
broker = "mqtt://127.0.0.1:{port}"

[gateway]
embedder = "meanings"

[[gateway.upstreams]]
name = "beside"
url = "{upstream}"
models = ["large", "small"]

[[gateway.upstreams]]
name = "away"
url = "http://127.0.0.1:9/v1"
models = ["other-*"]

[gateway.prices."*"]
input = 2
output = 8

[gateway.cache]
judge = "normalised"
similarity_min = -1

[gateway.budget]
requests_per_day = 5000
tokens_per_day = 100000

[[mqtt.routes]]
topic = "numbers/+/in"
pipeline = "double"
publish = "numbers/{{1}}/out"
errors = "numbers/errors"
"""


class PagesNode(NamedTuple):
    served: Served
    broker: Broker
    folder: Path
    upstream: FakeUpstream


@contextlib.contextmanager
def pages_node(folder: Path) -> Iterator[PagesNode]:
    """folder: for files; the node has a shorter one of its own."""
    broker = Broker(folder / "broker")
    broker.start()
    try:
        with (
            short_folder() as short,
            settings.override(LITTORAL_STATE=str(short / "state"), LITTORAL_CACHE=str(short / "cache")),
            fake_upstream() as upstream,
            node_in_thread(short, site=_site(short, broker.port, upstream.url)) as served,
        ):
            served.node.log = log = Log.start(LogOptions(), io.StringIO())
            try:
                _fill(served.address)
                fill_gateway(served.address, upstream)
                yield PagesNode(served, broker, short, upstream)
            finally:
                log.stop()
    finally:
        broker.stop()


def _site(folder: Path, port: int, upstream: str) -> Path:
    site = write_site(folder, SITE.format(port=port, upstream=upstream))
    for number, operator in ((1, "Add"), (2, "Mul")):
        (folder / "plain" / str(number)).mkdir(parents=True)
        network = Network((1, 3))
        network.node(operator, "x", "x")
        model = littoral.compile(network.bytes(), name="plain", version=f"{number}.0.0")
        model.save(folder / "plain" / str(number) / "model.wasm")
    Model(encoder()).save(folder / "encoder.wasm")
    (folder / "tokenizer.json").write_text(wordpiece())
    return site


def _fill(address: str) -> None:
    pictures = [
        {"id": i, "vector": embed_picture(address, shown.data), "payload": payload_of(shown)}
        for i, shown in enumerate(page_pictures())
    ]
    notes = [
        {"id": i, "vector": _embedded(address, text), "payload": {"text": text, "kind": ("odd", "even")[i % 2]}}
        for i, text in enumerate(NOTES)
    ]
    both = {"picture": {"size": 192, "distance": "Cosine"}, "words": {"size": 24, "distance": "Cosine"}}
    assert send_json(address, "PUT", "/collections/shelf", {"vectors": both}).status == 200
    shelf = [
        {
            "id": i,
            "vector": {"picture": one["vector"], "words": other["vector"]},
            "payload": one["payload"] | other["payload"],
        }
        for i, (one, other) in enumerate(zip(pictures, notes, strict=False))
    ]
    for name, points in (("frames", pictures), ("notes", notes), ("shelf", shelf)):
        reply = send_json(address, "PUT", f"/collections/{name}/points?wait=true", {"points": points})
        assert reply.status == 200, reply


def fill_gateway(address: str, upstream: FakeUpstream) -> None:
    """Answers that are told again, near misses that were judged, a curated one, a question that is off by rule."""
    for number, question in enumerate(QUESTIONS):
        upstream.script(Scripted(ANSWERS[number % len(ANSWERS)]))
        assert ask(address, question).status == 200
        assert ask(address, question).status == 200
    assert ask(address, QUESTIONS[0], temperature=1).status == 200
    until(lambda: len(send(address, "GET", "/api/gateway/misses").json["misses"]) >= 3)
    line = {"question": "Who has the key?", "answer": "The porter.", "model": "large", "tags": ["keys", "handbook"]}
    told = send(address, "POST", "/api/gateway/import", json.dumps(line).encode()).json
    assert told["kept"] == 1, told


def ask(address: str, question: str, **more: Any) -> Reply:
    """As somebody asks a language model through the gateway."""
    body = {"model": "large", "messages": [{"role": "user", "content": question}], **more}
    return send_json(address, "POST", "/v1/chat/completions", body)


def _embedded(address: str, text: str) -> list[float]:
    reply = send(address, "POST", "/pipelines/sentences", text.encode())
    assert reply.status == 200, reply
    (output,) = json.loads(reply.body)["result"]["outputs"].values()
    data = output["data"]
    return list(data[0] if isinstance(data[0], list) else data)
