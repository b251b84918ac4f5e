"""A gateway as tenants meet it over HTTP: budgets, answers, keys of services, embeddings, slow readers, spans, log."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fake_upstream import FakeUpstream, Gate, Scripted, fake_upstream
from gateway_site import KEY, SITE, write_gateway_site
from littoral import settings
from littoral.errors import SettingError
from littoral.node.access.roles import Role
from littoral.node.gateway.opening import limit_gateway, upstream_of
from littoral.node.gateway_tables import TenantGatewayTable
from littoral.node.site import parse_site
from littoral.telemetry import Log, LogOptions
from node_fixture import Served, node_in_thread
from otlp_receiver import Receiver, receiver
from raw_http import Reply, connect, request, send
from supervised import short_folder
from tenants_site import add_token
from waiting import until

KEYS = {"file": KEY, "env": "sk-of-the-environment-111", "credential": "sk-of-systemd-222222"}
SERVICE = """
[[gateway.upstreams]]
name = "{name}"
url = "URL"
key = {{ {name} = "{place}" }}
models = ["{name}-*"]
"""
TENANT = """
[[tenants]]
name = "{name}"
models = []

[tenants.quota]
requests_per_s = 100000.0

[tenants.gateway]
models = [{models}]

[tenants.gateway.budget]
requests_per_day = {requests}
tokens_per_day = {tokens}
"""
TENANTS = {
    "acme": {"models": '"large", "env-*", "credential-*"', "requests": 1000, "tokens": 100_000},
    "bolt": {"models": '"large"', "requests": 1000, "tokens": 100_000},
    "cove": {"models": '"large"', "requests": 3, "tokens": 100_000},
    "dune": {"models": '"large"', "requests": 1000, "tokens": 12},
}
WHOLE = (
    SITE.replace("{url}", "URL").replace("{{", "{").replace("}}", "}")
    + SERVICE.format(name="env", place="BESIDE_KEY")
    + SERVICE.format(name="credential", place="beside")
    + '[auth]\ntokens = "tokens.json"\n'
    + '[telemetry.traces]\nendpoint = "OTLP"\nratio = 0.0\n[telemetry.logs]\nrequests = "all"\n'
    + "".join(TENANT.format(name=name, **given) for name, given in TENANTS.items())
)
TRACE = "4bf92f3577b34da6a3ce929d0e0e{:04x}"


class Desk(NamedTuple):
    served: Served
    fake: FakeUpstream
    collector: Receiver
    tokens: dict[str, str]

    def ask(self, who: str, question: str, **more: Any) -> Reply:
        headers = more.pop("headers", {})
        body = {"model": "large", "messages": [{"role": "user", "content": question}], "max_tokens": 1, **more}
        return self.post(who, "/v1/chat/completions", body, headers)

    def post(self, who: str, path: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
        return send(self.served.address, "POST", path, json.dumps(body).encode(), self.named(who) | (headers or {}))

    def told(self, who: str) -> Any:
        reply = send(self.served.address, "GET", "/api/gateway", b"", self.named(who))
        assert reply.status == 200, reply
        return reply.json

    def named(self, who: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[who]}", "content-type": "application/json"}


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with (
        fake_upstream() as fake,
        receiver() as collector,
        short_folder() as folder,
        settings.override(
            LITTORAL_STATE=str(folder / "state"),
            LITTORAL_CACHE=str(folder / "cache"),
            CREDENTIALS_DIRECTORY=str(folder),
        ),
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("BESIDE_KEY", KEYS["env"])
        (folder / "beside").write_text(KEYS["credential"] + "\n")
        path = write_gateway_site(folder, WHOLE.replace("URL", fake.url).replace("OTLP", collector.url))
        tokens = {name: add_token(folder, name, Role.READ, Role.INFER, name=name) for name in TENANTS}
        tokens["operator"] = add_token(folder, "", Role.ADMIN, name="operator")
        with node_in_thread(folder, site=path) as served:
            yield Desk(served, fake, collector, tokens)


@pytest.fixture(autouse=True)
def quiet(desk: Desk) -> None:
    desk.fake.asked.clear()
    desk.fake.scripts.clear()


def test_what_one_tenant_was_told_another_is_not(desk: Desk) -> None:
    for who in ("acme", "bolt", "acme", "bolt"):
        desk.fake.script(Scripted(f"for {who}"))
        reply = desk.ask(who, "whose is it?")
        assert reply.json["choices"][0]["message"]["content"] == f"for {who}"
        until(lambda who=who: desk.told(who)["cache"]["entries"] == 1)
    desk.fake.scripts.clear()
    for who in ("acme", "bolt"):
        outcomes = desk.told(who)["outcomes"]
        assert (outcomes["miss"], outcomes["hit"]) == (1, 1)
    assert desk.told("operator")["outcomes"]["miss"] == 0
    assert len(desk.fake.asked) == 2


def test_a_tenant_has_its_models_and_no_others(desk: Desk) -> None:
    assert desk.ask("acme", "a", model="env-1").status == 200
    refused = desk.ask("bolt", "a", model="env-1")
    assert (refused.status, refused.json["error"]["code"]) == (404, "model_not_found")
    listed = send(desk.served.address, "GET", "/v1/models", b"", desk.named("bolt")).json["data"]
    assert [one["id"] for one in listed] == ["large"]


def test_a_model_that_is_taken_from_a_tenant_is_not_even_told_again(desk: Desk) -> None:
    gateway = desk.served.node.tenants["bolt"].node.gateway
    assert gateway is not None
    assert gateway.answers is not None
    before, hot = desk.fake.asked_count, gateway.answers.store.hot
    seen = hot.statistics().hits
    until(lambda: desk.ask("bolt", "which model is taken away?").status == 200 and hot.statistics().hits > seen + 2)
    assert desk.fake.asked_count == before + 1
    limit_gateway(gateway, TenantGatewayTable(models=["small"]))
    try:
        refused = desk.ask("bolt", "which model is taken away?")
        assert (refused.status, refused.json["error"]["code"]) == (404, "model_not_found")
    finally:
        limit_gateway(gateway, TenantGatewayTable(models=["large"]))
    assert desk.ask("bolt", "which model is taken away?").headers["x-littoral-cache"] == "hit"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/models"])
def test_a_wrong_key_is_said_in_openais_words(desk: Desk, path: str) -> None:
    method = "GET" if path == "/v1/models" else "POST"
    refused = send(desk.served.address, method, path, b"{}", {"authorization": "Bearer sk-of-another-house"})
    error = refused.json["error"]
    assert (refused.status, error["type"], error["code"]) == (401, "invalid_request_error", "invalid_api_key")


def test_a_tenants_budget_ends_for_it_alone(desk: Desk) -> None:
    assert [desk.ask("cove", f"question {n}").status for n in range(4)] == [200, 200, 200, 429]
    assert desk.ask("cove", "question 0").json["error"]["code"] == "insufficient_quota"
    assert desk.ask("dune", "question 0").status == 200
    refused = desk.ask("dune", "question 1")
    assert (refused.status, refused.json["error"]["code"]) == (429, "insufficient_quota")
    assert desk.ask("dune", "question 0").status == 200, "what is remembered costs no tokens"
    assert desk.ask("bolt", "question 0").status == 200
    refusals = {one["what"]: one["refused"] for one in desk.told("cove")["budgets"]}
    assert refusals["requests"] == 2
    assert {one["tenant"] for one in desk.told("cove")["budgets"]} == {"cove"}
    assert all(one["refused"] == 0 for one in desk.told("bolt")["budgets"])


@pytest.mark.parametrize(("place", "model"), [("file", "large"), ("env", "env-1"), ("credential", "credential-1")])
def test_a_service_gets_its_own_key_and_no_callers(desk: Desk, place: str, model: str) -> None:
    reply = desk.ask("acme", f"by {place}", model=model)
    assert reply.status == 200
    (asked,) = desk.fake.asked
    assert asked.headers["authorization"] == f"Bearer {KEYS[place]}"
    assert not [name for name, value in asked.headers.items() if desk.tokens["acme"] in value]
    assert not [key for key in KEYS.values() if key.encode() in reply.body or key in str(reply.headers)]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ('{ env = "NOT_SET_ANYWHERE" }', "environment variable `NOT_SET_ANYWHERE` is not set"),
        ('{ credential = "none" }', "none"),
        ('{ credential = "two-lines" }', "no single line"),
    ],
)
def test_a_key_that_is_not_to_be_had_is_said_without_showing_any(desk: Desk, key: str, said: str) -> None:
    with short_folder() as folder, settings.override(CREDENTIALS_DIRECTORY=str(folder)):
        (folder / "two-lines").write_text(f"{KEY}\n{KEY}\n")
        text = SITE.format(url=desk.fake.url).replace('{ file = "cloud.key" }', key)
        site = parse_site(text.encode(), folder / "site.toml")
        assert site.gateway is not None
        with pytest.raises(SettingError, match=said) as caught:
            upstream_of(site, site.gateway.upstreams[0])
        assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["x", "ftp://x/v1", "http://", "http://x/v1?key=a", "http://x:99999/v1", "https://x/v1/chat/completions"]
)
def test_an_address_that_is_none_of_a_service_is_said(url: str) -> None:
    with pytest.raises(SettingError, match=r"`gateway\.upstreams\[0\]\.url`.*`https://api\.example\.com/v1`"):
        parse_site(SITE.format(url=url).encode(), Path("site.toml"))


def test_a_credential_without_systemd_is_said(desk: Desk) -> None:
    with settings.override(CREDENTIALS_DIRECTORY=""):
        text = SITE.format(url=desk.fake.url).replace('{ file = "cloud.key" }', '{ credential = "beside" }')
        site = parse_site(text.encode(), desk.served.node.data / "site.toml")
        assert site.gateway is not None
        with pytest.raises(SettingError, match="systemd gave none"):
            upstream_of(site, site.gateway.upstreams[0])


def test_embeddings_are_those_of_the_service_and_count(desk: Desk) -> None:
    before = {one["what"]: one["used"] for one in desk.told("acme")["budgets"]}
    body = {"model": "large", "input": ["one", "two"], "user": "kim"}
    reply = desk.post("acme", "/v1/embeddings", body)
    assert (reply.status, reply.headers["x-littoral-upstream"]) == (200, "cloud")
    assert [one["embedding"] for one in reply.json["data"]] == [[0.0, 1.0], [1.0, 1.0]]
    (asked,) = desk.fake.asked
    assert (asked.path, asked.body) == ("/v1/embeddings", body)
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    used = {one["what"]: one["used"] for one in desk.told("acme")["budgets"]}
    assert used["tokens"] == before["tokens"] + 3
    assert desk.post("acme", "/v1/embeddings", body).status == 200
    assert len(desk.fake.asked) == 2, "they are not remembered"
    desk.fake.script(*[Scripted(status=400)])
    assert desk.post("acme", "/v1/embeddings", body).status == 400
    refused = desk.post("bolt", "/v1/embeddings", body | {"model": "env-1"})
    assert refused.status == 404


def test_a_slow_reader_keeps_nobody_waiting_and_is_held_within_a_bound(desk: Desk) -> None:
    """Eight of them, each with a stream larger than what sockets take; what is unread is counted until they go."""
    flights = desk.served.node.tenants["acme"].node.gateway._flights  # type: ignore[union-attr]
    idle = flights.held_bytes
    desk.fake.otherwise = Scripted("word " * 40_000)
    slow = []
    try:
        for n in range(8):
            body = {"model": "large", "messages": [{"role": "user", "content": f"long {n}"}], "stream": True, "seed": n}
            connection = connect(desk.served.address)
            path = "/v1/chat/completions"
            connection.sendall(request("POST", path, json.dumps(body).encode(), desk.named("acme")))
            assert connection.recv(12) == b"HTTP/1.1 200"
            slow.append(connection)
        until(lambda: desk.fake.busy_count == 0)
        until(lambda: len(flights) == 0)
        held = flights.held_bytes - idle
        assert 8 * 1_000_000 < held < 8 * flights.answer_bytes_max
        desk.fake.otherwise = Scripted()
        assert desk.ask("bolt", "is anybody slow?").status == 200
    finally:
        desk.fake.otherwise = Scripted()
        for connection in slow:
            connection.close()
    until(lambda: flights.held_bytes == idle)


def test_spans_of_a_request_hold_no_secret_and_no_text(desk: Desk) -> None:
    traces = [TRACE.format(n) for n in (1, 2)]
    for number, outcome in zip(traces, ("miss", "hit"), strict=True):
        named = {"traceparent": f"00-{number}-00f067aa0ba902b7-01"}
        reply = desk.ask("acme", "where is the canary?", headers=named)
        assert reply.headers["x-littoral-cache"] == outcome
        until(lambda: desk.told("acme")["cache"]["entries"] > 0)
    spans = desk.collector.trace(traces[0], "POST /v1/chat/completions", "gateway: exact", "gateway: upstream")
    by_name = {one.name: one for one in spans}
    root, asked = by_name["POST /v1/chat/completions"], by_name["gateway: upstream"]
    assert by_name["gateway: exact"].attributes["littoral.found"] is False
    assert asked.trace == root.trace
    assert "traceparent" not in desk.fake.asked[-1].headers, "services are told nothing but the body"
    assert "gateway: upstream" not in {one.name for one in desk.collector.trace(traces[1], "POST /v1/chat/completions")}
    sent = b"".join(desk.collector.bodies)
    for hidden in (*KEYS.values(), *desk.tokens.values(), "canary"):
        assert hidden.encode() not in sent


def test_log_lines_of_a_request_are_json_without_a_secret_or_a_text(desk: Desk) -> None:
    stream = io.StringIO()
    log = Log.start(LogOptions(level="debug", format="json", lines_per_s=1000), stream)
    try:
        for number, scripted in enumerate([Scripted("a canary's answer"), Scripted(status=401), Scripted(status=500)]):
            desk.fake.script(scripted)
            desk.ask("acme", f"where is canary {number}?", headers={"x-request-id": f"order-{number}"})
        desk.fake.scripts.clear()

        def requests() -> list[Any]:
            lines = [json.loads(line) for line in stream.getvalue().splitlines()]
            return [one for one in lines if str(one.get("request", "")).startswith("order-")]

        until(lambda: {one["request"] for one in requests()} >= {"order-0", "order-1", "order-2"})
        for hidden in (*KEYS.values(), *desk.tokens.values(), "canary"):
            assert hidden not in stream.getvalue()
    finally:
        log.stop()


def test_who_waits_for_a_gate_does_not_keep_a_tenant_from_its_answers(desk: Desk) -> None:
    gate = Gate()
    desk.fake.script(Scripted(gate=gate))
    with connect(desk.served.address) as waiting:
        body = json.dumps({"model": "large", "messages": [{"role": "user", "content": "wait"}]}).encode()
        waiting.sendall(request("POST", "/v1/chat/completions", body, desk.named("acme")))
        until(lambda: gate.waiting_count == 1)
        assert desk.ask("bolt", "and now?").status == 200
        gate.open()
        assert waiting.recv(12) == b"HTTP/1.1 200"
