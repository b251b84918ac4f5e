"""What happens to packets between the nodes of a lab, by the numbers."""

import statistics

import pytest

from littoral.errors import InputError
from littoral.lab.shape import WAN, Shape, Wires
from littoral.lab.switch import target_of

PACKET_BYTES = 1000


def arrivals(
    wires: Wires, count: int, *, every_s: float = 0.01, origin: int = 1, target: int = 2
) -> list[float | None]:
    """How long each of many packets takes."""
    times = [
        (number * every_s, wires.arrival_s(origin, target, PACKET_BYTES, number * every_s)) for number in range(count)
    ]
    return [None if arrival_s is None else arrival_s - sent_s for sent_s, arrival_s in times]


def test_delay_and_jitter_are_as_told_and_nothing_overtakes() -> None:
    wires = Wires(Shape(delay_ms=20, jitter_ms=2), seed=1)
    took = [took_s for took_s in arrivals(wires, 1000) if took_s is not None]
    assert len(took) == 1000
    assert min(took) >= 0.018
    assert max(took) <= 0.022
    assert statistics.mean(took) == pytest.approx(0.02, abs=0.0003)
    sent = [number * 0.0001 for number in range(1000)]
    came = [wires.arrival_s(3, 4, PACKET_BYTES, at_s) or 0.0 for at_s in sent]
    assert came == sorted(came)


def test_the_rate_holds_for_each_direction_and_a_full_queue_drops() -> None:
    wires = Wires(Shape(rate_mbit=8))
    burst = [wires.arrival_s(1, 2, PACKET_BYTES, 0.0) for _ in range(400)]
    came = [arrival_s for arrival_s in burst if arrival_s is not None]
    assert came == pytest.approx([0.001 * (number + 1) for number in range(len(came))])
    assert 250 <= len(came) <= 252
    assert burst[-1] is None
    assert wires.arrival_s(2, 1, PACKET_BYTES, 0.0) == pytest.approx(0.001)


def test_loss_is_a_share_and_the_same_for_the_same_seed() -> None:
    lost = [took is None for took in arrivals(Wires(Shape(loss=0.1), seed=3), 5000)]
    assert sum(lost) == pytest.approx(500, abs=80)
    assert lost == [took is None for took in arrivals(Wires(Shape(loss=0.1), seed=3), 5000)]


def test_a_cut_parts_two_groups_and_leaves_each_whole() -> None:
    wires = Wires(WAN)
    wires.cut([1, 2])
    assert [arrivals(wires, 1, origin=a, target=b)[0] is None for a, b in ((1, 3), (3, 1), (1, 2), (3, 4))] == [
        True,
        True,
        False,
        False,
    ]
    assert arrivals(wires, 1, origin=0, target=1) == [0.0]
    wires.heal()
    assert None not in arrivals(wires, 1, origin=1, target=3)


@pytest.mark.parametrize(
    "shape", [Shape(delay_ms=-1), Shape(delay_ms=1, jitter_ms=2), Shape(loss=1), Shape(rate_mbit=-1)]
)
def test_what_no_network_has_is_refused(shape: Shape) -> None:
    with pytest.raises(InputError):
        Wires(shape)


def test_packets_of_other_networks_go_nowhere() -> None:
    head = bytes([0x45]) + bytes(15)
    assert target_of(head + bytes([10, 77, 0, 3])) == 3
    assert target_of(head + bytes([10, 77, 0, 254])) == 0
    assert target_of(head + bytes([10, 78, 0, 3])) is None
    assert target_of(bytes([0x60]) + bytes(39)) is None
    assert target_of(b"\x45") is None
