"""What nodes ask of an orchestrator, over real HTTP: enrolment, check-ins, signals, reports, questions, bytes."""

import asyncio
from pathlib import Path

import pytest

from audit_log import filled
from broker import Broker
from littoral.audit.note import Verifier
from littoral.audit.witness import Asked, asked_text, signed_note
from littoral.mqtt import broker as mqtt
from littoral.mqtt.connection import Connection, Session
from littoral.node.audit.url_witnesses import UrlWitness
from littoral.orchestrator.downloads import range_of
from littoral.updates.trust.client import TrustedClient
from littoral.updates.trust.transport import FolderTransport
from mesh_site import MovedClock
from orchestrated import FILE, Kept, orchestrated
from placeholder_models import model_of
from waiting import until_async

SETTLED = {"deployment": 1, "state": "settled"}


async def test_a_claim_lets_so_many_in_and_no_more(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        (claim,) = await kept.done("operator", "POST", "/api/fleet/claims", {"uses": 2, "labels": {"region": "north"}})
        for name in ("gw-1", "gw-2"):
            said = {
                "claim": claim["code"],
                "public_key": "PEM",
                "node": name,
                "labels": {"region": "south", "x": "7"},
            }
            assert (await kept.done("", "POST", "/fleet/v1/enrol", said))["node"] == name
        again = await kept.ask("", "POST", "/fleet/v1/enrol", said | {"node": "gw-3"})
        assert (again.status, "as often as it may be" in again.error) == (403, True)
        node = await kept.done("viewer", "GET", "/api/fleet/nodes/gw-2")
        assert node["labels"] == {"region": "north", "x": "7"}
        (told,) = await kept.done("viewer", "GET", "/api/fleet/claims")
        assert (told["uses_left"], told["used"], "code" in told) == (0, 2, False)


async def test_claims_that_are_not_good(tmp_path: Path) -> None:
    clock = MovedClock()
    async with orchestrated(tmp_path, clock=clock) as kept:
        (claim,) = await kept.done("operator", "POST", "/api/fleet/claims", {"uses": 9, "expires_s": 60})
        said = {"claim": claim["code"], "public_key": "PEM", "node": "gw-1"}
        await kept.done("", "POST", "/fleet/v1/enrol", said)
        taken = await kept.ask("", "POST", "/fleet/v1/enrol", said)
        assert (taken.status, "is enrolled" in taken.error) == (409, True)
        assert (await kept.ask("", "POST", "/fleet/v1/enrol", said | {"node": "a b"})).status == 400
        clock.move(61)
        expired = await kept.ask("", "POST", "/fleet/v1/enrol", said | {"node": "gw-2"})
        assert (expired.status, "has expired" in expired.error) == (403, True)
        await kept.done("operator", "DELETE", f"/api/fleet/claims/{claim['id']}")
        for wrong in (claim["code"], claim["code"][:-1] + "x", "", "claim_", "claim_x_y"):
            gone = await kept.ask("", "POST", "/fleet/v1/enrol", said | {"claim": wrong, "node": "gw-2"})
            assert (gone.status, "none of this fleet's" in gone.error) == (403, True)


async def test_guesses_at_claims_and_tokens_are_bounded(tmp_path: Path) -> None:
    async with orchestrated(tmp_path, clock=MovedClock()) as kept:
        said = {"claim": "claim_0_x", "public_key": "PEM"}
        statuses = [(await kept.ask("", "POST", "/fleet/v1/enrol", said)).status for _ in range(12)]
        assert statuses[:10] == [403] * 10
        assert statuses[10:] == [429] * 2
        kept.tokens["stranger"] = "node_guess"
        statuses = [(await kept.ask("stranger", "POST", "/fleet/v1/checkin", SETTLED)).status for _ in range(12)]
        assert (statuses[:10], statuses[10:]) == ([401] * 10, [429] * 2)


async def test_a_node_that_is_known_is_served_while_its_neighbour_guesses(tmp_path: Path) -> None:
    async with orchestrated(tmp_path, clock=MovedClock()) as kept:
        await kept.enrolled("gw-1")
        kept.tokens["stranger"] = "node_guess"
        for _ in range(12):
            await kept.ask("stranger", "POST", "/fleet/v1/checkin", SETTLED)
        assert (await kept.ask("gw-1", "POST", "/fleet/v1/checkin", SETTLED)).status == 200


async def test_operators_tokens_are_no_nodes_and_nodes_no_operators(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await kept.enrolled("gw-1")
        assert (await kept.ask("publisher", "POST", "/fleet/v1/checkin", SETTLED)).status == 401
        assert (await kept.ask("gw-1", "GET", "/api/fleet/nodes")).status == 401


async def test_what_a_node_says_is_known_at_once_and_after_a_restart(tmp_path: Path) -> None:
    said = {"deployment": 4, "state": "canary", "gate": "drift", "running": {"models/e": "models/e/1.wasm"}}
    async with orchestrated(tmp_path) as kept:
        await kept.enrolled("gw-1")
        await kept.done("gw-1", "POST", "/fleet/v1/checkin", said | {"facts": {"cpu": "arm"}, "unknown": 1})
        before = await kept.done("viewer", "GET", "/api/fleet/nodes/gw-1")
        assert (before["state"], before["gate"], before["online"], before["facts"]) == (
            "canary",
            "drift",
            True,
            {"cpu": "arm"},
        )
    async with orchestrated(tmp_path) as kept:
        assert await kept.done("viewer", "GET", "/api/fleet/nodes/gw-1") == before


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"deployment": 1, "state": "flying"}', b"[" * 5000, b'{"deployment": 1e400}', bytes(70_000)]
)
async def test_check_ins_that_are_none(tmp_path: Path, body: bytes) -> None:
    async with orchestrated(tmp_path) as kept:
        await kept.enrolled("gw-1")
        assert (await kept.ask("gw-1", "POST", "/fleet/v1/checkin", body)).status == 400


async def told_something(kept: Kept, *names: str) -> None:
    """A model is published, and each of these is to run it."""
    await kept.artifact(data=model_of(bytes(300_000)))
    await kept.enrolled(*names)
    order = {"nodes": names, "set": {"models": {"e": "models/embedder/1.wasm"}}, "offline_share_max": 1}
    await kept.done("operator", "POST", "/api/fleet/rollouts", order)


async def test_a_signal_comes_as_soon_as_there_is_something_and_ends_without(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await kept.enrolled("gw-9")
        assert (await kept.ask("gw-9", "GET", "/fleet/v1/signal?after=0&wait_s=0.01")).status == 204
        await kept.enrolled("gw-1")
        waiting = asyncio.create_task(kept.done("gw-1", "GET", "/fleet/v1/signal?after=0&wait_s=60"))
        await until_async(lambda: kept.found.side.waiting_count == 1)
        await kept.artifact()
        order = {"nodes": ["gw-1"], "set": {"models": {"e": "models/embedder/1.wasm"}}}
        await kept.done("operator", "POST", "/api/fleet/rollouts", order)
        assert await waiting == {"deployment": 1}
        assert await kept.done("gw-1", "GET", "/fleet/v1/signal?after=0&wait_s=60") == {"deployment": 1}
        assert (await kept.done("gw-1", "POST", "/fleet/v1/checkin", SETTLED))["deployment"] == 1


async def test_no_more_wait_for_signals_than_may(tmp_path: Path) -> None:
    async with orchestrated(tmp_path, FILE + "[limits]\nsignal_count_max = 3\n") as kept:
        await kept.enrolled("gw-1")
        waiting = [asyncio.create_task(kept.ask("gw-1", "GET", "/fleet/v1/signal?after=0&wait_s=60")) for _ in range(3)]
        await until_async(lambda: kept.found.side.waiting_count == 3)
        refused = await kept.ask("gw-1", "GET", "/fleet/v1/signal?after=0&wait_s=60")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert (await kept.ask("gw-1", "POST", "/fleet/v1/checkin", SETTLED)).status == 200
        kept.found.side.telling.publish("gw-1", 1)
        assert [(await one).status for one in waiting] == [200] * 3
        assert kept.found.side.waiting_count == 0


async def test_a_node_verifies_what_it_is_told_and_fetches_it(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await told_something(kept, "gw-1", "gw-2")
        await kept.done("gw-1", "GET", "/fleet/v1/signal?after=0&wait_s=60")
        served = tmp_path / "served"
        trust = kept.found.signing.trust("http://fleet.example", None)
        await fetched(kept, "gw-1", served)
        client = TrustedClient(tmp_path / "state", "gw-1", trust, FolderTransport(served))
        found = await asyncio.to_thread(client.refresh, 0)
        assert (found.desired.deployment, found.desired.models) == (1, {"e": "models/embedder/1.wasm"})
        target = found.targets["models/embedder/1.wasm"]
        path = f"/fleet/v1/image/targets/{target.sha256}.wasm"
        whole = await kept.ask("gw-1", "GET", path)
        data = model_of(bytes(300_000))
        assert (whole.status, whole.body, whole.headers["etag"]) == (200, data, f'"{target.sha256}"')
        part = await kept.ask("gw-1", "GET", path, Range="bytes=2-299999")
        assert (part.status, part.headers["content-range"]) == (206, f"bytes 2-299999/{len(data)}")
        assert part.body == whole.body[2:300_000]
        gone = await kept.ask("gw-1", "GET", path, Range=f"bytes={len(data)}-")
        assert (gone.status, gone.headers["content-range"]) == (416, f"bytes */{len(data)}")
        same = {"If-None-Match": f'"{target.sha256}"'}
        assert (await kept.ask("gw-1", "GET", path, **same)).status == 304
        other = await kept.ask("gw-1", "GET", path, Range="bytes=2-5", **{"If-Range": '"other"'})
        assert (other.status, len(other.body)) == (200, len(data))


async def fetched(kept: Kept, node: str, folder: Path) -> None:
    """The metadata that this node asks for, as files."""
    for name in kept.found.signing.store.list(""):
        if name.startswith(("image/metadata/", f"director/{node}/")):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes((await kept.ask(node, "GET", f"/fleet/v1/{name}")).body)


async def test_no_node_reads_what_is_for_another(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await told_something(kept, "gw-1", "gw-2")
        await kept.done("gw-2", "GET", "/fleet/v1/signal?after=0&wait_s=60")
        path = "/fleet/v1/director/gw-2/metadata/timestamp.json"
        assert (await kept.ask("gw-2", "GET", path)).status == 200
        assert (await kept.ask("gw-1", "GET", path)).status == 404
        for nobody in (path, "/fleet/v1/image/metadata/1.root.json"):
            assert (await kept.ask("", "GET", nobody)).status == 401
        for wrong in (
            "image/metadata/pending.txt",
            "image/targets/x.wasm",
            "image/targets/..%2f..%2fkeys",
            "image/metadata/%2e%2e",
        ):
            assert (await kept.ask("gw-1", "GET", f"/fleet/v1/image/{wrong}")).status in (400, 404)


async def test_reports_are_kept_bounded_and_scraped(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await kept.enrolled("gw-1")
        many = {f"m_{n}": 1.0 for n in range(2000)}
        reports = [
            {"time": 50.0, "metrics": many, "dropped": {"age": 2}},
            {
                "time": 60.0,
                "metrics": {'requests_total{model="a"}': 7.0, "bad name": 1.0, "up": 1.5},
                "dropped": {"age": 1},
            },
            {"time": 55.0, "metrics": {"up": 9.0}, "dropped": {"bytes": 4}},
        ]
        for one in (reports, reports[0]):
            assert (await kept.ask("gw-1", "POST", "/fleet/v1/reports", one)).status == 204
        text = (await kept.ask("viewer", "GET", "/federate")).body.decode()
        assert 'requests_total{node="gw-1",group="",model="a"} 7.0 60000\n' in text
        assert 'up{node="gw-1",group=""} 1.5 60000\n' in text
        assert "bad" not in text
        own = (await kept.ask("viewer", "GET", "/metrics")).body.decode()
        assert 'littoral_fleet_reports_dropped_total{bound="age"} 5.0' in own
        assert (await kept.done("viewer", "GET", "/api/fleet/nodes/gw-1"))["report"]["dropped"] == {
            "age": 5,
            "bytes": 4,
        }


async def test_a_question_reaches_the_node_and_its_answer_the_operator(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await kept.enrolled("gw-1", "gw-2")
        asked = await kept.done("operator", "POST", "/api/fleet/nodes/gw-1/asks", {"kind": "logs", "lines": 5})
        path = f"/api/fleet/nodes/gw-1/asks/{asked['id']}"
        assert (await kept.done("operator", "GET", path))["state"] == "waiting"
        assert (await kept.ask("viewer", "GET", path)).status == 403
        (found,) = (await kept.done("gw-1", "POST", "/fleet/v1/checkin", SETTLED))["asks"]
        assert found == {"id": asked["id"], "kind": "logs", "lines": 5}
        answer = {"kind": "logs", "body": ["one", "two"]}
        assert (await kept.ask("gw-2", "POST", f"/fleet/v1/asks/{asked['id']}", answer)).status == 404
        assert (await kept.ask("gw-1", "POST", f"/fleet/v1/asks/{asked['id']}", answer)).status == 204
        assert (await kept.ask("gw-1", "POST", f"/fleet/v1/asks/{asked['id']}", answer)).status == 404
        told = await kept.done("operator", "GET", path)
        assert (told["state"], told["answer"]) == ("answered", ["one", "two"])
        assert "asks" not in await kept.done("gw-1", "POST", "/fleet/v1/checkin", SETTLED)


async def test_a_node_that_was_deleted_is_a_stranger_and_its_name_goes_on_upwards(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await told_something(kept, "gw-1")
        await kept.done("gw-1", "GET", "/fleet/v1/signal?after=0&wait_s=60")
        await kept.done("operator", "DELETE", "/api/fleet/nodes/gw-1")
        assert (await kept.ask("gw-1", "POST", "/fleet/v1/checkin", SETTLED)).status == 401
        await kept.enrolled("gw-1")
        order = {"nodes": ["gw-1"], "set": {"models": {"e": "models/embedder/1.wasm"}}}
        await kept.done("operator", "POST", "/api/fleet/rollouts", order)
        assert await kept.done("gw-1", "GET", "/fleet/v1/signal?after=1&wait_s=60") == {"deployment": 2}


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=5-2", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=-", None),
    ],
)
def test_ranges(header: str, part: tuple[int, int] | None) -> None:
    assert range_of(header, 10) == part


async def test_it_cosigns_what_its_nodes_log(tmp_path: Path) -> None:
    log = filled(tmp_path / "log", 300)
    async with orchestrated(tmp_path) as kept:
        await kept.enrolled("gw-1", "gw-2")
        key = Verifier.parse((await kept.ask("gw-1", "GET", "/fleet/v1/witness-key")).body.decode().strip())
        (tmp_path / "bearer").write_text(f"{kept.tokens['gw-1']}\n")
        witness = UrlWitness(f"http://{kept.address}/fleet/v1", key, tmp_path / "bearer")
        proof, note = log.consistency(0)
        body = asked_text(Asked(0, proof, str(note).encode()))
        told = {"littoral-log-key": str(log.verifier)}
        status, line = await asyncio.to_thread(witness.post, body, told)
        assert status == 200
        assert signed_note(line, str(note).encode(), key).has(key)
        assert (await kept.ask("", "POST", "/fleet/v1/add-checkpoint", body)).status == 401
        metrics = (await kept.ask("viewer", "GET", "/metrics")).body.decode()
        assert "\nlittoral_fleet_cosigned_total 1.0\n" in metrics


async def test_nodes_hear_of_deployments_by_a_broker_that_may_be_away(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    broker.start()
    heard: list[tuple[str, bytes]] = []
    at = mqtt.parse_broker(f"mqtt://127.0.0.1:{broker.port}")
    try:
        async with orchestrated(tmp_path, f'{FILE}\n[mqtt]\nbroker = "mqtt://127.0.0.1:{broker.port}"\n') as kept:
            await kept.enrolled("gw-1", "gw-2", labels={"region": "north"})
            await kept.artifact()
            broker.stop()
            wished = {"match": {"region": "north"}, "models": {"e": "models/embedder/1.wasm"}}
            await kept.done("operator", "PUT", "/api/fleet/groups/north", wished)
            ring = kept.found.mqtt
            assert ring is not None
            await until_async(lambda: ring.waiting_count == 2)
            broker.start()
            await until_async(lambda: ring.waiting_count == 0)
            connection = await Connection.open(
                mqtt.Broker(at[1], at[2]), Session("listener"), lambda one: heard.append((one.topic, one.payload))
            )
            await connection.subscribe("littoral/fleet/+", 0)
            await until_async(lambda: len(heard) == 2)
            assert sorted(heard) == [(f"littoral/fleet/gw-{one}", b'{"deployment": 1}') for one in (1, 2)]
            connection.close()
            metrics = (await kept.ask("viewer", "GET", "/metrics")).body.decode()
            assert "\nlittoral_fleet_mqtt_signals_total 2.0\n" in metrics
    finally:
        broker.stop()
