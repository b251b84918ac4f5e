"""Changed requests at every route of a node: each is answered in its protocol's words, and the node goes on."""

from collections.abc import Iterator

import pytest

from described import misfit
from fuzzed_node import FuzzedNode, fuzzed_node, plain
from http_seeds import SEEDS
from littoral.node.openapi import document
from littoral.node.qdrant_api import LACKING

CASES = 800
MIGRATION = "/api/collections/{collection}/migration"
TILE = "/api/audit/tile/{level}"
REFUSED = {
    ("POST", "/collections/{collection}/snapshots/upload"),
    ("POST", "/api/mesh/changes"),
    ("POST", "/api/session"),
    ("POST", "/api/steps"),
    *((method, "/api/builds/{build}") for method in ("GET", "DELETE")),
    *((method, "/api/builds/{build}/feeds") for method in ("POST", "DELETE")),
    *(("POST", f"/api/builds/{{build}}/{what}") for what in ("start", "cancel", "load", "add")),
    ("DELETE", "/api/models/{name}"),
    ("GET", "/api/gateway/curve"),
    ("POST", "/api/gateway/misses/{miss}"),
    ("POST", "/v1/littoral/feedback"),
    ("POST", "/api/models/{name}/back"),
    ("POST", "/api/compared"),
    ("GET", "/api/audit/witnessed"),
    ("GET", "/api/dashboards/{name}"),
    ("GET", "/fleet/v1/image/targets/{file}"),
    *(("POST", f"/api/updates/{what}") for what in ("back", "begin-again", "from", "now")),
    ("GET", f"{TILE}/{{a}}"),
    ("GET", f"{TILE}/{{a}}/{{b}}/{{c}}"),
    ("GET", f"{TILE}/{{a}}/{{b}}/{{c}}/{{d}}"),
    ("GET", f"{TILE}/{{a}}/{{b}}/{{c}}/{{d}}/{{e}}"),
    ("POST", MIGRATION),
    ("POST", f"{MIGRATION}/back"),
    ("DELETE", MIGRATION),
}
"""Their seeds name what is not there, or have no points in them."""


@pytest.fixture(scope="module")
def node() -> Iterator[FuzzedNode]:
    with fuzzed_node() as found:
        yield found


def test_every_route_has_a_seed(node: FuzzedNode) -> None:
    assert set(node.routes) == SEEDS.keys()


def test_seeds_are_valid_requests_and_answered_as_described(node: FuzzedNode) -> None:
    wrong: dict[tuple[str, str, int], object] = {}
    for route in node.routes:
        for number in range(len(SEEDS[route])):
            node.restore(is_whole="snapshots" in route[1])
            seed = node.seeds(route)[number]
            reply = node.talk.ask(plain(route, seed), is_raw=False)
            if route not in LACKING and route not in REFUSED and not 100 < reply.status < 400:
                wrong[*route, number] = (reply.status, reply.body[:200])
            elif (told := misfit(document(), route, reply)) is not None:
                wrong[*route, number] = told
    assert wrong == {}


def test_changed_requests_are_answered_in_their_protocols_words(node: FuzzedNode) -> None:
    node.restore()
    findings = node.fuzz(1, CASES)
    assert not findings.faults, findings.report()
    assert findings.statuses[200] > CASES / 10
    assert findings.statuses[400] > CASES / 10
