"""Whether a remembered answer is told: what more judgements may change, and what they may not."""

import pytest

from littoral.answers.decision import Policy, decide
from littoral.answers.observations import OBSERVATIONS_MAX, Observations
from littoral.answers.watch import Watch
from littoral.errors import ArtifactError


def of(*pairs: tuple[float, bool]) -> Observations:
    found = Observations()
    for similarity, is_correct in pairs:
        found = found.added(similarity, is_correct)
    return found


def test_observations_are_packed_in_five_bytes_a_pair() -> None:
    found = of((0.5, True), (0.9, False))
    assert len(found.pack()) == 10
    assert Observations.unpack(found.pack()) == found
    assert found.similarities.tolist() == [0.5, pytest.approx(0.9)]
    assert found.are_correct.tolist() == [True, False]


def test_the_newest_observations_are_kept() -> None:
    found = of(*((at / 100, True) for at in range(OBSERVATIONS_MAX + 3)))
    assert len(found) == OBSERVATIONS_MAX
    assert found.similarities[0] == pytest.approx(0.03)


@pytest.mark.parametrize("packed", [b"1234", b"\x00\x00\x00\x7f\x01", b"\x00\x00\x00\x00\x02", bytes(5 * 65)])
def test_bytes_that_are_no_observations_are_refused(packed: bytes) -> None:
    with pytest.raises(ArtifactError):
        Observations.unpack(packed)


def test_an_entry_that_was_never_judged_is_not_told() -> None:
    assert not decide(Observations(), 1.0, Policy(delta=0.5), 0.99).serve
    assert not Watch(Policy(delta=0.5)).decide(Observations(), 1.0, 0.99).serve
