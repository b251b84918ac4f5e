"""What one tenant may try to get at another's things, by every protocol: a table of requests that their owner may make.

`{it}` is the name of the thing. Each would succeed if it were not kept apart: the test has the owner make it, too.
"""

from typing import Any, NamedTuple

__all__ = ["ATTEMPTS", "Attempt"]

VECTOR = [1.0, 1.0, 0.0, 0.0]


class Attempt(NamedTuple):
    """name: of the thing. owner: whose it is; '' = the operator."""

    name: str
    owner: str
    method: str
    path: str
    body: Any = None

    @property
    def id(self) -> str:
        return f"{self.method} {self.path}".replace("{it}", self.name)


def _collection(name: str, owner: str) -> list[Attempt]:
    at = "/collections/{it}"
    own = "/collections/frames"
    rows: list[tuple[str, str, Any]] = [
        ("GET", at, None),
        ("POST", f"{at}/points", {"ids": [1], "with_payload": True, "with_vector": True}),
        ("GET", f"{at}/points/1", None),
        ("POST", f"{at}/points/scroll", {"limit": 10, "with_payload": True}),
        ("POST", f"{at}/points/count", {"exact": True}),
        ("POST", f"{at}/facet", {"key": "owner"}),
        ("POST", f"{at}/points/query", {"query": VECTOR}),
        ("POST", f"{at}/points/query", {"query": 1}),
        ("POST", f"{at}/points/query/batch", {"searches": [{"query": VECTOR}]}),
        ("POST", f"{at}/points/query/groups", {"query": VECTOR, "group_by": "owner"}),
        ("POST", f"{at}/points/search", {"vector": VECTOR, "limit": 3}),
        ("POST", f"{at}/points/search/batch", {"searches": [{"vector": VECTOR, "limit": 3}]}),
        ("POST", f"{at}/points/search/groups", {"vector": VECTOR, "limit": 3, "group_by": "owner", "group_size": 1}),
        ("POST", f"{at}/points/search/matrix/pairs", {"sample": 3, "limit": 2}),
        ("POST", f"{at}/points/search/matrix/offsets", {"sample": 3, "limit": 2}),
        ("POST", f"{at}/points/recommend", {"positive": [1], "limit": 3}),
        ("POST", f"{at}/points/recommend/batch", {"searches": [{"positive": [1], "limit": 3}]}),
        ("POST", f"{at}/points/recommend/groups", {"positive": [1], "limit": 3, "group_by": "owner", "group_size": 1}),
        ("POST", f"{at}/points/discover", {"target": 1, "context": [{"positive": 1, "negative": 2}], "limit": 3}),
        ("GET", f"{at}/aliases", None),
        ("GET", f"{at}/snapshots", None),
        ("GET", "/api/collections/{it}", None),
        ("GET", "/api/collections/{it}/map", None),
        ("POST", "/api/collections/{it}/recall", {"queries": 2, "k": 2}),
        ("PUT", f"{at}/points", {"points": [{"id": 9, "vector": VECTOR}]}),
        ("PUT", f"{at}/points/vectors", {"points": [{"id": 1, "vector": VECTOR}]}),
        ("POST", f"{at}/points/payload", {"payload": {"stolen": True}, "points": [1]}),
        ("PUT", f"{at}/points/payload", {"payload": {"owner": "me"}, "points": [2]}),
        ("POST", f"{at}/points/payload/delete", {"keys": ["stolen"], "points": [1]}),
        ("POST", f"{at}/points/payload/clear", {"points": [2]}),
        ("POST", f"{at}/points/batch", {"operations": [{"delete": {"points": [9]}}]}),
        ("POST", f"{at}/points/delete", {"points": [9]}),
        ("PUT", f"{at}/index", {"field_name": "number", "field_schema": "integer"}),
        ("DELETE", f"{at}/index/number", None),
        ("PATCH", at, {"optimizers_config": {"indexing_threshold": 30_000}}),
        (
            "POST",
            "/collections/aliases",
            {"actions": [{"create_alias": {"alias_name": "mine", "collection_name": "{it}"}}]},
        ),
    ]
    if owner:  # the operator has no collection of his own under that name
        lookup = {"collection": "{it}"}
        rows += [
            ("POST", f"{own}/points/query", {"query": 1, "lookup_from": lookup}),
            ("POST", f"{own}/points/recommend", {"positive": [1], "limit": 3, "lookup_from": lookup}),
            (
                "POST",
                f"{own}/points/query/groups",
                {"query": VECTOR, "group_by": "number", "with_lookup": lookup},
            ),
        ]
    return [Attempt(name, owner, *row) for row in rows]


def _model(name: str, owner: str) -> list[Attempt]:
    tensors = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    at = "/v2/models/{it}"
    rows: list[tuple[str, str, Any]] = [
        ("GET", "/api/models/{it}", None),
        ("GET", "/api/models/{it}/versions", None),
        ("GET", at, None),
        ("GET", f"{at}/config", None),
        ("GET", f"{at}/ready", None),
        ("GET", f"{at}/stats", None),
        ("GET", f"{at}/versions/1", None),
        ("POST", f"{at}/infer", tensors),
        ("POST", f"{at}/versions/1/infer", tensors),
    ]
    return [Attempt(name, owner, *row) for row in rows]


def _pipeline(name: str, owner: str) -> list[Attempt]:
    inputs = {"inputs": {"x": [[1, 2, 3]]}}
    tensors = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    rows: list[tuple[str, str, Any]] = [
        ("POST", "/pipelines/{it}", inputs),
        ("GET", "/v2/models/{it}", None),
        ("POST", "/v2/models/{it}/infer", tensors),
    ]
    return [Attempt(name, owner, *row) for row in rows]


ATTEMPTS = [
    *_collection("plans", "bolt"),
    *_collection("books", ""),
    *_model("scaled", "bolt"),
    *_pipeline("times", "bolt"),
]
