"""What the demo indexes and asks, and how it judges the answers."""

import io
from pathlib import Path

import pytest
from PIL import Image

from littoral.demo.grades import Hit, Reply, grades_of
from littoral.demo.pictures import VIEWS, Picture, folder_pictures
from littoral.demo.questions import HITS_ASKED, Question, is_hit, plan_of, unasked
from littoral.errors import InputError


def picture(source: str, seconds: float) -> Picture:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (int(seconds * 40) % 256, 90, 30)).save(out, "JPEG")
    return Picture(source, seconds, out.getvalue())


CLIPS = [picture(source, i / 2) for source in ("street", "meadow") for i in range(10)]


def test_every_second_frame_is_indexed_and_the_others_are_asked_for() -> None:
    plan = plan_of(CLIPS)
    assert [(p.source, p.seconds) for p in plan.indexed[:3]] == [("street", 0.0), ("street", 1.0), ("street", 2.0)]
    unseen = [q.picture for q in plan.questions if q.kind == "unseen"]
    assert len(unseen) == 10
    assert not {(p.source, p.seconds) for p in unseen} & {(p.source, p.seconds) for p in plan.indexed}


def test_changed_views_are_of_indexed_pictures() -> None:
    plan = plan_of(CLIPS)
    indexed = {(p.source, p.seconds): p.data for p in plan.indexed}
    for view in VIEWS:
        asked = [q.picture for q in plan.questions if q.kind == view]
        assert len(asked) == len(plan.indexed)
        assert all(p.data != indexed[p.source, p.seconds] for p in asked)


def test_pictures_that_belong_to_no_clip_are_asked_too() -> None:
    unrelated = [q for q in plan_of(CLIPS).questions if not q.is_related]
    assert {q.kind for q in unrelated} == {"stranger", "clip kept out"}
    assert all(q.without == q.picture.source for q in unrelated if q.kind == "clip kept out")


def test_a_folder_has_no_unseen_pictures() -> None:
    photos = [picture(f"{i}.jpg", 0) for i in range(4)]
    plan = plan_of(photos)
    assert list(plan.indexed) == photos
    assert {q.kind for q in plan.questions} == {*VIEWS, "stranger"}


def test_the_plan_is_the_same_each_time() -> None:
    assert plan_of(CLIPS) == plan_of(CLIPS)


@pytest.mark.parametrize(
    ("source", "seconds", "expected"),
    [
        ("street", 4.0, True),
        ("street", 3.0, True),
        ("street", 2.9, False),
        ("meadow", 4.0, False),
        ("street", "4", False),
    ],
)
def test_a_hit_is_the_right_clip_within_a_second(source: str, seconds: object, expected: bool) -> None:
    assert is_hit(picture("street", 4.0), source, seconds) is expected


def reply(kind: str, found: float | None, score: float) -> Reply:
    """found: seconds of the second neighbour; the first is of another clip."""
    hits = (Hit("meadow", 1.0, score), *(() if found is None else (Hit("street", found, score - 0.01),)))
    return Reply(Question(kind, picture("street", 1.0)), hits[:HITS_ASKED], {"decode": 2.0}, 30.0)


def test_rates_are_shares_of_the_related_questions() -> None:
    grades = grades_of([reply("unseen", 1.0, 0.9), reply("cropped", 9.0, 0.8), reply("stranger", None, 0.2)])
    assert (grades.hit_rate, grades.rank_1_rate) == (0.5, 0.0)
    assert grades.hit_rate_by_kind == {"unseen": 1.0, "cropped": 0.0}
    assert grades.gap == pytest.approx(0.7)
    assert grades.stages_p50_ms == {"decode": 2.0}


@pytest.mark.parametrize(("misses", "is_good"), [(0, True), (2, True), (3, False)])
def test_one_weak_kind_fails_the_check(misses: int, is_good: bool) -> None:
    """Of 120 questions at most 6 may miss, and at most 2 of the 20 of one kind."""
    replies = [reply("unseen", 1.0, 0.9)] * 100 + [reply("cropped", 9.0, 0.9)] * misses
    replies += [reply("cropped", 1.0, 0.9)] * (20 - misses) + [reply("stranger", None, 0.1)]
    assert grades_of(replies).is_good is is_good


def test_files_that_are_no_pictures_are_left_out_by_name(tmp_path: Path) -> None:
    good = picture("a.jpg", 1.0)
    (tmp_path / "a.jpg").write_bytes(good.data)
    (tmp_path / "cut.jpg").write_bytes(good.data[: len(good.data) // 2])
    (tmp_path / "text.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_bytes(b"not looked at")
    Image.new("CMYK", (8, 8)).save(tmp_path / "print.jpg")
    found = folder_pictures(tmp_path)
    assert [p.source for p in found.pictures] == ["a.jpg"]
    assert [line.partition(":")[0] for line in found.refused] == ["`cut.jpg`", "`print.jpg`", "`text.png`"]
    assert found.refused[1] == "`print.jpg`: colours in CMYK"


def test_a_folder_of_nothing_but_broken_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"holds no picture: `text.png`: cannot identify image file"):
        folder_pictures(tmp_path)


def test_a_model_may_be_calibrated_on_what_no_question_shows() -> None:
    clips = [picture(source, i / 2) for source in ("street", "meadow") for i in range(40)]
    plan, free = plan_of(clips), unasked(clips)
    asked = {(q.picture.source, q.picture.seconds) for q in plan.questions}
    assert free
    assert {id(p) for p in free} < {id(p) for p in plan.indexed}
    assert not asked & {(p.source, p.seconds) for p in free}
