"""Tenants come, change and go while a real node serves the others."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from command import littoral as cli
from ports import free_port
from processes import children_of
from raw_http import Reply, connect, request, send
from supervised import short_folder
from upped import Changing
from waiting import until

pytestmark = pytest.mark.e2e

ACME = """
[auth]
tokens = "tokens.json"

[gateway]
upstreams = [{ name = "beside", url = "http://127.0.0.1:9", models = ["large"] }]
cache = { enabled = false }

[[tenants]]
name = "acme"
models = ["embedder"]
quota = { requests_per_s = 1_000_000.0 }

[tenants.collections.frames]
vectors = { size = 5, distance = "Cosine" }
"""
BOLT = """
[[tenants]]
name = "bolt"
models = ["embedder"]
pipelines = ["embed", "similar"]
gateway = { models = ["large"] }
quota = { collections_max = 1, cache_mb = 8 }
"""
MORE = BOLT.replace("collections_max = 1, cache_mb = 8", "collections_max = 2, cache_mb = 1")
OTHER = """
[[tenants]]
name = "bolt"
pipelines = ["embed", "fresh"]
quota = { collections_max = 4, cache_mb = 1 }

[tenants.collections.notes]
vectors = { size = 3, distance = "Dot" }
"""
FRESH = """
[pipelines.fresh]
steps = [{ agent = "decode" }, { model = "embedder" }]
"""
WRONG = """
[tenants.collections.more]
vectors = { size = 3, distance = "Dot" }

[tenants.collections.frames]
vectors = { size = 6, distance = "Cosine" }
"""
POINT = {"points": [{"id": 7, "vector": [1, 2, 3, 4, 5]}]}
FRAMES = "/collections/frames/points"


class Shop(Changing):
    """With tokens."""

    def __init__(self, folder: Path) -> None:
        self.grpc = f"127.0.0.1:{free_port()}"
        super().__init__(folder, ACME)
        self.text = self.text.replace('data = "data"', f'data = "data"\ngrpc = "{self.grpc}"')
        self.site.write_text(self.text)
        self.tokens: dict[str, str] = {}

    def let_in(self, tenant: str) -> None:
        whose = ("--tenant", tenant, "--roles", "read,infer,write") if tenant else ("--roles", "admin")
        made = cli("tokens", "new", self.site, f"{tenant or 'operator'}-app", *whose, "--json")
        self.tokens[tenant] = str(made.json["token"])

    def ask(self, who: str, method: str, path: str, body: Any = None) -> Reply:
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"api-key": self.tokens[who], "content-type": "application/json"}
        return send(self.address, method, path, data, headers)

    def told(self, name: str) -> dict[str, Any]:
        rows = {row["name"]: row for row in self.ask("", "GET", "/api/tenants").json}
        return dict(rows[name])

    def is_model_there(self, who: str) -> grpc.StatusCode:
        with grpc.insecure_channel(self.grpc) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            asked = service_pb2.ModelReadyRequest(name="embedder")
            try:
                assert stub.ModelReady(asked, metadata=[("api-key", self.tokens[who])], timeout=60).ready
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

    def hosts(self, tenant: str) -> set[int]:
        assert self.process is not None
        folder = f"tenants/{tenant}/"
        return {pid for pid, line in children_of(self.process.pid).items() if folder in line}


class Neighbour:
    """Asks all the time. wrong: every answer that was not 200."""

    def __init__(self, shop: Shop) -> None:
        self.count, self.wrong = 0, list[Any]()
        self._shop = shop
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._is_over.is_set():
            try:
                reply = self._shop.ask("acme", "POST", f"{FRAMES}/scroll", {"limit": 9})
                ids = [point["id"] for point in reply.json["result"]["points"]] if reply.status == 200 else []
                found = (reply.status, ids)
            except OSError as error:
                found = error
            self.count += 1
            if found != (200, [7]):
                self.wrong.append(found)

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with short_folder() as folder:
        made = Shop(folder)
        yield made
        made.end(signal.SIGKILL)


def test_tenants_come_change_and_go_while_others_are_served(shop: Shop) -> None:
    shop.start()
    pid, host = shop.pid(), shop.hosts("acme")
    for tenant in ("", "acme"):
        shop.let_in(tenant)
    assert shop.ask("acme", "PUT", f"{FRAMES}?wait=true", POINT).status == 200
    neighbour = Neighbour(shop)
    try:
        _comes(shop)
        _changes(shop)
        _has_other_lists(shop)
        _goes(shop)
        _cannot_come(shop)
        _comes_again(shop)
        count = neighbour.count
        until(lambda: neighbour.count > count)
    finally:
        neighbour.end()
    assert neighbour.wrong == []
    assert (shop.pid(), shop.hosts("acme")) == (pid, host)


def _apply(shop: Shop, text: str) -> str:
    code, out = shop.apply(shop.text + text)
    assert code == 0, out
    assert "the node took it while it served" in out
    return out


def _comes(shop: Shop) -> None:
    assert "hot      tenants.bolt: nothing → " in _apply(shop, BOLT)
    shop.let_in("bolt")
    assert shop.ask("bolt", "GET", f"{FRAMES}/7").status == 404, "acme's are not seen"
    assert shop.ask("bolt", "PUT", f"{FRAMES}?wait=true", POINT).status == 200
    assert shop.ask("bolt", "GET", "/v2/models/embedder").status == 200
    assert shop.ask("bolt", "GET", "/v2/models/similar").status == 200
    assert [shop.ask(who, "GET", "/api/gateway").json["upstreams"] is None for who in ("bolt", "acme")] == [False, True]
    assert shop.is_model_there("bolt") is grpc.StatusCode.OK
    assert 'littoral_tenant_points{tenant="bolt"}' in shop.ask("", "GET", "/metrics").body.decode()


def _changes(shop: Shop) -> None:
    spare = {"vectors": {"size": 4, "distance": "Dot"}}
    assert shop.ask("bolt", "PUT", "/collections/spare", spare).status == 413
    out = _apply(shop, MORE)
    assert "hot      tenants.bolt.quota.cache_mb: 8 → 1" in out
    assert "hot      tenants.bolt.quota.collections_max: 1 → 2" in out
    assert shop.told("bolt")["cache"]["bytes_max"] == 1 << 20
    assert shop.ask("bolt", "PUT", "/collections/spare", spare).status == 200


def _has_other_lists(shop: Shop) -> None:
    """Models, pipelines, collections and the gateway; a bad one leaves all as it was, and nothing behind."""
    hosts = shop.hosts("bolt")
    out = _apply(shop, FRESH + OTHER)
    for key in ("pipelines.fresh", *(f"tenants.bolt.{key}" for key in ("models", "pipelines", "gateway"))):
        assert f"hot      {key}: " in out
    assert "hot      tenants.bolt.collections.notes: nothing → " in out
    assert hosts < shop.hosts("bolt")
    assert shop.ask("bolt", "GET", f"{FRAMES}/7").status == 200
    assert shop.ask("bolt", "GET", "/collections/notes").json["result"]["config"]["params"]["vectors"]["size"] == 3
    assert [shop.ask("bolt", "GET", f"/v2/models/{name}").status for name in ("embedder", "similar", "fresh")] == [
        404,
        404,
        200,
    ]
    assert shop.ask("bolt", "GET", "/api/gateway").json["upstreams"] is None
    assert shop.is_model_there("bolt") is grpc.StatusCode.NOT_FOUND
    code, err = shop.apply(shop.text + FRESH + OTHER + WRONG)
    assert (code, "is 6 × Cosine, on disk it has 5 × Cosine" in err) == (5, True)
    assert shop.ask("bolt", "GET", "/collections/more").status == 404
    assert shop.ask("bolt", "GET", "/collections/notes").status == 200
    _apply(shop, MORE)
    assert shop.ask("bolt", "GET", "/v2/models/fresh").status == 404
    assert shop.ask("bolt", "GET", "/collections/notes").status == 200, "its points stay"
    assert shop.ask("bolt", "DELETE", "/collections/notes").status == 200
    assert shop.ask("bolt", "GET", "/v2/models/similar").status == 200
    assert shop.ask("bolt", "GET", "/api/gateway").json["upstreams"] is not None
    assert shop.is_model_there("bolt") is grpc.StatusCode.OK


def _goes(shop: Shop) -> None:
    with connect(shop.address) as events:
        events.sendall(
            request("GET", "/api/events", headers={"api-key": shop.tokens["bolt"], "connection": "keep-alive"})
        )
        assert events.recv(65_536).startswith(b"HTTP/1.1 200")
        out = _apply(shop, "")
        assert "its data stays, in `tenants/bolt` of the data folder" in out
        assert _is_ended(events)
    data = shop.site.parent / "data/tenants/bolt"
    assert f"what it stored stays in `{data}`" in shop.errors.read_text()
    assert (data / "collections/frames").is_dir()
    until(lambda: not shop.hosts("bolt"))
    assert shop.ask("bolt", "GET", "/collections").status == 401
    assert shop.is_model_there("bolt") is grpc.StatusCode.UNAUTHENTICATED
    assert 'tenant="bolt"' not in shop.ask("", "GET", "/metrics").body.decode()


def _is_ended(stream: socket.socket) -> bool:
    while stream.recv(65_536):
        pass
    return True


def _cannot_come(shop: Shop) -> None:
    """Its collection lies there in another size, which only the node finds: all that the file changes goes back."""
    before = shop.site.read_text()
    wrong = BOLT + '\n[tenants.collections.frames]\nvectors = { size = 6, distance = "Cosine" }\n'
    also = '\n[models.spare]\npath = "embedder.wasm"\npipeline = false\n'
    wrong = also + wrong.replace('pipelines = ["embed", "similar"]\n', "")
    code, err = shop.apply(shop.text.replace("[auth]", "[limits]\nbody_bytes_max = 2048\n\n[auth]") + wrong)
    assert code == 5
    assert "`collections.frames` is 6 × Cosine, on disk it has 5 × Cosine" in err
    assert shop.site.read_text() == before
    assert [row["name"] for row in shop.ask("", "GET", "/api/tenants").json] == ["acme"]
    assert shop.ask("", "GET", "/v2/models/spare").status == 404
    assert shop.ask("acme", "POST", f"{FRAMES}/scroll", {"pad": "x" * 4096}).status != 413
    until(lambda: not shop.hosts("bolt"))


def _comes_again(shop: Shop) -> None:
    _apply(shop, MORE)
    until(lambda: shop.ask("bolt", "GET", f"{FRAMES}/7").status == 200)
    assert shop.told("bolt")["collections"]["count"] == 2
