"""A node with a gateway in front of services that tests script."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import openai

from fake_upstream import FakeUpstream, fake_upstream
from littoral import settings
from littoral.artifact import Model, Store
from mixed_texts import wordpiece
from node_fixture import Served, node_in_thread
from supervised import short_folder
from text_node import encoder

KEY = "sk-upstream-secret-0123456789"

SITE = """
[node]
name = "desk"
listen = "127.0.0.1:0"

[gateway]

[[gateway.upstreams]]
name = "cloud"
url = "{url}"
key = {{ file = "cloud.key" }}
models = ["large", "small*"]
rename = {{ quick = "small" }}
"""

ENCODER = """
[models.encoder]
path = "encoder.wasm"

[agents.words]
path = "builtin:text"
files = { tokenizer = "tokenizer.json" }
config = { max_tokens = 32 }
"""
"""Of texts, for a pipeline; `write_encoder` brings its files."""


class Gatewayed(NamedTuple):
    served: Served
    fake: FakeUpstream
    folder: Path

    def client(self, **more: object) -> openai.OpenAI:
        """Close it."""
        given = {"base_url": f"{self.served.url}/v1", "api_key": "sk-caller-secret", "max_retries": 0, "timeout": 60}
        return openai.OpenAI(**(given | more))  # type: ignore[arg-type]


def write_gateway_site(folder: Path, text: str) -> Path:
    key = folder / "cloud.key"
    key.write_text(f"{KEY}\n")
    key.chmod(0o600)
    (folder / "site.toml").write_text(text)
    return folder / "site.toml"


def write_encoder(folder: Path) -> None:
    """A real network with a real tokenizer."""
    model = Model(encoder())
    Store().record(model.digest)  # compiled for another test, maybe
    model.save(folder / "encoder.wasm")
    (folder / "tokenizer.json").write_text(wordpiece())


@contextlib.contextmanager
def gatewayed_node(text: str = SITE, **places: object) -> Iterator[Gatewayed]:
    """text: with `{url}` where the fake upstream's address belongs."""
    with (
        fake_upstream() as fake,
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        site = write_gateway_site(folder, text.format(url=fake.url, **places))
        with node_in_thread(folder, site=site) as served:
            yield Gatewayed(served, fake, folder)
