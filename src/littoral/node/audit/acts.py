"""Which routes change or read what the log tells of, in one table; a test fails for one that writes and is missing."""

from collections.abc import Mapping

import msgspec

__all__ = ["CHANGES", "NOT_TOLD", "READS", "Points", "points_of"]

IDS_MAX = 16

_CHANGES = """
backup     GET    /api/backup
cache      DELETE /api/caches/{cache}
model      POST   /api/builds/{build}/add
trust      POST   /api/updates/begin-again
export     GET    /api/gateway/export
import     POST   /api/gateway/import
label      POST   /api/gateway/misses/{miss}
purge      POST   /api/gateway/purge
migration  DELETE /api/collections/{collection}/migration
migration  POST   /api/collections/{collection}/migration
migration  POST   /api/collections/{collection}/migration/back
mesh       POST   /api/mesh/changes
model      DELETE /api/models/{name}
label      POST   /v1/littoral/feedback
collection POST   /collections/aliases
collection DELETE /collections/{collection}
collection PATCH  /collections/{collection}
collection PUT    /collections/{collection}
collection PUT    /collections/{collection}/index
collection DELETE /collections/{collection}/index/{field}
insert     PUT    /collections/{collection}/points
change     POST   /collections/{collection}/points/batch
delete     POST   /collections/{collection}/points/delete
change     POST   /collections/{collection}/points/payload
change     PUT    /collections/{collection}/points/payload
change     POST   /collections/{collection}/points/payload/clear
change     POST   /collections/{collection}/points/payload/delete
change     PUT    /collections/{collection}/points/vectors
change     POST   /collections/{collection}/points/vectors/delete
snapshot   POST   /collections/{collection}/snapshots
snapshot   PUT    /collections/{collection}/snapshots/recover
snapshot   POST   /collections/{collection}/snapshots/upload
snapshot   DELETE /collections/{collection}/snapshots/{snapshot}
snapshot   GET    /collections/{collection}/snapshots/{snapshot}
collection DELETE /collections/{collection}/vectors/{vector}
collection PUT    /collections/{collection}/vectors/{vector}
"""

_READS = """
read       POST   /collections/{collection}/facet
read       POST   /collections/{collection}/points
read       POST   /collections/{collection}/points/count
query      POST   /collections/{collection}/points/discover
query      POST   /collections/{collection}/points/discover/batch
query      POST   /collections/{collection}/points/query
query      POST   /collections/{collection}/points/query/batch
query      POST   /collections/{collection}/points/query/groups
query      POST   /collections/{collection}/points/recommend
query      POST   /collections/{collection}/points/recommend/batch
query      POST   /collections/{collection}/points/recommend/groups
read       POST   /collections/{collection}/points/scroll
query      POST   /collections/{collection}/points/search
query      POST   /collections/{collection}/points/search/batch
query      POST   /collections/{collection}/points/search/groups
read       POST   /collections/{collection}/points/search/matrix/offsets
read       POST   /collections/{collection}/points/search/matrix/pairs
read       GET    /collections/{collection}/points/{id}
"""

NOT_TOLD = {
    "POST /api/builds": "serves nothing until it is loaded",
    "DELETE /api/builds/{build}": "served nothing",
    "POST /api/builds/{build}/cancel": "serves nothing until it is loaded",
    "POST /api/builds/{build}/feeds": "serves nothing until it is loaded",
    "DELETE /api/builds/{build}/feeds": "served nothing",
    "POST /api/builds/{build}/load": "told where the version takes over",
    "POST /api/builds/{build}/start": "serves nothing until it is loaded",
    "POST /api/steps": "runs a step, as `infer` does",
    "POST /api/updates/back": "told where the deployment ends",
    "POST /api/updates/from": "told where a deployment begins",
    "POST /api/updates/now": "told where a deployment begins",
    "POST /api/compared": "changes nothing",
    "POST /api/models/{name}/back": "told where the version takes over",
    "DELETE /api/session": "a page's own session",
    "POST /api/session": "a page's own session",
    "POST /api/collections/{collection}/recall": "reads what was measured",
    "POST /api/examined": "changes nothing",
    "POST /v2/repository/index": "lists models",
    "POST /v2/repository/models/{model}/load": "told where a version takes over, whoever asked",
    "POST /v2/repository/models/{model}/unload": "told where the model goes, whoever asked",
    "POST /pipelines/{name}": "its steps tell what they search and write",
    "POST /pipelines/{name}/stream": "its steps tell what they search and write",
    "POST /v1/chat/completions": "asks a service, or tells again what it said; budgets count it",
    "POST /v1/completions": "asks a service, or tells again what it said; budgets count it",
    "POST /v1/embeddings": "gives vectors, holds none",
    "POST /v2/models/{model}/infer": "its steps tell what they search and write",
    "POST /v2/models/{model}/versions/{version}/infer": "its steps tell what they search and write",
}
"""Routes that write or read, and why the log does not tell of them as such."""


def _read(table: str) -> Mapping[str, str]:
    rows = (line.split() for line in table.strip().splitlines())
    return {f"{method} {pattern}": did for did, method, pattern in rows}


CHANGES, READS = _read(_CHANGES), _read(_READS)
"""What an entry says was done, by `METHOD /pattern`."""


class _Point(msgspec.Struct, frozen=True):
    id: int | str


class _Ids(msgspec.Struct, frozen=True):
    ids: list[int | str] = []


class Points(msgspec.Struct, frozen=True):
    """What a body says of its points, whatever else is in it."""

    points: list[int | str | _Point] = []
    batch: _Ids = _Ids()

    @property
    def ids(self) -> list[int | str]:
        named = [one.id if isinstance(one, _Point) else one for one in self.points]
        return [*named, *self.batch.ids]


_decoder = msgspec.json.Decoder(Points)


def points_of(data: bytes) -> tuple[int, list[int | str]]:
    """How many points a body names, and the first of them; 0 for a body that names none."""
    try:
        ids = _decoder.decode(data).ids if data else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        ids = []
    return len(ids), ids[:IDS_MAX]
