"""What makes a fleet worth looking at: nodes in each state, in groups, with a rollout that a gate holds."""

from fleet_pages import REGIONS, STATES, FleetPages
from littoral.updates.wire import CheckIn

__all__ = ["fill"]

COUNT = 60


def fill(fleet: FleetPages, count: int = COUNT) -> None:
    names = [f"gw-{number:03}" for number in range(count)]
    for i, region in enumerate(REGIONS):
        fleet.enrolled(names[i :: len(REGIONS)], {"region": region})
    for number, name in enumerate(names):
        if number % 10 == 9:
            continue
        state = STATES[number % len(STATES)]
        problem, gate = ("p99 is 1.9 × that of the version before", "p99") if state == "rolled_back" else ("", "")
        said = CheckIn(deployment=number % 3, state=state, problem=problem, gate=gate, littoral="0.1.0")

        async def tell(name: str = name, said: CheckIn = said) -> None:
            fleet.found.fleet.saw(name, said)

        fleet.run(tell())
