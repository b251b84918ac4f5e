"""Replicas that tell each other everything, in whatever order, end alike; what won is what was written last."""

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.vectors.replication.digests import BUCKET_COUNT
from littoral.vectors.replication.entries import Version, key_of
from replica_models import Change, Holder, point

if TYPE_CHECKING:
    from littoral.vectors.replication.stamps import Stamp

NAMES = ("a", "b", "c")
WALL = 1_700_000_000.0

holders = st.integers(0, len(NAMES) - 1)
steps = st.one_of(
    st.tuples(st.just("write"), holders, st.lists(st.integers(0, 5), min_size=1, max_size=3), st.integers(-50, 50)),
    st.tuples(st.just("delete"), holders, st.lists(st.integers(0, 5), min_size=1, max_size=3), st.integers(-50, 50)),
    st.tuples(st.just("pull"), holders, holders, st.sampled_from([1, 1 << 20])),
    st.tuples(st.just("late"), holders, st.integers(0, 200), st.just(0)),
    st.tuples(st.just("repair"), holders, holders, st.just(0)),
    st.tuples(st.just("forget"), holders, st.just(0), st.just(0)),
)
forgetting = st.tuples(st.just("forget deletions"), holders, st.just(0), st.just(0))


class Run:
    """Three replicas, what was acknowledged, and messages that may come again."""

    def __init__(self) -> None:
        self.holders = [Holder(name) for name in NAMES]
        self.acknowledged: dict[int, list[tuple[Stamp, Change]]] = {}
        self.sent: list[bytes] = []
        self.turn = 0

    def step(self, what: str, at: int, other: Any, extra: int) -> None:
        here = self.holders[at]
        self.turn += 1
        match what:
            case "write" | "delete":
                ids = list(dict.fromkeys(other))
                changes = [point(i, self.turn + i / 8) if what == "write" else Change(i) for i in ids]
                stamp = here.write(changes, WALL + extra)
                for change in changes:
                    self.acknowledged.setdefault(int(change.id), []).append((stamp, change))
            case "pull":
                self.sent += self.holders[other].journal.entries_after(here.journal.vector, extra).entries
                here.pull(self.holders[other], extra)
            case "late" if self.sent:
                here.take([self.sent[other % len(self.sent)]])
            case "repair":
                here.repair(self.holders[other])
            case "forget":
                here.journal.applied(here.journal.last_seq)
                here.journal.forget({}, 0)
            case "forget deletions":
                here.journal.applied(here.journal.last_seq)
                here.journal.forget_deletions(2**61)

    def heal(self) -> None:
        """Everyone hears everyone, twice: by logs where they reach, by repair where they do not."""
        for _ in range(3):
            for here in self.holders:
                for other in self.holders:
                    if here is not other and (not here.pull(other) or here.root() != other.root()):
                        here.repair(other)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=40))
def test_the_last_write_wins_everywhere(chosen: list[Any]) -> None:
    run = Run()
    for step in chosen:
        run.step(*step)
    run.heal()
    points = [holder.points for holder in run.holders]
    assert points[0] == points[1] == points[2]
    assert len({holder.root() for holder in run.holders}) == 1
    assert [holder.root() for holder in run.holders] == [holder.fresh_root() for holder in run.holders]
    for point_id, written in run.acknowledged.items():
        stamp, change = max(written, key=lambda one: (one[0].time, one[0].origin))
        assert points[0].get(point_id) == (None if change.vectors is None else change)
        found = run.holders[0].journal.versions_of([key_of(point_id)])[key_of(point_id)]
        assert (found.time, found.origin) == (stamp.time, stamp.origin)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(steps, forgetting), max_size=40))
def test_forgotten_deletions_do_not_part_replicas(chosen: list[Any]) -> None:
    run = Run()
    for step in chosen:
        run.step(*step)
    run.heal()
    run.heal()
    points = [holder.points for holder in run.holders]
    assert points[0] == points[1] == points[2]
    assert len({holder.root() for holder in run.holders}) == 1
    for holder in run.holders:
        live = {key_of(one) for one in holder.points}
        known = holder.journal.versions(range(BUCKET_COUNT))
        assert live == {key for key, version in known.items() if not version.is_gone}


def test_a_replica_that_was_away_for_too_long_brings_nothing_deleted_back() -> None:
    a, b = Holder("a"), Holder("b")
    a.write([point(1, 1.0), point(2, 2.0)], WALL)
    assert b.pull(a)
    a.write([Change(1)], WALL + 1)
    b.write([point(3, 3.0)], WALL + 1)
    a.journal.applied(a.journal.last_seq)
    a.journal.forget({}, 0)
    assert a.journal.forget_deletions(2**61) == 1
    assert not b.pull(a)
    a.repair(b)
    b.repair(a)
    a.repair(b)
    assert a.points.keys() == b.points.keys() == {2, 3}
    assert a.root() == b.root()


def test_of_two_writes_at_one_moment_the_higher_origin_wins_and_a_deletion_beats_its_own_version() -> None:
    assert Version(5, "b", 1).beats(Version(5, "a", 9))
    assert Version(6, "a", 1).beats(Version(5, "b", 1, is_gone=True))
    assert Version(5, "a", 1, is_gone=True).beats(Version(5, "a", 1))
    assert not Version(5, "a", 1).beats(Version(5, "a", 1))


def test_a_write_is_later_than_all_that_was_seen_even_if_the_clock_went_back() -> None:
    a, b = Holder("a"), Holder("b")
    ahead = a.write([point(1, 1.0)], WALL + 1e6)
    b.pull(a)
    behind = b.write([point(1, 2.0)], WALL)
    assert behind.time > ahead.time
    a.pull(b)
    assert a.points == b.points == {1: point(1, 2.0)}
