"""Attacks on tokens: wrong ones, cut ones, guesses in a row, what answers and their times tell."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guarded_app import Guarded, guarded
from littoral.node.access.roles import Role
from littoral.web.access import tokens as tokens_module
from littoral.web.access.access import REASONS
from littoral.web.access.guessing import BURST_COUNT, REFILL_S
from littoral.web.access.tokens import TokenFile
from mesh_site import MovedClock

NOBODYS = f"littoral_{'0' * 12}_{'A' * 43}"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path) as found:
        yield found


def refused(node: Guarded) -> dict[str, int]:
    counts = {reading.labels[0]: int(reading.value) for reading in node.access.readings()}
    assert set(counts) == set(REASONS)
    return {reason: count for reason, count in counts.items() if count}


def changed(token: str) -> dict[str, str]:
    """What is nearly a token."""
    return {
        "cut": token[:-1],
        "longer": token + "A",
        "another last letter": token[:-1] + ("A" if token[-1] != "A" else "B"),
        "another id": token.replace(token[9:21], "f" * 12),
        "only its id": token[:22],
        "only its secret": token[22:],
        "upper case": token.upper(),
        "a digest": hashlib.sha256(token.encode()).hexdigest(),
        "twice": f"{token},{token}",
        "twice, as two headers are joined": f"{token}, {token}",
        "with a zero": f"{token}%00",
        "quoted": f'"{token}"',
    }


@pytest.mark.parametrize("way", sorted(changed(NOBODYS)))
@pytest.mark.parametrize("header", ["authorization", "api-key"])
async def test_what_is_nearly_a_token_is_none(node: Guarded, way: str, header: str) -> None:
    text = changed(node.token(Role.ADMIN))[way]
    shown = f"Bearer {text}" if header == "authorization" else text
    assert (await node.send("read", **{header: shown})).status == 401
    assert refused(node) == {"unknown": 1}


async def test_a_token_elsewhere_than_in_its_header_is_none(node: Guarded) -> None:
    """Where it would stand in logs and histories."""
    token = node.token(Role.ADMIN)
    basic = base64.b64encode(f"{token}:".encode()).decode()
    for headers in (
        {"Authorization": f"Basic {basic}"},
        {"Authorization": token},
        {"X-Api-Key": token},
        {"Cookie": f"api-key={token}"},
    ):
        assert (await node.send("read", **headers)).status == 401
    for query in (f"?api-key={token}", f"?token={token}", f"?access_token={token}"):
        assert (await node.ask("GET", f"/api/collections{query}")).status == 401
    assert refused(node) == {"missing": 7}


async def test_two_tokens_that_differ_are_refused(node: Guarded) -> None:
    one, other = node.token(Role.READ), node.token(Role.ADMIN)
    assert (await node.send("read", **{"api-key": one, "Authorization": f"Bearer {other}"})).status == 401
    assert (await node.send("read", **{"api-key": one, "Authorization": f"Bearer {one}"})).status == 200


async def test_after_some_guesses_the_next_have_to_wait(node: Guarded) -> None:
    good = node.token(Role.READ)
    assert (await node.send("read", **{"api-key": good})).status == 200
    for _ in range(BURST_COUNT):
        assert (await node.send("read", **{"api-key": NOBODYS})).status == 401
    reply = await node.send("read", **{"api-key": NOBODYS})
    assert (reply.status, reply.headers["retry-after"]) == (429, str(round(REFILL_S)))
    assert refused(node) == {"unknown": BURST_COUNT, "guessing": 1}
    node.clock.move(REFILL_S)
    assert (await node.send("read", **{"api-key": NOBODYS})).status == 401
    assert (await node.send("read", **{"api-key": NOBODYS})).status == 429


async def test_who_was_right_before_is_not_shut_out_by_the_guesses_of_a_neighbour(node: Guarded) -> None:
    """Behind one address; and a token that was never right from there has to wait, right or not."""
    known, unknown = node.token(Role.READ), node.token(Role.READ)
    assert (await node.send("read", **{"api-key": known})).status == 200
    for _ in range(BURST_COUNT + 1):
        await node.send("read", **{"api-key": NOBODYS})
    assert (await node.send("read", **{"api-key": known})).status == 200
    assert (await node.send("read", **{"api-key": unknown})).status == 429
    assert (await node.send("probes")).status == 200


async def test_guesses_at_the_login_count_too(node: Guarded) -> None:
    body = b'{"token": "%s"}' % NOBODYS.encode()
    for _ in range(BURST_COUNT):
        assert (await node.ask("POST", "/api/session", body)).status == 401
    assert (await node.ask("POST", "/api/session", body)).status == 429
    assert (await node.send("read", **{"api-key": NOBODYS})).status == 429


async def test_no_header_hides_where_guesses_come_from(node: Guarded) -> None:
    for number in range(BURST_COUNT + 1):
        hidden = {
            "X-Forwarded-For": f"10.0.0.{number}",
            "X-Real-IP": f"10.0.0.{number}",
            "Forwarded": f"for=10.0.0.{number}",
        }
        reply = await node.send("read", **{"api-key": NOBODYS, **hidden})
    assert reply.status == 429


async def test_an_answer_does_not_tell_whether_an_id_is_there(node: Guarded) -> None:
    token = node.token(Role.READ)
    there = await node.send("read", **{"api-key": token[:-2] + "zz"})
    nowhere = await node.send("read", **{"api-key": NOBODYS})
    assert (there.status, there.body) == (nowhere.status, nowhere.body)
    assert token not in there.body.decode()


def test_each_comparison_is_of_whole_digests_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody has the id: what is compared with then is as long."""
    compared: list[tuple[int, int]] = []
    really = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return really(one, other)

    monkeypatch.setattr(tokens_module.hmac, "compare_digest", compare)
    found = TokenFile(tmp_path / "tokens.json", MovedClock())
    for text in (NOBODYS, "x", "", "\udcff", "x" * 5000):
        assert found.find(text) is None
    assert compared == [(64, 64)] * 5
