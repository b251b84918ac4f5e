"""Points that may lie in a shard they do not belong to: when they are noted. Writes that count on what was seen."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from littoral.vectors.replication.entries import Change, decode_entry, key_of
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.stamps import ANY, APART, At, LateError

NOW = 1_700_000_000.0
HERE, ELSEWHERE = Change(1, b"1234", {"n": 1}), Change(1, b"5678", {"n": 2})
GONE = Change(1)


def journal(path: Path, node: str) -> Journal:
    return Journal(path / node, node, "life")


def write(into: Journal, changes: Sequence[Change], at: At = ANY) -> int:
    with into.transaction():
        return into.write(changes, NOW, at=at).time


def ship(source: Journal, target: Journal) -> None:
    with target.transaction():
        for body in source.entries_after(target.vector, 1 << 20).entries:
            target.take(decode_entry(body), body)


def noted(by: Journal) -> list[bytes]:
    return [key for key, _ in by.strays.some(10)]


def test_a_point_that_left_and_was_changed_by_who_did_not_know_is_noted_by_both(tmp_path: Path) -> None:
    first, second = journal(tmp_path, "a"), journal(tmp_path, "b")
    time = write(first, [HERE])
    ship(first, second)
    assert not noted(first)
    assert not noted(second)
    write(first, [GONE], At(time + 100))
    write(second, [ELSEWHERE], At(time + 200))
    ship(first, second)
    ship(second, first)
    assert noted(first) == noted(second) == [key_of(1)]


@pytest.mark.parametrize(("gone_at", "is_noted"), [(100, True), (300, False)])
def test_a_deletion_that_is_the_last_word_is_not(tmp_path: Path, gone_at: int, is_noted: bool) -> None:
    first, second = journal(tmp_path, "a"), journal(tmp_path, "b")
    time = write(first, [HERE])
    ship(first, second)
    write(first, [GONE], At(time + gone_at))
    write(second, [ELSEWHERE], At(time + 200))
    ship(first, second)
    assert bool(noted(second)) == is_noted == second.strays.is_any


def test_a_note_goes_with_the_write_and_outlives_the_process(tmp_path: Path) -> None:
    first = journal(tmp_path, "a")
    time = write(first, [HERE], ANY._replace(may_stray=True))
    first.close()
    again = journal(tmp_path, "a")
    assert again.strays.is_any
    assert again.strays.some(10) == [(key_of(1), time)]
    later = write(again, [ELSEWHERE], At(time + 100, may_stray=True))
    with again.transaction():
        again.strays.settle([(key_of(1), time)])
    assert again.strays.some(10) == [(key_of(1), later)], "of another write than was looked at"
    with again.transaction():
        again.strays.settle([(key_of(1), later)])
    assert not again.strays.is_any


def test_a_write_that_counts_on_what_was_seen_does_nothing_else(tmp_path: Path) -> None:
    first = journal(tmp_path, "a")
    with pytest.raises(LateError):
        write(first, [HERE], At(10_000, seen=1))
    time = write(first, [HERE], At(10_000))
    for seen, at in ((time - 1, time + 100), (time + 1, time + 100), (time, time)):
        with pytest.raises(LateError):
            write(first, [ELSEWHERE], At(at, seen=seen))
    later = write(first, [ELSEWHERE], At(time + 1, seen=time))
    write(first, [GONE], At(later + 1, seen=later))
    with pytest.raises(LateError):
        write(first, [HERE], At(later + 100, seen=later + 1))


def test_writes_that_know_nothing_of_each_other_are_apart(tmp_path: Path) -> None:
    first = journal(tmp_path, "a")
    time = write(first, [HERE], At(10_000))
    with pytest.raises(LateError) as late:
        write(first, [ELSEWHERE], At(time + APART))
    assert late.value.time >= time + APART
    with pytest.raises(LateError):
        write(first, [ELSEWHERE], At(time, apart=0))
    write(first, [ELSEWHERE], At(time + 1, apart=0))
    write(first, [HERE], At(time + 2 + APART))
