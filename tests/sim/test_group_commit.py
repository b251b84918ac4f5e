"""When a shard host flushes, with times given."""

import random

import pytest

from littoral.vectors.group_commit import IDLE_S, UNFLUSHED_BYTES_MAX, WINDOW_S, GroupCommit


def test_nothing_applied_is_nothing_due() -> None:
    commit = GroupCommit()
    assert commit.deadline() is None
    assert not commit.due(1e9, is_idle=True)


def test_a_lone_durable_write_is_flushed_at_once() -> None:
    commit = GroupCommit()
    commit.applied(10.0, 100, awaited=True)
    assert commit.due(10.0, is_idle=True)


def test_a_stream_of_writes_is_flushed_within_the_window() -> None:
    commit = GroupCommit()
    commit.applied(10.0, 100, awaited=True)
    commit.applied(10.004, 100, awaited=True)
    assert not commit.due(10.004, is_idle=False)
    assert commit.due(10.0 + WINDOW_S, is_idle=False)


def test_what_nobody_waits_for_is_flushed_when_it_is_old_or_much() -> None:
    commit = GroupCommit()
    commit.applied(10.0, 100, awaited=False)
    assert not commit.due(10.0 + IDLE_S / 2, is_idle=True)
    assert commit.due(10.0 + IDLE_S, is_idle=True)
    commit.applied(10.1, UNFLUSHED_BYTES_MAX, awaited=False)
    assert commit.due(10.1, is_idle=False)


@pytest.mark.parametrize("seed", range(20))
def test_no_write_is_left_behind(seed: int) -> None:
    rng = random.Random(seed)
    commit, now = GroupCommit(), 0.0
    unflushed: list[tuple[float, int, bool]] = []
    for _ in range(500):
        now += rng.choice([0.0, 0.0005, 0.003, 0.2])
        deadline = commit.deadline()
        if deadline is not None and deadline <= now:
            now = deadline  # the server sleeps no longer than this
        if rng.random() < 0.7:
            write = (now, rng.choice([100, 1 << 20, 6 << 20]), rng.random() < 0.5)
            unflushed.append(write)
            commit.applied(write[0], write[1], awaited=write[2])
        if commit.due(now, is_idle=rng.random() < 0.3):
            commit.flushed()
            unflushed.clear()
        assert all(now - at < WINDOW_S for at, _, awaited in unflushed if awaited)
        assert all(now - at < IDLE_S for at, _, _ in unflushed)
        assert sum(size for _, size, _ in unflushed) < UNFLUSHED_BYTES_MAX
        assert (commit.deadline() is None) == (not unflushed)
