"""A valid request, or more, for every route of a node: what a fuzzer changes. A route without one fails a test."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from littoral.artifact import Model, Store
from littoral.node.qdrant_api import LACKING
from littoral.steps.messages import StepAsk, encode_step
from littoral.tensors import encode_frame
from littoral.vectors.layout import COLLECTION_FILE
from mixed_texts import wordpiece
from node_fixture import DOUBLE, SITE, SIZE, write_site
from oip_site import OWN_MODELS, TYPES, all_types, summing
from pictures import jpeg, natural
from text_node import encoder

__all__ = ["FUZZED", "SEEDS", "SNAPSHOT", "Seed", "write_fuzzed_site"]

FUZZED = (
    SITE
    + DOUBLE
    + OWN_MODELS
    + """
[models.encoder]
path = "encoder.wasm"

[agents.words]
path = "builtin:text"
files = { tokenizer = "tokenizer.json" }
config = { max_tokens = 32 }

[pipelines.sentences]
steps = [{ agent = "words" }, { model = "encoder" }]

[cache]
embeddings_mb = 4
results_mb = 4
near_mb = 4

[audit]
commit_ms = 50

[gateway]
upstreams = [{ name = "beside", url = "http://nobody.example/v1", models = ["large"], usage = true }]
embedder = "sentences"

[placement]
"""
)
VECTOR = [round(0.5 + i / 1000, 3) for i in range(SIZE)]
SHORT = [0.1, 0.2, 0.3, 0.4]
FILTER = {
    "must": [
        {"key": "n", "match": {"value": 3}},
        {"key": "n", "range": {"gte": 1, "lt": 9}},
        {"key": "kind", "match": {"any": ["a", "b"]}},
    ],
    "should": [
        {"key": "at", "range": {"gte": "2024-01-01T00:00:00Z"}},
        {"key": "place", "geo_radius": {"center": {"lon": 1.5, "lat": 2.5}, "radius": 1000.0}},
        {"is_empty": {"key": "x"}},
        {"is_null": {"key": "y"}},
        {"has_id": [1, 2]},
        {"nested": {"key": "parts", "filter": {"must": [{"key": "z", "match": {"value": True}}]}}},
    ],
    "must_not": [{"key": "kind", "match": {"except": ["c"]}}],
    "min_should": {"conditions": [{"key": "n", "values_count": {"gt": 0}}], "min_count": 1},
}
PAYLOAD = {"n": 3, "kind": "a", "at": "2024-05-01T00:00:00Z", "place": {"lon": 1.5, "lat": 2.5}, "parts": [{"z": True}]}
PARAMS = {"hnsw_ef": 32, "exact": False, "quantization": {"rescore": True}}
POINT = {"id": 1, "vector": SHORT, "payload": PAYLOAD}
UUID = "0b0e9a3a-5b5e-4b8e-9c0a-2b2f0f7b7a11"
QUERY = {"query": SHORT, "filter": FILTER, "params": PARAMS, "limit": 3, "with_payload": True, "with_vector": True}
FUSED = {
    "prefetch": [{"query": SHORT, "limit": 5}, {"query": 1, "filter": FILTER, "limit": 5}],
    "query": {"fusion": "rrf"},
    "limit": 3,
}
RECOMMEND = {
    "query": {"recommend": {"positive": [1, SHORT], "negative": [2], "strategy": "average_vector"}},
    "limit": 2,
}
FORMULA = {
    "prefetch": {"query": SHORT, "limit": 9},
    "query": {"formula": {"sum": ["$score", {"mult": [0.5, {"key": "n", "match": {"value": 3}}]}]}},
}
JSON = {"content-type": "application/json"}
FRAME = encode_frame({"x": np.ones((1, 3), np.float32)})
PICTURE = jpeg(natural(64, 48))
TENSOR = {"name": "x", "shape": [2, 3], "datatype": "FP32"}
RAW = np.ones((2, 3), "<f4").tobytes()
BINARY_HEAD = json.dumps(
    {"inputs": [TENSOR | {"parameters": {"binary_data_size": len(RAW)}}], "parameters": {"binary_data_output": True}}
).encode()
STEP = encode_step(StepAsk(f"model:{'0' * 64}", 1.0), {"x": np.zeros((1, 3), np.float32)}, {})
"""Of a model that no node has: which digest one has is not known here."""
LENGTH = "inference-header-content-length"
SIZES = {
    name: 6 * (1 if name == "BOOL" else 2 if name == "BF16" else int(name.lstrip("UINTFP")) // 8) for name in TYPES
}
TYPED_HEAD = json.dumps(
    {
        "inputs": [
            {"name": name, "shape": [2, 3], "datatype": name, "parameters": {"binary_data_size": size}}
            for name, size in SIZES.items()
        ],
        "outputs": [{"name": "FP16_out", "parameters": {"binary_data": True}}],
    }
).encode()
TYPED_RAW = bytes(sum(SIZES.values()))
BOUNDARY = "xyz"
SNAPSHOT = "fuzzed.snapshot"
"""In names and bodies: the name of a snapshot that is there."""


def _upload() -> bytes:
    """A form with a snapshot that says what its collection is, and has no points."""
    archive, config = (
        io.BytesIO(),
        json.dumps({"config": {"vectors": {"size": 4, "distance": "Cosine"}}, "shards": ["s"]}),
    )
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(COLLECTION_FILE)
        entry.size = len(config)
        tar.addfile(entry, io.BytesIO(config.encode()))
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="snapshot"; filename="s.snapshot"\r\n\r\n'
    return head.encode() + archive.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()


class Seed(NamedTuple):
    """names: what stands in the named places of the pattern. body: a value that is sent as JSON, or bytes."""

    names: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: Any = None


def _collection(*bodies: Any, method: str = "", **names: str) -> list[Seed]:
    return [Seed({"collection": "fuzzed"} | names, {"wait": "true"}, JSON, body) for body in bodies or (None,)]


def _aliases(*actions: Any) -> Seed:
    return Seed(headers=JSON, body={"actions": list(actions)})


def _infer(**names: str) -> list[Seed]:
    plain = {"inputs": [TENSOR | {"data": [1.0] * 6}], "outputs": [{"name": "add_0"}], "id": "7"}
    binary = {LENGTH: str(len(BINARY_HEAD)), "content-type": "application/octet-stream"}
    total = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    stateful = total | {"parameters": {"sequence_id": 5, "sequence_start": True, "sequence_end": False}}
    bytes_in = {"inputs": [{"name": "input", "shape": [1], "datatype": "BYTES", "data": ["a text"]}]}
    deadline = plain | {"parameters": {"timeout": 1_000_000, "priority": 1, "classification": 2}}
    return [
        Seed({"model": "plain"} | names, {}, JSON, plain),
        Seed({"model": "plain"} | names, {}, JSON, deadline),
        Seed({"model": "plain"} | names, {}, binary, BINARY_HEAD + RAW),
        Seed({"model": "plain"} | names, {}, {**binary, "content-encoding": "gzip"}, gzip.compress(BINARY_HEAD + RAW)),
        Seed({"model": "sums"} | names, {}, JSON, stateful),
        Seed({"model": "types"} | names, {}, binary | {LENGTH: str(len(TYPED_HEAD))}, TYPED_HEAD + TYPED_RAW),
        Seed({"model": "sentences"} | names, {}, JSON, bytes_in),
    ]


def _pipelines() -> list[Seed]:
    octets = {"content-type": "application/octet-stream"}
    frame = {"content-type": "application/x-safetensors", "accept": "application/x-safetensors"}
    return [
        Seed({"name": "double"}, {"timeout_ms": "1000"}, JSON, {"inputs": {"x": [[1, 2, 3]]}}),
        Seed({"name": "double"}, {}, frame, FRAME),
        Seed({"name": "similar"}, {}, octets, PICTURE),
        Seed({"name": "classify"}, {}, octets, PICTURE),
        Seed({"name": "sentences"}, {"cache": "off"}, octets, b"some words of a text"),
    ]


def _streams() -> list[Seed]:
    whole = b'--f\r\nContent-Type: application/json\r\nX-Frame-Id: 1\r\n\r\n{"inputs":{"x":[[1,2,3]]}}\r\n--f--\r\n'
    lengths = b"".join(len(part).to_bytes(4, "little") + part for part in (b'{"inputs":{"x":[[1,2,3]]}}',) * 3)
    return [
        Seed({"name": "double"}, {"credit": "4"}, {"content-type": "multipart/mixed; boundary=f"}, whole),
        Seed({"name": "double"}, {"credit": "4"}, {"content-type": "multipart/x-mixed-replace; boundary=f"}, whole),
        Seed({"name": "double"}, {}, {"content-type": "application/x-littoral-frames"}, lengths),
    ]


_TILE = "/api/audit/tile/{level}"
_C = "/collections/{collection}"
_P = f"{_C}/points"
_S = f"{_P}/search"
_BY_IDS = {"points": [1, UUID]}
_BY_FILTER = {"filter": FILTER}
_CREATE = (
    {"vectors": {"size": 4, "distance": "Dot"}},
    {
        "vectors": {"a": {"size": 4, "distance": "Cosine", "multivector_config": {"comparator": "max_sim"}}},
        "sparse_vectors": {"s": {"modifier": "idf"}},
        "hnsw_config": {"m": 8, "ef_construct": 50},
        "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99}},
    },
)
_OLD = {"vector": SHORT, "filter": FILTER, "limit": 3, "with_payload": True, "score_threshold": 0.1}
_OLD_RECOMMEND = {"positive": [1], "negative": [2], "limit": 3}
_OLD_DISCOVER = {"target": 1, "context": [{"positive": 1, "negative": 2}], "limit": 3}
_OPERATIONS = {
    "operations": [
        {"upsert": {"points": [POINT]}},
        {"delete_payload": {"keys": ["n"], "points": [1]}},
        {"set_payload": {"payload": {"n": 4}, "points": [1]}},
        {"delete_vectors": {"points": [2], "vector": [""]}},
        {"delete": {"points": [9]}},
    ]
}

SEEDS: dict[tuple[str, str], list[Seed]] = {
    ("GET", "/"): [Seed(headers={"accept": "text/html"}), Seed()],
    ("GET", "/api/node"): [Seed()],
    ("GET", "/api/session"): [Seed()],
    ("POST", "/api/session"): [Seed(body={"token": "littoral_0123456789ab_x"})],
    ("DELETE", "/api/session"): [Seed()],
    ("GET", "/api/mesh"): [Seed()],
    ("GET", "/api/openapi.json"): [Seed()],
    ("POST", "/api/mesh/changes"): [
        Seed(headers=JSON, body={"wish": {"kind": "spread", "collection": "fuzzed", "shards": 6}, "is_applied": True}),
        Seed(
            headers=JSON,
            body={"wish": {"kind": "move", "collection": "fuzzed", "shard": 1, "source": "a", "target": "b"}},
        ),
    ],
    ("GET", "/api/placement"): [Seed()],
    ("GET", "/api/steps"): [Seed()],
    ("POST", "/api/steps"): [Seed(headers={"Content-Type": "application/x-safetensors"}, body=STEP)],
    ("GET", "/api/tenants"): [Seed()],
    ("GET", "/api/pipelines"): [Seed()],
    ("GET", "/api/models"): [Seed()],
    ("GET", "/api/agents"): [Seed()],
    ("GET", "/api/models/{name}"): [Seed({"name": "embedder"})],
    ("GET", "/api/models/{name}/versions"): [Seed({"name": "embedder"})],
    ("POST", "/api/examined"): [Seed(body=b"\0asm\x01\0\0\0")],
    ("GET", "/api/builds"): [Seed()],
    ("POST", "/api/builds"): [Seed(query={"file": "a.wasm"}, body=b"\0asm\x01\0\0\0")],
    ("GET", "/api/builds/{build}"): [Seed({"build": "0"})],
    ("DELETE", "/api/builds/{build}"): [Seed({"build": "0"})],
    ("POST", "/api/builds/{build}/feeds"): [Seed({"build": "0"}, {"file": "a.npz"}, body=b"PK")],
    ("DELETE", "/api/builds/{build}/feeds"): [Seed({"build": "0"})],
    ("POST", "/api/builds/{build}/start"): [Seed({"build": "0"}, {}, JSON, {"shapes": {"x": [1, 3]}})],
    ("POST", "/api/builds/{build}/cancel"): [Seed({"build": "0"})],
    ("POST", "/api/builds/{build}/load"): [Seed({"build": "0"}, {}, JSON, {"model": "plain"})],
    ("POST", "/api/builds/{build}/add"): [Seed({"build": "0"}, {}, JSON, {"model": "fresh"})],
    ("DELETE", "/api/models/{name}"): [Seed({"name": "unknown"})],
    ("POST", "/api/models/{name}/back"): [Seed({"name": "plain"})],
    ("POST", "/api/compared"): [Seed(query={"one": "plain@7", "other": "build:0"})],
    ("GET", "/api/mqtt"): [Seed()],
    ("GET", "/api/gateway"): [Seed(query={"span_s": "600"})],
    ("GET", "/api/gateway/curve"): [Seed(query={"id": "0" * 32})],
    ("GET", "/api/gateway/entries"): [Seed(query={"text": "a", "tag": "b", "cursor": "0" * 32})],
    ("GET", "/api/gateway/export"): [Seed()],
    ("GET", "/api/gateway/misses"): [Seed()],
    ("POST", "/api/gateway/explain"): [Seed({}, {}, JSON, {"question": "Where is it?", "model": "large"})],
    ("POST", "/api/gateway/import"): [Seed(headers={"content-type": "application/x-ndjson"}, body=b"")],
    ("POST", "/api/gateway/misses/{miss}"): [Seed({"miss": "0" * 32}, {}, JSON, {"is_correct": True})],
    ("POST", "/api/gateway/purge"): [Seed({}, {}, JSON, {"tags": ["a"], "model": "large"})],
    ("GET", "/api/doctor"): [Seed()],
    ("GET", "/api/caches"): [Seed()],
    ("DELETE", "/api/caches/{cache}"): [Seed({"cache": "exact"})],
    ("POST", "/api/collections/{collection}/recall"): [
        Seed({"collection": "fuzzed"}, body={"queries": 2, "k": 3, "using": ""})
    ],
    ("GET", "/api/collections/{collection}/map"): [
        Seed({"collection": "fuzzed"}, {"sample": "5", "by": "kind", "using": ""})
    ],
    ("GET", "/pages/{page}"): [Seed({"page": "logs"})],
    ("GET", "/api/collections"): [Seed()],
    ("GET", f"/api{_C}"): _collection(),
    ("POST", f"/api{_C}/migration"): _collection({"to": "embedder@2"}),
    ("POST", f"/api{_C}/migration/back"): _collection(),
    ("DELETE", f"/api{_C}/migration"): _collection(),
    ("GET", "/api/events"): [Seed()],
    ("GET", "/api/audit"): [Seed()],
    ("GET", "/api/dashboards"): [Seed()],
    ("GET", "/api/dashboards/{name}"): [Seed({"name": "site"})],
    ("GET", "/api/updates"): [Seed()],
    ("GET", "/fleet/v1/image/targets/{file}"): [Seed({"file": "0" * 64 + ".wasm"})],
    ("POST", "/api/updates/back"): [Seed()],
    ("POST", "/api/updates/from"): [Seed({}, {}, JSON, {"folder": "/nowhere"})],
    ("POST", "/api/updates/begin-again"): [Seed()],
    ("POST", "/api/updates/now"): [Seed()],
    ("GET", "/api/audit/checkpoint"): [Seed()],
    ("GET", "/api/audit/witnessed"): [Seed()],
    ("GET", "/api/audit/key"): [Seed()],
    ("GET", "/api/audit/entries"): [
        Seed(),
        Seed(query={"from": "0", "count": "5"}),
        Seed(query={"did": "query", "who": "node", "on": "frames", "since": "1", "until": "2e9", "before": "9"}),
    ],
    ("GET", "/api/audit/verified"): [Seed()],
    ("GET", "/api/audit/proof/{index}"): [Seed({"index": "0"})],
    ("GET", "/api/audit/consistency"): [Seed(query={"from": "0"})],
    ("GET", f"{_TILE}/{{a}}"): [Seed({"level": "0", "a": "000"})],
    ("GET", f"{_TILE}/{{a}}/{{b}}"): [Seed({"level": "entries", "a": "000.p", "b": "1"})],
    ("GET", f"{_TILE}/{{a}}/{{b}}/{{c}}"): [Seed({"level": "0", "a": "x001", "b": "234.p", "c": "7"})],
    ("GET", f"{_TILE}/{{a}}/{{b}}/{{c}}/{{d}}"): [Seed({"level": "0", "a": "x001", "b": "x000", "c": "0.p", "d": "7"})],
    ("GET", f"{_TILE}/{{a}}/{{b}}/{{c}}/{{d}}/{{e}}"): [
        Seed({"level": "0", "a": "x001", "b": "x000", "c": "x000", "d": "001.p", "e": "7"})
    ],
    ("GET", "/api/backup"): [Seed(query={"tokens": "0"})],
    ("GET", "/api/logs"): [Seed(query={"level": "info", "since": "1", "limit": "5"}), Seed(query={"follow": "1"})],
    ("GET", "/healthz"): [Seed()],
    ("GET", "/livez"): [Seed()],
    ("GET", "/readyz"): [Seed()],
    ("GET", "/metrics"): [Seed()],
    ("POST", "/pipelines/{name}"): _pipelines(),
    ("GET", "/pipelines"): [Seed()],
    ("POST", "/pipelines/{name}/stream"): _streams(),
    ("GET", "/pipelines/{name}/stream"): [Seed({"name": "double"}, {"credit": "4"}, {"upgrade": "websocket"})],
    ("GET", "/v2"): [Seed()],
    ("GET", "/v2/health/live"): [Seed()],
    ("GET", "/v2/health/ready"): [Seed()],
    ("GET", "/v2/models/stats"): [Seed()],
    **{
        ("GET", f"/v2/models/{{model}}{version}{rest}"): [Seed({"model": "plain", "version": "1"})]
        for version in ("", "/versions/{version}")
        for rest in ("", "/ready", "/config", "/stats")
    },
    ("POST", "/v2/models/{model}/infer"): _infer(),
    ("POST", "/v2/models/{model}/versions/{version}/infer"): _infer(version="1"),
    ("POST", "/v2/repository/index"): [Seed(headers=JSON, body={"ready": True})],
    ("POST", "/v2/repository/models/{model}/load"): [Seed({"model": "plain"}, {}, JSON, {"parameters": {}})],
    ("POST", "/v2/repository/models/{model}/unload"): [
        Seed({"model": "types"}, {}, JSON, {"parameters": {"unload_dependents": False}})
    ],
    ("POST", "/v1/embeddings"): [
        Seed(headers=JSON, body={"model": "sentences", "input": "a text", "encoding_format": "base64"}),
        Seed(headers=JSON, body={"model": "sentences", "input": ["a", "b"], "dimensions": 24, "user": "me"}),
        Seed(headers=JSON, body={"model": "sentences", "input": [[1, 2, 3]]}),
    ],
    ("POST", "/v1/chat/completions"): [
        Seed(headers=JSON, body={"model": "large", "messages": [{"role": "user", "content": "where is it?"}]}),
        Seed(headers=JSON, body={"model": "large", "messages": [{"role": "user", "content": "a"}], "stream": True}),
    ],
    ("POST", "/v1/completions"): [Seed(headers=JSON, body={"model": "large", "prompt": "once", "max_tokens": 3})],
    ("POST", "/v1/littoral/feedback"): [Seed(headers=JSON, body={"id": "00", "is_correct": True})],
    ("GET", "/v1/models"): [Seed()],
    ("GET", "/v1/models/{model}"): [Seed({"model": "sentences"})],
    ("GET", "/collections"): [Seed()],
    ("GET", "/aliases"): [Seed()],
    ("GET", "/cluster"): [Seed()],
    ("GET", f"{_C}/cluster"): _collection(),
    ("GET", _C): _collection(),
    ("PUT", _C): [Seed({"collection": "made"}, {"timeout": "10"}, JSON, body) for body in _CREATE],
    ("PATCH", _C): _collection({"hnsw_config": {"m": 12}, "optimizers_config": {"indexing_threshold": 10000}}),
    ("DELETE", _C): [Seed({"collection": "made"})],
    ("GET", f"{_C}/exists"): _collection(),
    ("PUT", f"{_C}/vectors/{{vector}}"): _collection({"dense": {"size": 4, "distance": "Dot"}}, vector="more"),
    ("DELETE", f"{_C}/vectors/{{vector}}"): _collection(vector="more"),
    ("POST", "/collections/aliases"): [
        _aliases({"create_alias": {"collection_name": "fuzzed", "alias_name": "other"}}),
        _aliases(
            {"create_alias": {"collection_name": "fuzzed", "alias_name": "third"}},
            {"rename_alias": {"old_alias_name": "third", "new_alias_name": "fourth"}},
            {"delete_alias": {"alias_name": "fourth"}},
        ),
    ],
    ("GET", f"{_C}/aliases"): _collection(),
    ("PUT", f"{_C}/index"): _collection(
        {"field_name": "n", "field_schema": "integer"},
        {"field_name": "words", "field_schema": {"type": "text", "tokenizer": "word", "min_token_len": 1}},
    ),
    ("DELETE", f"{_C}/index/{{field}}"): _collection(field="n"),
    ("GET", f"{_P}/{{id}}"): _collection(id="1"),
    ("POST", f"{_P}/batch"): _collection(_OPERATIONS),
    ("POST", f"{_P}/query"): _collection(QUERY, FUSED, RECOMMEND, FORMULA, {"query": {"order_by": "n"}}),
    ("POST", f"{_P}/query/batch"): _collection({"searches": [QUERY, FUSED]}),
    ("POST", f"{_P}/query/groups"): _collection(QUERY | {"group_by": "kind", "group_size": 2}),
    ("POST", _S): _collection(_OLD),
    ("POST", f"{_S}/batch"): _collection({"searches": [_OLD, _OLD]}),
    ("POST", f"{_S}/groups"): _collection(_OLD | {"group_by": "kind", "group_size": 2}),
    ("POST", f"{_S}/matrix/pairs"): _collection({"sample": 5, "limit": 3}),
    ("POST", f"{_S}/matrix/offsets"): _collection({"sample": 5, "limit": 3, "filter": FILTER}),
    ("POST", f"{_P}/recommend"): _collection(_OLD_RECOMMEND),
    ("POST", f"{_P}/recommend/batch"): _collection({"searches": [_OLD_RECOMMEND]}),
    ("POST", f"{_P}/recommend/groups"): _collection(_OLD_RECOMMEND | {"group_by": "kind", "group_size": 2}),
    ("POST", f"{_P}/discover"): _collection(_OLD_DISCOVER),
    ("POST", f"{_P}/discover/batch"): _collection({"searches": [_OLD_DISCOVER]}),
    ("GET", f"{_C}/snapshots"): _collection(),
    ("POST", f"{_C}/snapshots"): _collection(),
    ("GET", f"{_C}/snapshots/{{snapshot}}"): _collection(snapshot=SNAPSHOT),
    ("DELETE", f"{_C}/snapshots/{{snapshot}}"): _collection(snapshot=SNAPSHOT),
    ("PUT", f"{_C}/snapshots/recover"): _collection(
        {"location": f"http://node/collections/fuzzed/snapshots/{SNAPSHOT}", "priority": "snapshot"}
    ),
    ("POST", f"{_C}/snapshots/upload"): [
        Seed({"collection": "fuzzed"}, {}, {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}, _upload())
    ],
    ("POST", _P): _collection({"ids": [1, UUID], "with_payload": {"include": ["n"]}, "with_vector": True}),
    ("POST", f"{_P}/scroll"): _collection(
        {"offset": 1, "limit": 5, "filter": FILTER}, {"limit": 5, "order_by": {"key": "n", "direction": "desc"}}
    ),
    ("POST", f"{_P}/count"): _collection({"filter": FILTER, "exact": True}),
    ("POST", f"{_C}/facet"): _collection({"key": "kind", "limit": 5, "filter": FILTER}),
    ("PUT", _P): _collection(
        {"points": [POINT, POINT | {"id": UUID}]},
        {"batch": {"ids": [1, 2], "vectors": [SHORT, SHORT], "payloads": [PAYLOAD, None]}},
    ),
    ("POST", f"{_P}/delete"): _collection(_BY_IDS, _BY_FILTER),
    ("PUT", f"{_P}/vectors"): _collection({"points": [{"id": 1, "vector": SHORT}]}),
    ("POST", f"{_P}/vectors/delete"): _collection({"points": [2], "vector": [""]}),
    ("POST", f"{_P}/payload"): _collection(
        {"payload": PAYLOAD, **_BY_IDS}, {"payload": PAYLOAD, **_BY_FILTER, "key": "a"}
    ),
    ("PUT", f"{_P}/payload"): _collection({"payload": PAYLOAD, **_BY_IDS}),
    ("POST", f"{_P}/payload/delete"): _collection({"keys": ["n", "parts[].z"], **_BY_IDS}),
    ("POST", f"{_P}/payload/clear"): _collection(_BY_IDS, _BY_FILTER),
    **{at: [Seed({"collection": "fuzzed", "shard": "0", "snapshot": "s", "peer": "1"}, body={})] for at in LACKING},
}


def write_fuzzed_site(folder: Path, upstream: str) -> Path:
    """The site file, with a model, agent and collection of each kind. upstream: of the gateway, its address."""
    site = write_site(folder, FUZZED.replace("http://nobody.example/v1", upstream))
    for name, model in (("types", all_types()), ("sums", summing()), ("encoder", Model(encoder()))):
        Store().record(model.digest)
        model.save(folder / f"{name}.wasm")
    (folder / "tokenizer.json").write_text(wordpiece())
    return site
