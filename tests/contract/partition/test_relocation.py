"""A shard on its way: whatever happens in whatever order, nothing acknowledged is lost or unread."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.errors import ConflictError
from littoral.vectors.partition.relocation import (
    FAILURES_MAX,
    ROUNDS_MAX,
    BothWritten,
    Compared,
    Contents,
    Copied,
    Dropped,
    Event,
    Failed,
    Place,
    Relocation,
    Seen,
    Turn,
    Withdrawn,
    advance,
    begun,
    places,
    todo,
)

SOURCE, TARGET = Place(3, "a"), Place(3, "b")
EPOCH = 8
NODES = 3
SAME = Contents(1, b"one")


class Mesh:
    """Three nodes that learn of steps and epochs at their own time, and write and read by what they know."""

    def __init__(self, *, keeps_source: bool) -> None:
        self.relocation = begun(SOURCE, TARGET, epoch=EPOCH, keeps_source=keeps_source)
        self.held: dict[Place, set[int]] = {SOURCE: set(range(100, 120)), TARGET: set()}
        self.acknowledged = set(self.held[SOURCE])
        self.known = [self.relocation] * NODES
        self.epochs = [EPOCH - 1] * NODES
        self.cursor = 0

    def learn(self, node: int) -> None:
        """A node takes over the shard map as it is now."""
        self.known[node] = self.relocation
        self.epochs[node] = EPOCH if self.relocation.step in ("flipping", "dropping", "done") else EPOCH - 1

    def write(self, node: int, point: int) -> None:
        _, targets = places(self.known[node], self.epochs[node])
        for place in targets:
            self.held[place].add(point)
        self.acknowledged.add(point)

    def read(self, node: int) -> set[int]:
        place, _ = places(self.known[node], self.epochs[node])
        return self.held[place]

    def work(self) -> None:
        """The runner does what is next, if it may."""
        step = self.relocation.step
        if step == "planned":
            self.told(Turn())
        elif step == "writing-both" and all(one.step == "writing-both" for one in self.known):
            self.told(BothWritten())
        elif step == "copying":
            missing = sorted(self.held[SOURCE] - self.held[TARGET])[:5]
            self.held[TARGET] |= set(missing)
            self.told(Copied(len(missing), is_whole=not self.held[SOURCE] - self.held[TARGET]))
        elif step == "comparing":
            self.told(Compared(contents(self.held[SOURCE]), contents(self.held[TARGET] & self.held[SOURCE])))
        elif step == "flipping":
            self.told(Seen(min(self.epochs)))
        elif step == "dropping":
            self.held[SOURCE].clear()
            self.told(Dropped())
        elif step == "undoing" and all(one.step == "undoing" for one in self.known):
            self.held[TARGET].clear()
            self.told(Dropped())

    def told(self, event: Event) -> None:
        self.relocation = advance(self.relocation, event)

    def finish(self) -> None:
        for _ in range(200):
            self.work()
            for node in range(NODES):
                self.learn(node)


def contents(points: set[int]) -> Contents:
    return Contents(len(points), b",".join(str(point).encode() for point in sorted(points)))


happenings = st.lists(
    st.one_of(
        st.just(("work", 0)),
        st.just(("work", 0)),
        st.tuples(st.just("learn"), st.integers(0, NODES - 1)),
        st.tuples(st.just("learn"), st.integers(0, NODES - 1)),
        st.tuples(st.just("write"), st.integers(0, NODES - 1)),
        st.just(("fail", 0)),
        st.just(("withdraw", 0)),
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(happenings=happenings, keeps_source=st.booleans(), may_withdraw=st.booleans())
def test_nothing_acknowledged_is_lost_or_unread(
    happenings: list[tuple[str, int]], keeps_source: bool, may_withdraw: bool
) -> None:
    mesh = Mesh(keeps_source=keeps_source)
    for number, (what, node) in enumerate(happenings):
        if what == "work":
            mesh.work()
        elif what == "learn":
            mesh.learn(node)
        elif what == "write":
            mesh.write(node, number)
        elif what == "fail":
            mesh.told(Failed("no route"))
        elif may_withdraw:
            mesh.told(Withdrawn("enough"))
        assert all(mesh.acknowledged <= mesh.read(node) for node in range(NODES))
    mesh.finish()
    assert mesh.relocation.step in ("done", "undone")
    assert all(mesh.read(node) == mesh.acknowledged for node in range(NODES))
    given_up = TARGET if mesh.relocation.step == "undone" else SOURCE
    assert keeps_source or not mesh.held[given_up]


def at(*events: Event) -> Relocation:
    found = begun(SOURCE, TARGET, epoch=EPOCH)
    for event in events:
        found = advance(found, event)
    return found


TO_FLIP = (Turn(), BothWritten(), Copied(10, is_whole=True), Compared(SAME, SAME))


def test_steps_in_order() -> None:
    events = (*TO_FLIP, Seen(EPOCH), Dropped())
    steps = [at(*events[:count]).step for count in range(len(events) + 1)]
    assert steps == ["planned", "writing-both", "copying", "comparing", "flipping", "dropping", "done"]
    assert at(*events).copied_bytes == 10
    assert [bool(todo(at(*events[:count]))) for count in range(len(events) + 1)] == [True] * 6 + [False]


def test_what_differs_is_sent_again_and_given_up_in_the_end() -> None:
    other = Contents(0, b"")
    again = (Copied(1, is_whole=True), Compared(SAME, other))
    once = at(Turn(), BothWritten(), *again)
    assert (once.step, once.rounds) == ("copying", 1)
    given_up = at(Turn(), BothWritten(), *again * ROUNDS_MAX)
    assert given_up.step == "undoing"
    assert given_up.reason == f"not equal after {ROUNDS_MAX} comparisons: 1 points in the source, 0 in the target"
    assert "delete shard 3 on `b`: not equal" in todo(given_up)


def test_failures_take_it_back_before_the_flip_and_not_after() -> None:
    failures = (Failed("no route"),) * FAILURES_MAX
    assert at(Turn(), *failures).step == "undoing"
    assert at(*TO_FLIP, *failures).step == "flipping"
    assert at(*TO_FLIP, Seen(EPOCH), *failures).step == "dropping"
    assert at(Turn(), *failures[1:], BothWritten(), *failures[1:]).step == "copying"


def test_it_can_be_withdrawn_before_the_flip_and_not_after() -> None:
    gone = Withdrawn("the node leaves")
    assert at(gone).step == "undone"
    assert at(Turn(), BothWritten(), gone).step == "undoing"
    assert at(*TO_FLIP, gone).step == "flipping"


def test_what_is_told_twice_or_late_changes_nothing() -> None:
    state = at(*TO_FLIP)
    for event in (*TO_FLIP, Seen(EPOCH - 1)):
        assert advance(state, event) == state
    done = at(*TO_FLIP, Seen(EPOCH), Dropped())
    for event in (*TO_FLIP, Seen(EPOCH + 1), Dropped(), Failed("late"), Withdrawn("late")):
        assert advance(done, event) == done


def test_dropping_too_early_is_refused() -> None:
    for count in range(len(TO_FLIP) + 1):
        with pytest.raises(ConflictError, match="dropped while"):
            advance(at(*TO_FLIP[:count]), Dropped())


def test_source_and_target_differ() -> None:
    with pytest.raises(ConflictError, match="`a` is source and target"):
        begun(SOURCE, SOURCE, epoch=1)


def test_a_state_outlives_its_runner() -> None:
    state = at(*TO_FLIP)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Relocation) == state
