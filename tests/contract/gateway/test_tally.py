"""What became of requests, by minute, and the near misses that wait for people."""

import random
from collections import Counter
from pathlib import Path

import pytest

from littoral.answers.decision import Decision
from littoral.gateway.keeping import Keeping, Part, read_part
from littoral.gateway.near_misses import NearMiss, NearMisses
from littoral.gateway.tally import OUTCOMES, ROWS_MAX, STEP_COUNT, STEP_S, Saved, Tally
from littoral.testing.clock import SimulatedClock


def miss(number: int, *, entry: int = 0, judged: bool | None = False, characters: int = 10) -> NearMiss:
    text = str(number % 10) * characters
    return NearMiss(bytes([number]) * 16, bytes([entry]) * 16, "small", 1.0, 0.9, text, text, text, text, judged)


def test_counts_and_savings_are_by_outcome() -> None:
    tally = Tally(SimulatedClock())
    assert tally.hit_share is None
    for outcome in OUTCOMES:
        tally.answered(outcome, tokens=10, cost_micro=3)
    tally.answered("semantic", tokens=5, cost_micro=1)
    assert tally.counts == dict.fromkeys(OUTCOMES, 1) | {"semantic": 2}
    assert tally.saved == Saved(tokens=35, cost_micro=10, spent_tokens=30, spent_micro=9)
    assert tally.hit_share == 3 / 7


def test_similarities_are_counted_by_twentieth() -> None:
    tally = Tally(SimulatedClock())
    for similarity in (-0.2, 0.0, 0.049, 0.5, 0.999, 1.0, 1.0000001):
        tally.nearest(similarity)
    counts = tally.similarity_counts
    assert (counts[0], counts[10], counts[19], sum(counts)) == (3, 1, 3, 7)


def test_the_history_is_what_happened_in_the_last_day() -> None:
    """Against a list of everything, over three days with pauses of up to two."""
    rng, clock = random.Random(7), SimulatedClock()
    tally, all_of_it = Tally(clock), list[tuple[int, str]]()
    for _ in range(600):
        clock.advance(rng.choice([0, 1, 20, 300, 900, 2 * 86_400 if rng.random() < 0.02 else 5]))
        outcome = rng.choice(OUTCOMES)
        tally.answered(outcome)
        all_of_it.append((int(clock.wall()) // STEP_S, outcome))
        span_s = rng.choice([60, 3_600, 6 * 3_600, 86_400])
        step_s, rows = tally.history(span_s)
        first, now = rows[0][0] // STEP_S, int(clock.wall()) // STEP_S
        least = max(first, now - STEP_COUNT + 1)
        wanted = Counter((step * STEP_S // step_s, outcome) for step, outcome in all_of_it if step >= least)
        told = {(at // step_s, name): n for at, *counts in rows for name, n in zip(OUTCOMES, counts, strict=True) if n}
        assert told == dict(wanted)
        assert len(rows) <= ROWS_MAX + 1
        assert now - first + 1 >= span_s // STEP_S


def test_near_misses_are_bounded_and_what_leaves_is_counted() -> None:
    kept = NearMisses(count_max=3, bytes_max=1_000)
    for number in range(5):
        kept.add(miss(number, judged=None if number == 2 else True))
    assert [one.id[0] for one in kept.newest(9)] == [2, 4, 3]
    assert (len(kept), kept.dropped_count) == (3, 2)
    kept.add(miss(9, characters=40))  # 640 bytes: only two others fit beside it
    assert [one.id[0] for one in kept.newest(9)] == [9, 4, 3]
    kept.add(miss(8, characters=100))
    assert (len(kept), kept.dropped_count) == (3, 4)
    assert kept.take(bytes([4]) * 16) is not None
    assert kept.take(bytes([4]) * 16) is None


def test_near_misses_of_purged_entries_are_forgotten() -> None:
    kept = NearMisses()
    for number in range(6):
        kept.add(miss(number, entry=number % 2))
    kept.forget(lambda one: one.entry == bytes(16))
    assert sorted(one.id[0] for one in kept.newest(9)) == [1, 3, 5]
    kept.forget(lambda _: True)
    assert len(kept) == 0


def test_counts_outlive_a_restart() -> None:
    clock = SimulatedClock()
    tally = Tally(clock)
    for outcome in OUTCOMES:
        for _ in range(3):
            tally.answered(outcome, tokens=10, cost_micro=3)
            clock.advance(400)
    tally.nearest(0.93)
    tally.joined()
    clock.advance(3600)
    again = Tally.of(tally.told(), clock)
    assert (again.counts, again.saved, again.joined_count) == (tally.counts, tally.saved, 1)
    assert again.similarity_counts == tally.similarity_counts
    assert again.history(86_400) == tally.history(86_400)
    clock.advance(90_000)
    assert sum(sum(row[1:]) for row in Tally.of(tally.told(), clock).history(86_400)[1]) == 0
    assert len(tally.told()) < 100_000


@pytest.mark.parametrize("told", [b"", b"{}", b"[1]", b'{"version": 2}', b"\xff" * 40])
def test_counts_that_cannot_be_read_begin_anew(told: bytes) -> None:
    assert Tally.of(told, SimulatedClock()).counts == dict.fromkeys(OUTCOMES, 0)
    assert len(NearMisses.of(told)) == 0


def test_near_misses_outlive_a_restart_with_what_is_needed_to_judge_them() -> None:
    kept = NearMisses()
    decision = Decision(False, True, 0.03, 0.9, "could be told; asked to check", (2.0, 1.0, 0.5))
    for number in range(3):
        kept.add(miss(number, judged=None)._replace(decision=decision))
    kept.dropped_count = 7
    again = NearMisses.of(kept.told())
    assert again.newest(9) == kept.newest(9)
    assert again.dropped_count == 7


async def test_what_changes_is_written_no_more_often_than_said_and_at_the_end(tmp_path: Path) -> None:
    clock, value, writes = SimulatedClock(), [0], list[bytes]()

    def told() -> bytes:
        writes.append(b"%d" % value[0])
        return writes[-1]

    file = tmp_path / "beside" / "part"
    async with Keeping([Part(file, told, lambda: value[0], 5.0)], clock) as keeping:
        await keeping.now()
        assert not writes, "nothing has changed"
        value[0] = 1
        await keeping.now()
        assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"1", 0o600)
        await keeping.now()
        value[0] = 2
        await keeping._due()
        assert writes == [b"1"], "five seconds are not over"
        clock.advance(5)
        await keeping._due()
        assert read_part(file) == b"2"
        value[0] = 3
    assert file.read_bytes() == b"3"


async def test_a_disk_that_takes_nothing_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    value = [0]
    part = Part(tmp_path / "taken" / "part", lambda: b"x", lambda: value[0], 5.0)
    async with Keeping([part], SimulatedClock()) as keeping:
        value[0] = 1
        await keeping.now()
        assert keeping.failed_count == 1
