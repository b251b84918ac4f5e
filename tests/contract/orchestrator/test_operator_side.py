"""What operators ask of an orchestrator: who may do what, groups, rollouts, signatures, and what the log has of it."""

import base64
from pathlib import Path
from typing import Any

import pytest

from littoral.audit.disk import FolderDisk
from littoral.audit.verify import verify_log
from littoral.orchestrator.metrics import Observed
from littoral.orchestrator.rights import RIGHTS, Role
from littoral.orchestrator.service import protocols
from littoral.updates.metadata.keys import open_signer
from littoral.updates.metadata.signatures import signature_of
from orchestrated import FILE, Kept, orchestrated
from placeholder_models import model_of
from waiting import until_true

SIGNATURES = "/api/fleet/signing/targets/signatures"
SET = {"models": {"e": "models/embedder/1.wasm"}}


async def test_every_route_stands_in_the_table_of_roles(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        found = kept.found
        observed = Observed(found.fleet, found.side, found.conductor, found.acts, found.witness, found.pacer)
        routes = [route for one in protocols(found, observed, is_secure=False) for route in one.routes]
        assert {f"{route.method} {route.label or route.pattern}" for route in routes} == RIGHTS.http.keys()


async def test_roles_are_what_the_table_says(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        for what, needed in RIGHTS.http.items():
            method, pattern = what.split()
            if not pattern.startswith("/api/fleet") or pattern == "/api/fleet/events":
                continue
            path = pattern.replace("{", "").replace("}", "")
            assert (await kept.ask("", method, path)).status == 401, what
            for role in Role:
                status = (await kept.ask(role, method, path, {})).status
                may = RIGHTS.has_role([role], needed)
                assert (status == 403) is not may, (what, role, status)


async def test_without_a_table_auth_only_this_machine_may_ask(tmp_path: Path) -> None:
    open_file = FILE.partition("[auth]")[0]
    async with orchestrated(tmp_path, open_file) as kept:
        assert (await kept.ask("", "GET", "/api/fleet")).status == 200
        assert (await kept.ask("", "GET", "/api/fleet", Host="evil.example")).status == 403
        written = await kept.ask("", "PUT", "/api/fleet/groups/a", {}, Origin="https://evil.example")
        assert written.status == 403


async def grouped(kept: Kept, *names: str, labels: dict[str, str] | None = None) -> None:
    await kept.artifact()
    await kept.done("operator", "PUT", "/api/fleet/groups/north", {"match": {"region": "north"}})
    await kept.enrolled(*names, labels=labels or {"region": "north"})


async def ended(kept: Kept, node: str, state: str = "settled", **more: Any) -> None:
    """The node hears of its next deployment, and says how it went."""
    told = (await kept.done("viewer", "GET", f"/api/fleet/nodes/{node}"))["running_deployment"]
    found = await kept.done(node, "GET", f"/fleet/v1/signal?after={told}&wait_s=60")
    await kept.done(node, "POST", "/fleet/v1/checkin", {"deployment": found["deployment"], "state": state} | more)


async def rollout_state(kept: Kept, rollout: str, *wanted: str) -> dict[str, Any]:
    """Waits for one of these."""

    async def is_so() -> bool:
        return (await kept.done("viewer", "GET", f"/api/fleet/rollouts/{rollout}"))["state"] in wanted

    await until_true(is_so)
    found: dict[str, Any] = await kept.done("viewer", "GET", f"/api/fleet/rollouts/{rollout}")
    return found


async def test_a_rollout_from_its_first_ring_to_its_group(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await grouped(kept, "gw-1", "gw-2", "gw-3")
        order = {"group": "north", "set": SET, "rings": [{"name": "canary", "nodes": ["gw-2"]}]}
        begun = await kept.done("operator", "POST", "/api/fleet/rollouts", order)
        assert [ring["name"] for ring in begun["rings"]] == ["canary", "rest"]
        for node in ("gw-2", "gw-1", "gw-3"):
            await ended(kept, node, running={"models/e": "models/embedder/1.wasm"})
        told = await rollout_state(kept, begun["id"], "done")
        assert [(ring["nodes"], ring["done"], ring["state"]) for ring in told["rings"]] == [
            (1, 1, "done"),
            (2, 2, "done"),
        ]
        group = await kept.done("viewer", "GET", "/api/fleet/groups/north")
        assert (group["models"], group["nodes"]) == (SET["models"], 3)
        assert (await kept.done("viewer", "GET", "/api/fleet"))["drifting"] == 0
        await kept.enrolled("gw-4", labels={"region": "north"})
        assert await kept.done("gw-4", "GET", "/fleet/v1/signal?after=0&wait_s=60") == {"deployment": 1}
        history = await kept.done("viewer", "GET", "/api/fleet/history?count=500")
        assert {"began", "ring", "done"} <= {one["detail"].get("what") for one in history}


async def test_a_gate_that_caught_it_is_named_and_others_never_hear_of_it(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await grouped(kept, "gw-1", "gw-2", "gw-3")
        order = {"group": "north", "set": SET, "rings": [{"name": "canary", "nodes": ["gw-2"]}]}
        begun = await kept.done("operator", "POST", "/api/fleet/rollouts", order)
        await ended(kept, "gw-2", "rolled_back", gate="p99", problem="4 times as slow")
        told = await rollout_state(kept, begun["id"], "aborted")
        assert "first `gw-2` by gate `p99`: 4 times as slow" in told["why"]
        nodes = await kept.done("viewer", "GET", "/api/fleet/nodes")
        assert [(one["name"], one["deployment"], one["desired"]) for one in nodes] == [
            ("gw-1", 0, {}),
            ("gw-2", 2, {}),
            ("gw-3", 0, {}),
        ]


async def test_the_newest_rollout_wins(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await grouped(kept, "gw-1", "gw-2")
        await kept.artifact(data=model_of(b"2"))
        old = await kept.done("operator", "POST", "/api/fleet/rollouts", {"group": "north", "set": SET})
        newer = {"nodes": ["gw-1", "gw-2"], "set": {"models": {"e": "models/embedder/2.wasm"}}}
        new = await kept.done("operator", "POST", "/api/fleet/rollouts", newer)
        assert "superseded" in (await rollout_state(kept, old["id"], "aborted"))["why"]

        async def is_done() -> bool:
            for node in await kept.done("viewer", "GET", "/api/fleet/nodes"):
                said = {"deployment": node["deployment"], "state": "settled"}
                await kept.done(node["name"], "POST", "/fleet/v1/checkin", said)
            return (await kept.done("viewer", "GET", f"/api/fleet/rollouts/{new['id']}"))["state"] == "done"

        await until_true(is_done)
        node = await kept.done("viewer", "GET", "/api/fleet/nodes/gw-1")
        assert node["desired"] == {"models/e": "models/embedder/2.wasm"}


async def test_a_group_that_is_put_tells_its_nodes_and_is_left_alone_by_a_rollout(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await grouped(kept, "gw-1")
        await kept.done("operator", "PUT", "/api/fleet/groups/north", {"match": {"region": "north"}} | SET)
        assert await kept.done("gw-1", "GET", "/fleet/v1/signal?after=0&wait_s=60") == {"deployment": 1}
        await kept.artifact(data=model_of(b"2"))
        order = {"group": "north", "set": {"models": {"e": "models/embedder/2.wasm"}}}
        begun = await kept.done("operator", "POST", "/api/fleet/rollouts", order)
        busy = await kept.ask("operator", "PUT", "/api/fleet/groups/north", {"match": {"region": "north"}})
        assert (busy.status, begun["id"] in busy.error) == (409, True)
        assert (await kept.ask("operator", "DELETE", "/api/fleet/groups/north")).status == 409
        frozen = {"match": {"region": "north"}, "is_frozen": True} | SET
        await kept.done("operator", "PUT", "/api/fleet/groups/north", frozen)
        told = (await kept.done("viewer", "GET", f"/api/fleet/rollouts/{begun['id']}"))["state"]
        assert told == "running"
        await kept.done("operator", "POST", f"/api/fleet/rollouts/{begun['id']}/abort", {"why": "not today"})
        assert (await rollout_state(kept, begun["id"], "aborted"))["why"] == "not today"
        await kept.done("operator", "DELETE", "/api/fleet/groups/north")


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"set": SET}, 400),
        ({"group": "north", "nodes": ["gw-1"], "set": SET}, 400),
        ({"group": "south", "set": SET}, 404),
        ({"nodes": ["gw-9"], "set": SET}, 404),
        ({"group": "north", "set": {}}, 400),
        ({"group": "north", "set": {"models": {"e": "models/other/1.wasm"}}}, 404),
        ({"group": "north", "set": {"agents": {"e": "models/embedder/1.wasm"}}}, 400),
        ({"group": "north", "set": {"models": {"e": "../x"}}}, 400),
        ({"group": "north", "set": SET, "rings": [{"name": "a", "percent": 50}, {"name": "b", "percent": 20}]}, 400),
        ({"group": "north", "set": SET, "rings": [{"name": "a"}]}, 400),
        ({"group": "north", "set": SET, "rings": [{"name": "a", "percent": 5}, {"name": "a", "percent": 9}]}, 400),
        ({"group": "north", "set": SET, "error_share_max": 2}, 400),
        ({"group": "north", "set": SET, "on_failure": "panic"}, 400),
        ({"group": "north", "set": SET, "gates": {"errors_max": 7}}, 400),
        ({"group": "north", "set": SET, "gates": {"errors_mx": 0.1}}, 400),
        ({"group": "north", "set": SET, "gates": {"hook": "http://127.0.0.1.evil.example/"}}, 400),
        ({"group": "north", "set": SET, "windows": [{"days": []}]}, 400),
        ({"group": "north", "set": SET, "windows": [{"to_minute": 1441}]}, 400),
        ({"group": "north", "set": SET, "speed": 1}, 400),
    ],
)
async def test_orders_that_are_wrong(tmp_path: Path, order: dict[str, Any], status: int) -> None:
    async with orchestrated(tmp_path) as kept:
        await grouped(kept, "gw-1")
        refused = await kept.ask("operator", "POST", "/api/fleet/rollouts", order)
        assert refused.status == status
        assert await kept.done("viewer", "GET", "/api/fleet/rollouts") == []


async def test_an_artifact_waits_for_two_signatures_of_people(tmp_path: Path) -> None:
    async with orchestrated(tmp_path, delegates_uploads=False) as kept:
        told = await kept.artifact()
        assert (told["state"], told["signatures"], told["wanted"]) == ("pending", [], 2)
        await kept.enrolled("gw-1")
        early = await kept.ask("operator", "POST", "/api/fleet/rollouts", {"nodes": ["gw-1"], "set": SET})
        assert (early.status, "is pending" in early.error) == (409, True)
        for count, number in enumerate((1, 3), 1):
            (waits,) = (await kept.done("publisher", "GET", "/api/fleet/signing"))["pending"]
            signer = open_signer(str(tmp_path / f"offline/targets-{number}.key"))
            keyid, sig = signature_of(base64.b64decode(waits["draft"]), signer)
            signature = {"keyid": keyid, "sig": sig}
            assert (
                await kept.ask("operator", "POST", "/api/fleet/signing/targets/signatures", signature)
            ).status == 403
            done = await kept.done("publisher", "POST", "/api/fleet/signing/targets/signatures", signature)
            assert len(done["signed_by"]) == count
            told = await kept.done("viewer", "GET", "/api/fleet/artifacts/models/embedder/1")
            assert told["state"] == ("pending" if count == 1 else "published")
        await kept.done("operator", "POST", "/api/fleet/rollouts", {"nodes": ["gw-1"], "set": SET})


async def test_signatures_of_others_do_not_count(tmp_path: Path) -> None:
    async with orchestrated(tmp_path, delegates_uploads=False) as kept:
        await kept.artifact()
        (waits,) = (await kept.done("publisher", "GET", "/api/fleet/signing"))["pending"]
        for key in ("root-1", "targets-1"):
            keyid, sig = signature_of(
                base64.b64decode(waits["draft"]), open_signer(str(tmp_path / f"offline/{key}.key"))
            )
            wrong = {"keyid": keyid, "sig": sig if key == "root-1" else f"{sig[:-2]}{int(sig[-2:], 16) ^ 1:02x}"}
            refused = await kept.ask("publisher", "POST", SIGNATURES, wrong)
            assert refused.status == 403
        assert (await kept.ask("publisher", "POST", "/api/fleet/signing/snapshot/signatures", wrong)).status == 404


async def test_what_is_withdrawn_is_told_to_nobody(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await grouped(kept, "gw-1")
        assert (await kept.done("publisher", "DELETE", "/api/fleet/artifacts/models/embedder/1"))[
            "state"
        ] == "withdrawn"
        refused = await kept.ask("operator", "POST", "/api/fleet/rollouts", {"group": "north", "set": SET})
        assert (refused.status, "is withdrawn" in refused.error) == (409, True)
    async with orchestrated(tmp_path) as kept:
        assert (await kept.done("viewer", "GET", "/api/fleet/artifacts/models/embedder/1"))["state"] == "withdrawn"


async def test_an_orchestrator_without_keys_keeps_and_tells_nobody(tmp_path: Path) -> None:
    async with orchestrated(tmp_path, has_keys=False) as kept:
        assert (await kept.artifact())["state"] == "pending"
        for path in ("/api/fleet/signing", "/api/fleet/trust"):
            refused = await kept.ask("publisher", "GET", path)
            assert (refused.status, "has no keys" in refused.error) == (403, True)


async def test_every_act_is_in_the_log_which_verifies(tmp_path: Path) -> None:
    async with orchestrated(tmp_path) as kept:
        await grouped(kept, "gw-1")
        await kept.ask("operator", "DELETE", "/api/fleet/groups/nobody")
        await kept.ask("viewer", "DELETE", "/api/fleet/groups/north")
        acts = await kept.done("viewer", "GET", "/api/fleet/audit")
        told = [(one["act"], one["by"].partition("#")[0], one["subject"]) for one in acts]
        assert told[:3] == [
            ("DELETE /api/fleet/groups/{group}", "operator-1", "nobody"),
            ("POST /fleet/v1/enrol", "claim from 127.0.0.1", ""),
            ("POST /api/fleet/claims", "operator-1", ""),
        ]
        assert acts[0]["detail"]["failed"] == "NotFoundError"
        assert [one["index"] for one in await kept.done("viewer", "GET", "/api/fleet/audit?count=2&before=2")] == [1, 0]
    assert verify_log(FolderDisk(tmp_path / "data/audit")).size > 5
