"""The folder of a node that does not run: a site file, a file for its model, collections with points; made quickly."""

from pathlib import Path

import numpy as np

from littoral.clock import SYSTEM
from littoral.node.backup.folder import Backups, Made
from littoral.node.backup.sending import sent
from littoral.node.backup.stopped import Stopped, one_by_one, reader
from littoral.node.site import read_site
from littoral.vault import KeyRing
from littoral.vectors.collection_folders import make
from littoral.vectors.layout import COLLECTIONS, CollectionFile, read_collection_file
from littoral.vectors.records import CollectionConfig, PointBatch, Record, VectorParams
from littoral.vectors.shard import Shard

SIZE = 4
CONFIG = CollectionConfig(VectorParams(SIZE, "Dot"))
SITE = """
[node]
name = "gw-1"
listen = "127.0.0.1:0"

[models.plain]
path = "models/plain"

[auth]

[collections.parts]
vectors = { size = 4, distance = "Dot" }
"""


def write_stopped(folder: Path, text: str = SITE, *, count: int = 20) -> Path:
    """The site file. Collection `parts` has so many points; a model has two versions that are no models at all."""
    for number in (1, 2):
        (folder / f"models/plain/{number}").mkdir(parents=True)
        (folder / f"models/plain/{number}/model.wasm").write_bytes(b"version %d" % number)
    (folder / "tokens.json").write_text('{"tokens": [], "format": 1}')
    site = folder / "site.toml"
    site.write_text(text)
    collections = read_site(site).data / COLLECTIONS
    collections.mkdir(parents=True)
    (collections / "aliases.json").write_text('{"pieces": "parts"}')
    make(collections, "parts", CollectionFile(CONFIG, ["shard-0-a"]))
    write_points(site, range(count))
    return site


def write_points(site: Path, ids: range) -> None:
    with _shard(site) as shard:
        vectors = [np.full(SIZE, number, "<f4").tobytes() for number in ids]
        shard.upsert(PointBatch(list(ids), vectors, [{"n": number} for number in ids]))


def points_of(site: Path) -> list[Record]:
    """With payloads and vectors."""
    with _shard(site) as shard:
        return shard.retrieve(list(range(1000)), with_payload=True, with_vector=True)


def _shard(site: Path) -> Shard:
    folder = read_site(site).data / COLLECTIONS / "parts"
    file = read_collection_file(folder)
    return Shard.open(folder / file.shards[0], file.config, create=True)


def take(site: Path, folder: Path, ring: KeyRing | None = None, *, with_tokens: bool = False) -> Made:
    """A backup of it."""
    described = read_site(site)
    chunks = one_by_one(sent(described, Stopped(described.data), SYSTEM, with_tokens=with_tokens))
    return Backups(folder, ring, SYSTEM).take(reader(chunks))
