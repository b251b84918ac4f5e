"""A real node that understands text: a small network of the BERT family, and a tokenizer trained here."""

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

import littoral
from littoral import settings
from littoral.artifact import Model
from mixed_texts import wordpiece
from node_fixture import Served, node_in_thread
from numpy_bert import embed
from sentence_folders import CONFIG, random_tensors, write_folder
from supervised import short_folder

LENGTHS = (8, 16, 32)
SIZE = CONFIG["hidden_size"]
BERT: dict[str, Any] = CONFIG | {"vocab_size": 6000, "max_position_embeddings": 40}
WORDS = """
[models.encoder]
path = "encoder.wasm"
instances = { min = 1, max = 2 }

[agents.words]
path = "builtin:text"
files = { tokenizer = "tokenizer.json" }
config = { max_tokens = 32 }

[collections.notes]
vectors = { size = 24, distance = "Cosine" }

[pipelines.sentences]
steps = [{ agent = "words" }, { model = "encoder" }]
"""
"""What a node that understands text has, whatever else it has."""

SITE = (
    """
[node]
name = "library"
listen = "127.0.0.1:0"
"""
    + WORDS
    + """
[collections.places]
vectors = { size = 8, distance = "Euclid" }

[pipelines.tokens]
steps = [{ agent = "words" }]

[pipelines.find]
steps = [{ agent = "words" }, { model = "encoder" }, { search = "notes", limit = 3 }]
"""
)
CACHES = """
[cache]
embeddings_mb = 4
disk_mb = 1
results_mb = 4
near_mb = 8
"""


@functools.cache
def encoder() -> bytes:
    """The network with a variant for each of `LENGTHS`."""
    with short_folder() as folder:
        source = write_folder(folder / "source", random_tensors(BERT), BERT)
        (source / "tokenizer.json").write_text(wordpiece())
        return littoral.compile(source, variants=[{"input_ids": (1, n)} for n in LENGTHS], name="encoder").wasm


def write_text_site(folder: Path, text: str = SITE + CACHES) -> Path:
    Model(encoder()).save(folder / "encoder.wasm")
    (folder / "tokenizer.json").write_text(wordpiece())
    (folder / "site.toml").write_text(text)
    return folder / "site.toml"


@contextlib.contextmanager
def text_node(text: str = SITE + CACHES) -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder, site=write_text_site(folder, text)) as served,
    ):
        yield served


def judged(texts: list[str], tokens_max: int = 32) -> Any:
    """The embeddings in float64, from the package's ids: float64[n, size]."""
    tokenizer = Tokenizer.from_str(wordpiece())
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens_max)
    rows = [np.array([tokenizer.encode(text).ids]) for text in texts]
    return np.concatenate([embed(random_tensors(BERT), BERT, row, np.ones_like(row)) for row in rows])


def how(headers: Any) -> Any:
    return json.loads(headers["littoral-how"])
