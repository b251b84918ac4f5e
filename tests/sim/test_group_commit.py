"""When a shard host makes writes durable, with times given."""

import random

import pytest

from littoral.vectors.group_commit import IDLE_S, UNFLUSHED_BYTES_MAX, WINDOW_S, GroupCommit


def test_nothing_applied_is_nothing_due() -> None:
    commit = GroupCommit()
    assert commit.deadline() is None
    assert not commit.sync_due(1e9, is_idle=True)
    assert not commit.flush_due(1e9)


def test_a_lone_durable_write_is_synced_at_once() -> None:
    commit = GroupCommit()
    commit.applied(10.0, 100, awaited=True)
    assert commit.sync_due(10.0, is_idle=True)
    assert not commit.flush_due(10.0)
    commit.syncing()
    assert not commit.sync_due(10.0, is_idle=True)


def test_a_stream_of_writes_is_synced_within_the_window() -> None:
    commit = GroupCommit()
    commit.applied(10.0, 100, awaited=True)
    commit.applied(10.004, 100, awaited=True)
    assert not commit.sync_due(10.004, is_idle=False)
    assert commit.sync_due(10.0 + WINDOW_S, is_idle=False)


def test_a_flush_comes_when_it_is_quiet_or_much() -> None:
    commit = GroupCommit()
    commit.flushed(10.0, took_s=0.1)
    commit.requested(20.0)
    commit.applied(20.0, 100, awaited=False)
    commit.requested(20.2)
    assert not commit.flush_due(20.2 + IDLE_S / 2)
    assert commit.deadline() == 20.0 + IDLE_S  # then the log is synced
    assert commit.deadline(is_syncing=True) == 20.2 + IDLE_S
    assert commit.flush_due(20.2 + IDLE_S)
    commit.applied(20.3, UNFLUSHED_BYTES_MAX, awaited=False)
    assert commit.flush_due(20.3)


def test_in_a_stream_of_requests_flushes_take_a_hundredth_of_the_time() -> None:
    commit, now, flushes = GroupCommit(), 0.0, 0
    while now < 100.0:
        now += 0.01
        commit.requested(now)
        commit.applied(now, 100, awaited=False)
        if commit.flush_due(now):
            flushes += 1
            commit.flushed(now, took_s=0.1)
    assert 100 * 0.01 / 0.1 * 0.7 < flushes <= 100 * 0.01 / 0.1


@pytest.mark.parametrize("seed", range(20))
def test_no_write_is_left_behind(seed: int) -> None:
    rng = random.Random(seed)
    commit, now = GroupCommit(), 0.0
    unflushed: list[tuple[float, int]] = []
    awaited: list[float] = []
    unsynced: list[float] = []
    for _ in range(500):
        now += rng.choice([0.0, 0.0005, 0.003, 0.2])
        deadline = commit.deadline()
        if deadline is not None and deadline <= now:
            now = deadline  # the server sleeps no longer than this
        if rng.random() < 0.7:
            commit.requested(now)
            size_bytes, is_awaited = rng.choice([100, 1 << 20, 6 << 20]), rng.random() < 0.5
            unflushed.append((now, size_bytes))
            awaited += [now] if is_awaited else []
            unsynced.append(now)
            commit.applied(now, size_bytes, awaited=is_awaited)
        if commit.flush_due(now):
            commit.flushed(now, took_s=0.002)
            unflushed.clear()
            awaited.clear()
            unsynced.clear()
        elif commit.sync_due(now, is_idle=rng.random() < 0.3):
            commit.syncing()
            awaited.clear()
            unsynced.clear()
        assert all(now - at < WINDOW_S for at in awaited)
        assert all(now - at < 2 * IDLE_S for at, _ in unflushed)
        assert all(now - at < IDLE_S for at in unsynced)
        assert sum(size for _, size in unflushed) < UNFLUSHED_BYTES_MAX
        assert (commit.deadline() is None) == (not unflushed)
