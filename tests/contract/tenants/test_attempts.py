"""What a tenant tries to get at others' things, by every protocol: refused, and as if these did not exist."""

import re
from collections.abc import Iterator
from typing import Any

import grpc
import msgspec
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2

from raw_http import Reply
from tenant_attempts import ATTEMPTS, Attempt
from tenants_site import ACME, BOLT, OPERATOR, Tenanted, points, tenanted_node

FOREIGN = ("plans", "books", "scaled", "times", "bolt", "secret")
KNOWS_NOTHING = ["/collections", "/aliases", "/pipelines"]
KNOWS_NOTHING += ["/v1/models", "/v2/models/stats", "/v2", "/readyz", "/", "/api/session"]
KNOWS_NOTHING += [f"/api/{name}" for name in ("node", "models", "agents", "caches", "collections", "pipelines", "mqtt")]
KNOWS_NOTHING += ["/api/tenants", "/api/placement"]
OPERATORS = [
    ("GET", "/metrics"),
    ("GET", "/api/logs"),
    ("GET", "/api/doctor"),
    ("GET", "/api/backup"),
    ("POST", "/api/examined"),
    ("DELETE", "/api/caches/embedding"),
    ("POST", "/v2/repository/models/sums/load"),
    ("POST", "/v2/repository/models/sums/unload"),
    ("POST", "/collections/frames/snapshots"),
    ("PUT", "/collections/frames/snapshots/recover"),
    ("POST", "/api/collections/frames/migration"),
    ("POST", "/api/mesh/changes"),
    ("GET", "/api/steps"),
    ("POST", "/api/steps"),
]


@pytest.fixture(scope="module")
def node() -> Iterator[Tenanted]:
    with tenanted_node() as found:
        for who, names in ((ACME, ["frames"]), (BOLT, ["frames", "plans"]), (OPERATOR, ["books"])):
            for name in names:
                body = points(3, of=f"secret-{who or 'operator'}")
                assert found.ask(who, "PUT", f"/collections/{name}/points?wait=true", body).status == 200
                index = {"field_name": "owner", "field_schema": "keyword"}
                assert found.ask(who, "PUT", f"/collections/{name}/index?wait=true", index).status == 200
        yield found


def send(node: Tenanted, who: str, attempt: Attempt, name: str) -> Reply:
    body = attempt.body
    if body is not None and not isinstance(body, bytes):
        body = msgspec.json.decode(msgspec.json.encode(body).replace(b"{it}", name.encode()))
    return node.ask(who, attempt.method, attempt.path.replace("{it}", name), body)


def told(reply: Reply, name: str) -> str:
    """Without what differs from one answer to the next."""
    return re.sub(r'"time":[0-9.e-]+', '"time":0', reply.body.decode().replace(name, "NAME"))


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.id)
def test_what_is_anothers_is_as_unknown_as_what_is_nobodys(node: Tenanted, attempt: Attempt) -> None:
    """The owner may do it, so nothing but the wall between them refuses it."""
    nobodys = "x" * len(attempt.name)
    foreign, unknown = send(node, ACME, attempt, attempt.name), send(node, ACME, attempt, nobodys)
    assert foreign.status in (400, 404)
    assert (foreign.status, told(foreign, attempt.name)) == (unknown.status, told(unknown, nobodys))
    assert "secret" not in foreign.body.decode()
    own = send(node, attempt.owner, attempt, attempt.name)
    assert own.status == 200, own.body


def test_there_are_forty_of_them_and_more() -> None:
    assert len({attempt.id for attempt in ATTEMPTS}) > 80


@pytest.mark.parametrize("attempt", ATTEMPTS[:1], ids=["DELETE /collections/plans"])
def test_what_is_anothers_is_not_deleted(node: Tenanted, attempt: Attempt) -> None:
    """As of a name that is nobody's: there is nothing to delete."""
    gone = [node.ask(ACME, "DELETE", f"/collections/{name}") for name in (attempt.name, "nobodys")]
    assert [reply.json["result"] for reply in gone] == [False, False]
    assert send(node, BOLT, attempt, attempt.name).status == 200
    assert node.ask(ACME, "GET", f"/collections/{attempt.name}/exists").json["result"] == {"exists": False}


@pytest.mark.parametrize("path", KNOWS_NOTHING)
def test_no_list_has_what_is_anothers(node: Tenanted, path: str) -> None:
    reply = node.ask(ACME, "GET", path)
    assert reply.status == 200
    assert not [word for word in FOREIGN if word in reply.body.decode()]


def test_what_is_told_of_shared_things_is_ones_own(node: Tenanted) -> None:
    """Of agents nothing, of models what one asked oneself."""
    assert node.ask(ACME, "GET", "/api/agents").json == []
    assert node.ask(OPERATOR, "GET", "/api/agents").json
    own = {row["name"]: row["runs"] for row in node.ask(ACME, "GET", "/api/models").json}
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]
    said = {"inputs": [*inputs, inputs[0] | {"name": "total"}]}
    assert node.ask(BOLT, "POST", "/v2/models/sums/infer", said).status == 200
    assert {row["name"]: row["runs"] for row in node.ask(ACME, "GET", "/api/models").json} == own
    assert node.ask(ACME, "POST", "/v2/models/sums/infer", said).status == 200
    now = {row["name"]: row["runs"] for row in node.ask(ACME, "GET", "/api/models").json}
    assert now == own | {"sums": own["sums"] + 1}


@pytest.mark.parametrize(("method", "path"), OPERATORS)
def test_what_is_the_nodes_is_the_operators(node: Tenanted, method: str, path: str) -> None:
    assert node.ask(ACME, method, path).status == 403


def test_one_name_is_each_ones_own_collection(node: Tenanted) -> None:
    """The same ids, scrolled, counted, faceted and searched for: nobody's but one's own."""
    for who in (ACME, BOLT):
        at = "/collections/frames"
        found = node.ask(who, "POST", f"{at}/points/scroll", {"limit": 100}).json["result"]["points"]
        assert {point["payload"]["owner"] for point in found} == {f"secret-{who}"}
        facet = node.ask(who, "POST", f"{at}/facet", {"key": "owner"}).json["result"]["hits"]
        assert facet == [{"value": f"secret-{who}", "count": 3}]
        hits = node.ask(who, "POST", f"{at}/points/query", {"query": [1.0, 1, 0, 0], "with_payload": True})
        assert {hit["payload"]["owner"] for hit in hits.json["result"]["points"]} == {f"secret-{who}"}
    assert (
        node.ask(ACME, "PUT", "/collections/frames/points?wait=true", points(1, of="secret-acme", first=70)).status
        == 200
    )
    assert node.ask(BOLT, "GET", "/collections/frames/points/70").status == 404
    assert node.ask(ACME, "POST", "/collections/frames/points/delete?wait=true", {"points": [70]}).status == 200


def test_shared_pipelines_run_on_ones_own_collections(node: Tenanted) -> None:
    said = node.ask(BOLT, "POST", "/pipelines/keep", b"the plan of bolt")
    assert said.status == 200
    assert node.ask(BOLT, "POST", "/pipelines/find", b"the plan of bolt").json["result"][0]["payload"]
    for who in (ACME, OPERATOR):
        assert node.ask(who, "POST", "/pipelines/find", b"the plan of bolt").json["result"] == []


def test_the_state_of_a_sequence_is_its_tenants(node: Tenanted) -> None:
    def add(who: str, **flags: bool) -> Reply:
        inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]
        return node.ask(
            who, "POST", "/v2/models/sums/infer", {"inputs": inputs, "parameters": {"sequence_id": 7} | flags}
        )

    assert add(BOLT, sequence_start=True).status == 200
    unknown = add(ACME)
    assert (unknown.status, "sequence `7` is unknown" in unknown.error) == (400, True)
    assert add(ACME, sequence_start=True).status == 200
    assert add(BOLT).json["outputs"][0]["data"] == [4, 8]
    assert add(ACME).json["outputs"][0]["data"] == [4, 8]
    counts = [node.ask(who, "GET", "/v2/models/sums/stats").json["model_stats"][0] for who in (ACME, OPERATOR)]
    assert counts[0]["inference_stats"]["success"]["count"] >= 2
    assert counts[1]["inference_stats"]["success"]["count"] == 0


def test_what_one_asked_before_helps_nobody_else(node: Tenanted) -> None:
    """Neither embeddings nor answers are remembered across: a first question is computed, whoever asked it before."""

    def embed(who: str) -> Any:
        reply = node.ask(who, "POST", "/v1/embeddings", {"model": "sentences", "input": "who asked this before?"})
        return msgspec.json.decode(reply.headers["littoral-how"])["cache"]

    def search(who: str) -> Any:
        reply = node.ask(who, "POST", "/collections/frames/points/query", {"query": [0.5, 0.25, 0, 0]})
        return msgspec.json.decode(reply.headers["littoral-how"])["cache"]

    for ask, remembered in ((embed, "embedding"), (search, "exact")):
        assert [ask(ACME), ask(ACME), ask(ACME)] == [None, remembered, remembered]
        assert [ask(BOLT), ask(BOLT)] == [None, remembered]
    caches = {row["name"]: row for row in node.ask(ACME, "GET", "/api/caches").json["caches"]}
    assert caches["embedding"]["hits"] == 2


def rpc_of(kind: Any, method: str, answer: str = "") -> Any:
    """kind: of a channel, such as `unary_unary`."""
    return kind(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=getattr(service_pb2, answer or f"{method}Response").FromString,
    )


def metadata(node: Tenanted, who: str) -> dict[str, str]:
    return {"authorization": f"Bearer {node.tokens[who]}"}


def test_grpc_knows_nothing_of_others(node: Tenanted) -> None:
    """Each method with a foreign name and with nobody's: the same status, the same words."""
    x = service_pb2.ModelInferRequest().InferInputTensor(name="x", datatype="FP32", shape=[1, 3])
    x.contents.fp32_contents.extend([1, 2, 3])
    asked: dict[str, Any] = {
        "ModelReady": {},
        "ModelMetadata": {},
        "ModelConfig": {},
        "ModelStatistics": {},
        "ModelInfer": {"inputs": [x]},
    }

    def call(channel: Any, who: str, method: str, name: str) -> tuple[Any, str]:
        key = "model_name" if method == "ModelInfer" else "name"
        request = getattr(service_pb2, f"{method}Request")(**{key: name}, **asked[method])
        try:
            rpc_of(channel.unary_unary, method)(request, metadata=list(metadata(node, who).items()))
        except grpc.RpcError as error:
            return error.code(), error.details().replace(name, "NAME")
        return grpc.StatusCode.OK, ""

    with grpc.insecure_channel(node.served.grpc) as channel:
        for method in asked:
            for name in ("scaled", "times"):
                foreign, unknown = call(channel, ACME, method, name), call(channel, ACME, method, "x" * len(name))
                assert foreign == unknown
                assert foreign[0] is grpc.StatusCode.NOT_FOUND
                assert call(channel, BOLT, method, name)[0] is grpc.StatusCode.OK
    with triton.InferenceServerClient(node.served.grpc) as client:
        index = client.get_model_repository_index(headers=metadata(node, ACME), as_json=True)
        assert {row["name"] for row in index["models"]} == {"encoder", "sums", "sentences", "find", "keep"}


def test_a_stream_of_grpc_and_a_web_socket_are_its_tenants(node: Tenanted) -> None:
    request = service_pb2.ModelInferRequest(model_name="scaled", id="a")
    with grpc.insecure_channel(node.served.grpc) as channel:
        rpc = rpc_of(channel.stream_stream, "ModelStreamInfer")
        said = {who: next(rpc(iter([request]), metadata=list(metadata(node, who).items()))) for who in (ACME, BOLT)}
    assert "is unknown" in said[ACME].error_message
    assert "`x` is missing" in said[BOLT].error_message
    frames = {"content_type": "application/x-littoral-frames"}
    assert node.ask(ACME, "POST", "/pipelines/times/stream", b"", **frames).status == 404
    assert node.ask(BOLT, "POST", "/pipelines/times/stream", b"", **frames).status == 200
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    upgrade["sec_websocket_key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    assert node.ask(ACME, "GET", "/pipelines/times/stream", **upgrade).status == 404
    assert node.ask(BOLT, "GET", "/pipelines/times/stream", **upgrade).status == 101
