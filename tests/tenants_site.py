"""A node with two tenants and its operator: who shares what, who has what, and a token for each."""

import contextlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from littoral import settings
from littoral.artifact import Model, Store
from littoral.clock import SYSTEM
from littoral.node.access.roles import Role
from littoral.web.access.tokens import new_token, read_tokens, write_tokens
from mixed_texts import wordpiece
from node_fixture import Served, node_in_thread
from oip_site import scaled, summing
from raw_http import Reply, send
from supervised import short_folder
from text_node import CACHES, WORDS, encoder

ACME, BOLT, OPERATOR = "acme", "bolt", ""
SITE = (
    """
[node]
name = "library"
listen = "127.0.0.1:0"
grpc = "127.0.0.1:0"

[auth]
tokens = "tokens.json"

[models.sums]
path = "sums.wasm"
state = { total = "next_total" }

[models.scaled]
path = "scaled.wasm"

[collections.books]
vectors = { size = 4, distance = "Dot" }

[pipelines.find]
steps = [{ agent = "words" }, { model = "encoder" }, { search = "notes", limit = 5 }]

[pipelines.keep]
steps = [{ agent = "words" }, { model = "encoder" }, { upsert = "notes", payload = { text = "{input}" } }]

[pipelines.times]
steps = [{ model = "scaled" }]
"""
    + WORDS
    + CACHES
)
TENANTS = """
[[tenants]]
name = "acme"
models = ["encoder", "sums"]
pipelines = ["sentences", "find", "keep"]

[tenants.quota]
requests_per_s = 100000.0
collections_max = 4

[tenants.collections.frames]
vectors = { size = 4, distance = "Dot" }

[[tenants]]
name = "bolt"
models = ["sums", "scaled"]
pipelines = ["sentences", "find", "keep", "times"]

[tenants.quota]
requests_per_s = 100000.0
collections_max = 4

[tenants.collections.frames]
vectors = { size = 4, distance = "Dot" }

[tenants.collections.plans]
vectors = { size = 4, distance = "Dot" }
"""


class Tenanted(NamedTuple):
    """tokens: by tenant, each with the roles read, infer and write; '' = the operator's, with all."""

    served: Served
    folder: Path
    tokens: dict[str, str]

    def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """body: JSON, unless it is bytes."""
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return send(self.served.address, method, path, data, {"authorization": f"Bearer {self.tokens[who]}"} | named)


def add_token(folder: Path, tenant: str, *roles: Role, name: str = "till") -> str:
    """In the file of a node, which sees it at once."""
    file = folder / "tokens.json"
    text, token = new_token(name, roles, SYSTEM.wall(), tenant=tenant)
    write_tokens(file, [*read_tokens(file), token])
    return text


def write_tenants_site(folder: Path, tenants: str = TENANTS, site: str = SITE) -> Path:
    models = {"encoder": Model(encoder()), "sums": summing(), "scaled": scaled(2.0)}
    for name, model in models.items():
        Store().record(model.digest)  # compiled for another test, maybe
        model.save(folder / f"{name}.wasm")
    (folder / "tokenizer.json").write_text(wordpiece())
    (folder / "site.toml").write_text(site + tenants)
    return folder / "site.toml"


@contextlib.contextmanager
def tenanted_node(tenants: str = TENANTS, site: str = SITE) -> Iterator[Tenanted]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        path = write_tenants_site(folder, tenants, site)
        some = (Role.READ, Role.INFER, Role.WRITE)
        names = [table["name"] for table in tomllib.loads(tenants)["tenants"]]
        tokens = {name: add_token(folder, name, *some) for name in names}
        tokens[OPERATOR] = add_token(folder, "", Role.ADMIN)
        with node_in_thread(folder, site=path) as served:
            yield Tenanted(served, folder, tokens)


def points(count: int, *, of: str, first: int = 1) -> dict[str, Any]:
    """For a collection of size 4."""
    found = [
        {"id": first + at, "vector": [1.0, float(at), 0.0, 0.0], "payload": {"owner": of, "number": at}}
        for at in range(count)
    ]
    return {"points": found}
