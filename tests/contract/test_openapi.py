"""The OpenAPI document describes every route, and is what a node tells. That answers are as described is held true
where routes are asked: `test_fuzzed_endpoints`, and by schemathesis in `test_schemathesis`."""

import importlib.util
import json
import types

import pytest

from littoral.node.access.roles import HTTP_ROLES
from littoral.node.openapi import document
from littoral.node.openapi.gateway_operations import GATEWAY
from littoral.node.openapi.operations import OWN
from littoral.node.openapi.qdrant_operations import QDRANT
from tracked import ROOT

FILE = ROOT / "docs/reference/openapi.json"


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


def test_the_file_is_what_routes_and_types_say(tool: types.ModuleType) -> None:
    assert FILE.read_bytes() == tool.text(), "accept with: make openapi"


def test_every_operation_says_who_may_ask() -> None:
    """By roles, or by needing no token."""
    for path, methods in document()["paths"].items():
        for method, told in methods.items():
            route = f"{method.upper()} {path}"
            is_open = HTTP_ROLES[route] in ("open", "probes")
            assert (told.get("security") == []) == is_open, route
            assert ("401" in told["responses"]) or is_open or path == "/api/session", route


def test_names_of_operations_are_theirs_alone() -> None:
    names = [told["operationId"] for methods in document()["paths"].values() for told in methods.values()]
    assert len(set(names)) == len(names)
    assert json.loads(FILE.read_bytes())["openapi"] == "3.1.0"
