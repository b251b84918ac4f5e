"""What makes a fleet worth looking at: nodes in each state, in groups, with a rollout that nodes hold."""

from fleet_pages import REGIONS, STATES, FleetPages
from littoral.updates.wire import CheckIn
from placeholder_models import model_of
from raw_http import ask, request

__all__ = ["fill"]

COUNT = 60
MODEL = "models/spotter/{}.wasm"
CANARY = ["gw-000", "gw-003"]
"""Of the first region, and online: a share would be of any of its nodes, by the rollout's random number."""
WINDOW = {"days": [0, 1, 2, 3, 4], "from_minute": 120, "to_minute": 300}


def fill(fleet: FleetPages, count: int = COUNT) -> None:
    """Two versions of a model, of which all regions run the first and one is getting the second."""
    names = [f"gw-{number:03}" for number in range(count)]
    for version in (1, 2):
        data = model_of(bytes([version]) * 4096)
        reply = ask(fleet.address, request("POST", "/api/fleet/artifacts?kind=models&name=spotter", data, {}))
        assert (reply.status, reply.json["state"]) == (201, "published"), reply
    for i, region in enumerate(REGIONS):
        match = {"region": region}
        order = {"match": match, "windows": [WINDOW] if region == "west" else [], "is_frozen": region == "south"}
        fleet.asked("PUT", f"/api/fleet/groups/{region}", order | {"models": {"spotter": MODEL.format(1)}})
        fleet.enrolled(names[i :: len(REGIONS)], match)
    for number, name in enumerate(names):
        if number % 10 != 9:
            fleet.run(_told(fleet, name, number))
    fleet.asked("POST", "/api/fleet/claims", {"count": 2, "uses": 5, "labels": {"region": "north"}})
    rings = [{"name": "canary", "nodes": CANARY}, {"name": "all", "percent": 100}]
    rollout = {"group": "north", "set": {"models": {"spotter": MODEL.format(2)}}, "rings": rings}
    fleet.asked("POST", "/api/fleet/rollouts", rollout | {"error_share_max": 0.5})


async def _told(fleet: FleetPages, name: str, number: int) -> None:
    state = STATES[number % len(STATES)]
    problem, gate = ("p99 is 1.9 × that of the version before", "p99") if state == "rolled_back" else ("", "")
    running = {"models/spotter": MODEL.format(1)} if number % 7 else {}
    facts = {"machine": "aarch64", "memory_mb": 2048}
    said = CheckIn(
        deployment=1, state=state, problem=problem, gate=gate, running=running, littoral="0.1.0", facts=facts
    )
    fleet.found.fleet.saw(name, said)
