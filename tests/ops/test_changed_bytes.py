"""Small models of many operators with bytes of their files changed, a sample; `make sweep` changes every one."""

import random

import pytest

from changed_bytes import outcome, peer
from small_models import SMALL


@pytest.mark.parametrize("name", SMALL)
def test_a_changed_byte_is_an_error_or_the_same_result(name: str) -> None:
    good, rng = SMALL[name](), random.Random(3)
    found = {"error": 0, "equal": 0, "alone": 0}
    with peer() as other:
        assert outcome(good, other) == ("equal", "")
        for _ in range(120):
            at, by = rng.randrange(len(good)), rng.randrange(1, 256)
            kind, why = outcome(good[:at] + bytes([good[at] ^ by]) + good[at + 1 :], other)
            assert kind != "fault", f"byte {at} of `{name}`, ^ {by}: {why}"
            found[kind] += 1
    assert found["alone"] <= 12
