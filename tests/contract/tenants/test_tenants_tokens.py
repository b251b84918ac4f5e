"""Tokens of tenants: whose things they are good for, how they are made and taken back, and old files of tokens."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from littoral.errors import InputError, SettingError
from littoral.node.access.roles import Role
from littoral.web.access.sessions import COOKIE
from littoral.web.access.tokens import new_token, read_tokens, without, write_tokens
from raw_http import Reply, send
from tenants_site import ACME, BOLT, OPERATOR, Tenanted, add_token, tenanted_node
from waiting import until

STRANGE = "the token is none of this node's"


@pytest.fixture(scope="module")
def node() -> Iterator[Tenanted]:
    with tenanted_node() as found:
        yield found


def seen_by(node: Tenanted, **headers: str) -> Reply:
    """The collections that whoever sends these headers sees."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(node.served.address, "GET", "/collections", headers=named)


def names(reply: Reply) -> set[str]:
    return {row["name"] for row in reply.json["result"]["collections"]}


def test_a_token_counts_as_soon_as_it_is_made_and_until_it_is_taken_back(node: Tenanted) -> None:
    text = add_token(node.folder, BOLT, Role.READ, name="short")
    assert names(seen_by(node, authorization=f"Bearer {text}")) == {"frames", "plans", "notes"}
    assert names(seen_by(node, api_key=text)) == {"frames", "plans", "notes"}
    file = node.folder / "tokens.json"
    write_tokens(file, without(read_tokens(file), "short")[0])
    until(lambda: seen_by(node, api_key=text).status == 401)
    fresh = add_token(node.folder, ACME, Role.READ, name="short")
    assert names(seen_by(node, api_key=fresh)) == {"frames", "notes"}


def test_roles_are_as_of_any_token(node: Tenanted) -> None:
    text = add_token(node.folder, ACME, Role.INFER, name="asks")
    assert seen_by(node, api_key=text).status == 403
    said = send(node.served.address, "POST", "/pipelines/sentences", b"a text", {"api-key": text})
    assert said.status == 200


@pytest.mark.parametrize("change", ["secret", "id", "tenant"])
def test_a_token_that_is_not_true_is_nobodys(node: Tenanted, change: str) -> None:
    """Somebody else's id with a secret of one's own, an id that is nobody's, and a tenant that the node has not."""
    theirs, own = node.tokens[BOLT], add_token(node.folder, ACME, Role.READ)
    if change == "secret":
        text = f"{theirs[:22]}{own[22:]}"
    elif change == "id":
        text = f"littoral_{'0' * 12}_{own[22:]}"
    else:
        text = add_token(node.folder, "gone", Role.READ)
    refused = seen_by(node, api_key=text)
    assert (refused.status, refused.error.partition(" ·")[0]) == (401, STRANGE)


def test_two_tokens_are_no_way_in(node: Tenanted) -> None:
    """Neither the one's things nor the other's."""
    for first, second in ((ACME, BOLT), (OPERATOR, ACME), (ACME, OPERATOR)):
        refused = seen_by(node, authorization=f"Bearer {node.tokens[first]}", api_key=node.tokens[second])
        assert (refused.status, refused.error) == (401, "two different tokens are shown · hint: show one")


def test_a_page_sees_what_its_token_does(node: Tenanted) -> None:
    login = send(node.served.address, "POST", "/api/session", json.dumps({"token": node.tokens[ACME]}).encode())
    assert login.json == {"is_needed": True, "name": "till", "roles": ["read", "infer", "write"], "tenant": ACME}
    found = re.search(rf"{COOKIE}=([^;]+)", login.headers["set-cookie"])
    assert found is not None
    assert names(seen_by(node, cookie=f"{COOKIE}={found[1]}")) == {"frames", "notes"}


def test_who_shows_no_token_is_told_no_names(node: Tenanted) -> None:
    """Nor is who shows one's id alone; whether the node is ready is for everybody."""
    id_only = f"{node.tokens[ACME][:22]}{'A' * 43}"
    for headers in ({}, {"api-key": id_only}):
        reply = send(node.served.address, "GET", "/readyz", headers=headers)
        assert (reply.status, reply.json) == (200, {"ready": True})
    assert node.ask(ACME, "GET", "/readyz").json == {"ready": True, "reasons": [], "quarantined": []}


@pytest.mark.parametrize("role", [Role.ADMIN, Role.STEPS])
def test_no_tenant_administers_or_does_steps_of_sites(tmp_path: Path, role: Role) -> None:
    with pytest.raises(InputError, match=f"the role `{role}` is the operator's alone"):
        new_token("till", [role], 0, tenant=ACME)
    _, token = new_token("till", [Role.READ], 0, tenant=ACME)
    write_tokens(tmp_path / "tokens.json", [token])
    text = (tmp_path / "tokens.json").read_text().replace('"read"', f'"{role}"')
    (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(SettingError, match=f"has the role `{role}`, which is the operator's"):
        read_tokens(tmp_path / "tokens.json")


def test_files_of_tokens_from_before_there_were_tenants_are_read(tmp_path: Path) -> None:
    """And a file without tokens of tenants is one that former releases read."""
    old = {"id": "0123456789ab", "name": "till", "roles": ["read"], "sha256": "0" * 64, "made_at_s": 1}
    (tmp_path / "tokens.json").write_text(json.dumps({"tokens": [old | {"expires_at_s": None}], "format": 1}))
    (token,) = read_tokens(tmp_path / "tokens.json")
    assert (token.tenant, token.expires_at_s) == ("", None)
    write_tokens(tmp_path / "tokens.json", [token])
    assert json.loads((tmp_path / "tokens.json").read_text())["tokens"] == [old]
