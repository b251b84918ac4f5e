"""Every byte of every small model: each bit turned over, and some other values."""

import random

import pytest

from changed_bytes import outcome, peer
from small_models import SMALL

PARTS = 8


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", SMALL)
def test_each_change_is_an_error_or_the_same_result(name: str, part: int) -> None:
    good, rng = SMALL[name](), random.Random(part)
    with peer() as other:
        for at in range(part, len(good), PARTS):
            for by in (*(1 << bit for bit in range(8)), *rng.sample(range(1, 256), 4)):
                kind, why = outcome(good[:at] + bytes([good[at] ^ by]) + good[at + 1 :], other)
                assert kind != "fault", f"byte {at} of `{name}`, ^ {by}: {why}"
