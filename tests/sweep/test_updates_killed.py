"""A real node of a fleet, killed in each state that lasts: it goes on from where it was."""

import time
from collections.abc import Iterator

import msgspec
import pytest

from fleet_gateway import Gateway, in_a_fleet, times
from fleet_server import SHORT
from littoral.updates.deployment.machine import STARTS_MAX
from littoral.updates.wire import Window


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with in_a_fleet() as made:
        yield made


def test_killed_in_each_state_it_goes_on(gateway: Gateway) -> None:
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    gateway.kill_node()
    assert gateway.factor() == 2
    never = Window(days=((time.gmtime().tm_wday + 3) % 7,), from_minute=0, to_minute=1)
    long = msgspec.structs.replace(SHORT, canary_s=600.0, watch_s=600.0)
    for state, factor, more in (
        ("idle", 3, {"bytes_per_s_max": 1}),
        ("verified", 4, {"windows": (never,)}),
        ("canary", 5, {"gates": long}),
        ("active", 6, {"gates": msgspec.structs.replace(SHORT, watch_s=600.0)}),
    ):
        number = gateway.deploy(times(factor), **more)
        gateway.wait(number, state)
        gateway.kill_node()
        gateway.wait(number, state)
        assert gateway.factor() == (factor if state == "active" else 2)
    last = gateway.deploy(times(7))
    gateway.wait(last, "settled")
    assert gateway.factor() == 7
    gateway.process.kill()  # type: ignore[union-attr]
    gateway.process.wait(60)  # type: ignore[union-attr]
    gateway.orchestrator.stop()
    gateway.start()
    assert gateway.factor() == 7
    assert gateway.told()["deployment"] == last


def test_what_settled_and_ends_again_and_again_is_left_for_what_settled_before(gateway: Gateway) -> None:
    gateway.start()
    for factor in (2, 3, 4):
        gateway.wait(gateway.deploy(times(factor)), "settled")
    for serves, back in ((2, 1), (1, None)):
        for _ in range(STARTS_MAX + 1):
            gateway.kill_node()
        told = gateway.told()
        assert (told["running"]["deployment"], told["back"], told["gate"]) == (serves, back, "crash")
        assert gateway.factor() == serves + 1
    for _ in range(STARTS_MAX + 1):
        gateway.kill_node()
    assert gateway.factor() == 2
