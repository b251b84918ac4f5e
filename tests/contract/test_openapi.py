"""The OpenAPI documents describe every route of node and orchestrator. That answers are as described is held true where
routes are asked: `test_fuzzed_endpoints`, `orchestrated`, and by schemathesis in `test_schemathesis`."""

import importlib.util
import json
import types
from collections.abc import Mapping
from pathlib import Path

import pytest

from described import Document
from littoral.node.access.roles import HTTP_ROLES
from littoral.node.openapi import document
from littoral.node.openapi.gateway_operations import GATEWAY
from littoral.node.openapi.operations import OWN
from littoral.node.openapi.qdrant_operations import QDRANT
from littoral.orchestrator.openapi import document as fleet_document
from littoral.orchestrator.openapi.operations import OPERATIONS
from littoral.orchestrator.rights import RIGHTS
from littoral.web.access.rights import Needed
from tracked import ROOT

NODE, FLEET = ROOT / "docs/reference/openapi.json", ROOT / "docs/reference/fleet-openapi.json"
BOTH = pytest.mark.parametrize(("found", "needed"), [(document(), HTTP_ROLES), (fleet_document(), RIGHTS.http)])


@pytest.fixture(scope="module")
def tool() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("openapi_tool", ROOT / "tools/openapi.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_every_route_is_described_and_no_other() -> None:
    assert OWN.keys() | GATEWAY.keys() | QDRANT.keys() == HTTP_ROLES.keys()
    assert not OWN.keys() & QDRANT.keys()
    assert OPERATIONS.keys() == RIGHTS.http.keys()


def test_the_files_are_what_routes_and_types_say(tool: types.ModuleType) -> None:
    assert tool.FILES.keys() == {NODE, FLEET}
    for file, told in tool.FILES.items():
        assert file.read_bytes() == tool.text(told()), "accept with: make openapi"


@BOTH
def test_every_operation_says_who_may_ask(found: Document, needed: Mapping[str, Needed]) -> None:
    """By roles, by a token that the route looks at, or by needing none."""
    for path, methods in found["paths"].items():
        for method, told in methods.items():
            route = f"{method.upper()} {path}"
            is_open = needed[route] in ("open", "probes") and told.get("security") != [{"node": []}]
            assert (told.get("security") == []) == is_open, route
            assert ("401" in told["responses"]) or is_open or path == "/api/session", route


@BOTH
def test_names_of_operations_are_theirs_alone(found: Document, needed: Mapping[str, Needed]) -> None:
    told = [told for methods in found["paths"].values() for told in methods.values()]
    assert len(told) == len(needed) == len({one["operationId"] for one in told})
    assert all(one["summary"] for one in told)


@pytest.mark.parametrize("file", [NODE, FLEET])
def test_they_are_of_openapi_3_1(file: Path) -> None:
    assert json.loads(file.read_bytes())["openapi"] == "3.1.0"
