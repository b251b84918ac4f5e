"""Tokens with roles before every route: who is let in, who is not, and what is told."""

import itertools
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guarded_app import PATHS, Guarded, guarded
from http_seeds import SEEDS
from littoral.errors import InputError, NotFoundError, SettingError
from littoral.node.access.roles import GRPC_ROLES, HTTP_ROLES, INCLUDED, Role
from littoral.node.oip.grpc_messages import messages
from littoral.web.access.guessing import ADDRESS_COUNT_MAX, BURST_COUNT, REFILL_S, Guesses
from littoral.web.access.tokens import TokenFile, new_token, read_tokens, without, write_tokens
from mesh_site import MovedClock

GOOD = {
    Role.READ: {"read", "metrics"},
    Role.INFER: {"infer", "metrics"},
    Role.WRITE: {"write", "read", "metrics"},
    Role.ADMIN: {"read", "infer", "write", "admin", "steps", "metrics"},
    Role.STEPS: {"steps", "metrics"},
}
ALWAYS = {"open", "probes"}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path) as found:
        yield found


def test_every_route_has_a_role_and_every_role_a_route() -> None:
    """In one table; what is missing there would need `admin`."""
    tile = re.compile(r"(/api/audit/tile/{level})/.*")
    named = {(method, tile.sub(r"\1/{number}", path)) for method, path in SEEDS}
    routes = {f"{method} {'/assets/{file}' if path.startswith('/assets/') else path}" for method, path in named}
    assert set(HTTP_ROLES) - {"GET /assets/{file}"} == routes - {"GET /assets/{file}"}


def test_every_method_of_grpc_has_a_role() -> None:
    requests = [name.removesuffix("Request") for name in messages() if name.endswith("Request")]
    assert set(GRPC_ROLES) == {*requests, "ModelStreamInfer"}


@pytest.mark.parametrize(("role", "need"), [*itertools.product(Role, PATHS)])
async def test_a_token_is_good_for_what_its_role_says(node: Guarded, role: Role, need: str) -> None:
    reply = await node.send(need, Authorization=f"Bearer {node.token(role)}")
    is_good = need in GOOD[role] | ALWAYS
    assert (reply.status, node.reached) == ((200, [need]) if is_good else (403, []))
    if not is_good:
        assert f"needs the role `{need}`, this token has `{role}`" in reply.error


@pytest.mark.parametrize("header", ["authorization", "api-key"])
async def test_a_token_goes_in_either_header(node: Guarded, header: str) -> None:
    token = node.token(Role.READ)
    shown = f"bearer  {token}" if header == "authorization" else token
    assert (await node.send("read", **{header: shown})).status == 200


@pytest.mark.parametrize("need", sorted(set(PATHS) - ALWAYS))
async def test_without_a_token_nothing_is_reached(node: Guarded, need: str) -> None:
    """The answer has the shape of its protocol, and says how to ask."""
    reply = await node.send(need)
    assert (reply.status, reply.headers["www-authenticate"]) == (401, 'Bearer realm="littoral"')
    assert "this node asks for a token" in reply.error
    assert isinstance(reply.json.get("status"), dict) == (need == "write")
    assert node.reached == []


async def test_what_is_opened_needs_no_token(tmp_path: Path) -> None:
    async with guarded(tmp_path, opened=("metrics",)) as node:
        assert (await node.send("metrics")).status == 200
        assert (await node.send("probes")).status == 401
        assert (await node.send("probes", Authorization=f"Bearer {node.token(Role.INFER)}")).status == 200


async def test_tokens_are_made_and_revoked_while_the_node_runs(node: Guarded) -> None:
    old, new = node.token(Role.READ, name="old"), node.token(Role.READ, name="new")
    for token in (old, new):
        assert (await node.send("read", Authorization=f"Bearer {token}")).status == 200
    node.write(without(read_tokens(node.file), "old")[0])
    assert (await node.send("read", Authorization=f"Bearer {old}")).status == 401
    assert (await node.send("read", Authorization=f"Bearer {new}")).status == 200


async def test_a_file_that_becomes_unreadable_changes_nothing(node: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    token = node.token(Role.READ)
    assert (await node.send("read", Authorization=f"Bearer {token}")).status == 200
    node.file.write_text('{"tokens": [')
    node.clock.move(1.0)
    assert (await node.send("read", Authorization=f"Bearer {token}")).status == 200
    assert (await node.send("read")).status == 401
    assert "tokens stay as they were" in caplog.text


async def test_a_token_counts_as_soon_as_it_is_made(node: Guarded) -> None:
    """However lately the node has looked at the file."""
    first = node.token(Role.READ, name="first")
    assert (await node.send("read", Authorization=f"Bearer {first}")).status == 200
    text, token = new_token("second", [Role.READ], node.clock.wall())
    write_tokens(node.file, [*read_tokens(node.file), token])
    assert (await node.send("read", Authorization=f"Bearer {text}")).status == 200


async def test_a_file_that_is_removed_shuts_everyone_out(node: Guarded) -> None:
    token = node.token(Role.ADMIN)
    node.file.unlink()
    node.clock.move(1.0)
    assert (await node.send("read", Authorization=f"Bearer {token}")).status == 401


async def test_a_token_expires(node: Guarded) -> None:
    token = node.token(Role.READ, life_s=60)
    assert (await node.send("read", Authorization=f"Bearer {token}")).status == 200
    node.clock.move(60)
    reply = await node.send("read", Authorization=f"Bearer {token}")
    assert (reply.status, reply.error.partition(" ·")[0]) == (401, "token `till` has expired")


def test_only_a_digest_is_kept_and_only_for_its_owner(tmp_path: Path) -> None:
    text, token = new_token("till", [Role.READ, Role.READ], 5)
    write_tokens(tmp_path / "tokens.json", [token])
    kept = (tmp_path / "tokens.json").read_text()
    assert text.split("_", 2)[2] not in kept
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600
    assert read_tokens(tmp_path / "tokens.json") == [token]
    assert token.roles == [Role.READ]
    assert len(text.split("_", 2)[2]) * 6 >= 256


ONE = {"id": "0123456789ab", "name": "a", "roles": ["read"], "sha256": "0" * 64, "made_at_s": 1}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"tokens": [{}]}',
        json.dumps({"tokens": [], "more": 1}),
        json.dumps({"tokens": [], "format": 2}),
        json.dumps({"tokens": [ONE | {"roles": []}]}),
        json.dumps({"tokens": [ONE | {"roles": ["root"]}]}),
        json.dumps({"tokens": [ONE, ONE]}),
    ],
)
def test_a_node_does_not_start_with_a_file_that_is_wrong(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(SettingError, match=r"file of tokens `.*tokens.json`"):
        TokenFile(tmp_path / "tokens.json", MovedClock(), list(Role))


def test_names_that_none_can_have() -> None:
    for name in ("", "a b", "x" * 65, "../x"):
        with pytest.raises(InputError):
            new_token(name, [Role.READ], 0)
    with pytest.raises(NotFoundError, match="no token has the id or name `x`"):
        without([], "x")


def test_what_includes_what() -> None:
    assert INCLUDED[Role.ADMIN] == set(Role)
    assert Role.READ in INCLUDED[Role.WRITE]
    assert Role.INFER not in INCLUDED[Role.WRITE]


def test_guesses_are_counted_by_address_and_the_table_is_bounded() -> None:
    clock = MovedClock()
    guesses = Guesses(clock)
    for _ in range(BURST_COUNT):
        assert guesses.wait_s("10.0.0.1") == 0
        guesses.count("10.0.0.1")
    assert guesses.wait_s("10.0.0.1") == pytest.approx(REFILL_S)
    assert guesses.wait_s("::ffff:10.0.0.1") == pytest.approx(REFILL_S)
    assert guesses.wait_s("10.0.0.2") == 0
    for last in range(BURST_COUNT):
        guesses.count(f"2001:db8::{last}")
    assert guesses.wait_s("2001:db8::ffff") > 0
    assert guesses.wait_s("2001:db8:0:1::1") == 0
    clock.move(REFILL_S)
    assert guesses.wait_s("10.0.0.1") == 0
    for number in range(ADDRESS_COUNT_MAX + 10):
        guesses.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(guesses._used) == ADDRESS_COUNT_MAX
