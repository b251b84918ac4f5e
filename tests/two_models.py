"""A node whose notes are embedded by one of two real text encoders, as versions of one model or as two models."""

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import littoral
from littoral.artifact import Model, Store
from mixed_texts import wordpiece
from node_fixture import Served
from raw_http import Reply, send
from sentence_folders import random_tensors, write_folder
from supervised import short_folder
from text_node import BERT

LENGTHS = (8, 16)
SIZES = {1: 24, 2: 24, 3: 48}
"""Numbers of an embedding, by version."""
SITE = """
[node]
name = "library"
listen = "127.0.0.1:0"

[models.encoder]
path = "encoder"

[models.wide]
path = "wide.wasm"

[agents.words]
path = "builtin:text"
files = { tokenizer = "tokenizer.json" }
config = { max_tokens = 16 }

[collections.notes]
vectors = { size = 24, distance = "Cosine" }
OPTIONS

[pipelines.sentences]
steps = [{ agent = "words" }, { model = "encoder" }]

[pipelines.keep]
steps = [{ agent = "words" }, { model = "encoder" }, { upsert = "notes", payload = { text = "{input}" } }]

[pipelines.find]
steps = [{ agent = "words" }, { model = "encoder" }, { search = "notes", limit = 3 }]

[cache]
embeddings_mb = 4
results_mb = 4
near_mb = 4
"""
MIGRATE = 'migrate = { source = "payload:text", pipeline = "sentences", points_per_s = 100000 }'

OTHER_WORDS = """
[agents.other_words]
path = "builtin:text"
files = { tokenizer = "other.json" }
config = { max_tokens = 16 }

[pipelines.wide]
steps = [{ agent = "other_words" }, { model = "wide" }]
"""
"""Of a site in which `wide` has a tokenizer of its own, and a pipeline that has both."""

WITH_OTHER_WORDS = MIGRATE.replace(" }", ', agents = { "wide@1" = { words = "other_words" } } }')


@functools.cache
def encoder(version: int) -> Model:
    """A small network of the BERT family with weights of its own."""
    config: dict[str, Any] = BERT | {"hidden_size": SIZES[version]}
    with short_folder() as folder:
        source = write_folder(folder / "source", random_tensors(config, seed=version), config)
        (source / "tokenizer.json").write_text(wordpiece())
        variants = [{"input_ids": (1, n)} for n in LENGTHS]
        return Model(littoral.compile(source, variants=variants, name="encoder", version=f"{version}.0.0").wasm)


def write_notes_site(folder: Path, options: str = MIGRATE, versions: tuple[int, ...] = (1,)) -> Path:
    for version in versions:
        add_version(folder, version)
    encoder(3).save(folder / "wide.wasm")
    Store().record(encoder(3).digest)
    (folder / "tokenizer.json").write_text(wordpiece())
    (folder / "site.toml").write_text(SITE.replace("OPTIONS", options))
    return folder / "site.toml"


def add_other_words(site: Path) -> None:
    """Another tokenizer, and who uses it."""
    (site.parent / "other.json").write_text(wordpiece(lowercase=False))
    site.write_text(site.read_text() + OTHER_WORDS)


def add_version(folder: Path, version: int) -> None:
    Store().record(encoder(version).digest)
    (folder / "encoder" / str(version)).mkdir(parents=True, exist_ok=True)
    encoder(version).save(folder / "encoder" / str(version) / "model.wasm")


def note(number: int) -> str:
    words = ["river", "harbour", "winter", "copper", "garden", "signal", "window", "market", "letter", "engine"]
    return " ".join(words[(number // 10**i) % 10] for i in range(4)) + f" {number % 7}"


def keep(served: Served | str, number: int, text: str = "") -> Reply:
    """Writes a note through the pipeline."""
    address = served if isinstance(served, str) else served.address
    return send(address, "POST", "/pipelines/keep", (text or note(number)).encode(), {"littoral-id": str(number)})


def find(served: Served | str, text: str) -> Reply:
    address = served if isinstance(served, str) else served.address
    return send(address, "POST", "/pipelines/find", text.encode())


def embedded(served: Served | str, text: str) -> tuple[list[float], str]:
    """Its embedding, and the model as the answer tells it."""
    address = served if isinstance(served, str) else served.address
    body = json.dumps({"model": "sentences", "input": text}).encode()
    reply = send(address, "POST", "/v1/embeddings", body)
    assert reply.status == 200, reply.body
    return reply.json["data"][0]["embedding"], reply.headers["littoral-model"]


@contextlib.contextmanager
def installation() -> Iterator[Path]:
    """A folder with a state and a cache of its own."""
    from littoral import settings

    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        yield folder
