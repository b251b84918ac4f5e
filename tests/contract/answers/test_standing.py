"""Who may be told what another author's question brought, and whose questions count in it."""

import random
from typing import Any

import numpy as np
import pytest

from littoral.answers.asked import Asked
from littoral.answers.entries import Entry, Near
from littoral.answers.labels import Labels
from littoral.answers.observations import OBSERVATIONS_MAX
from littoral.answers.standing import Standing, Trust, standing
from littoral.errors import ArtifactError

EVE, ANN, BOB = b"eve", b"ann", b"bob"


def seen(*rows: tuple[bytes, bool]) -> Labels:
    labels = Labels()
    for author, is_correct in rows:
        labels = labels.added(0.9, is_correct, author)
    return labels


def stands(
    labels: Labels,
    reader: bytes,
    trust: Trust | None = None,
    *,
    tier: Any = "learned",
    questions: tuple[str, str] = ("How tall is the tower?", "What is the tower's height?"),
) -> Standing:
    cached, asked = questions
    entry = Entry(
        tenant="a",
        model="m",
        exact=bytes(32),
        partition=bytes(16),
        question=cached,
        answer=b"{}",
        made_at_s=0,
        author=EVE,
        tier=tier,
    )
    near = Near(entry, 0.9, labels.observations, labels)
    reads = Asked("a", "m", bytes(32), bytes(16), asked, "semantic", author=reader)
    return standing(near, reads, trust or Trust(confirmations_min=2))


def test_its_own_author_is_told_and_learns_from_its_own_questions() -> None:
    found = stands(seen(*[(EVE, True)] * 9), EVE)
    assert found.may
    assert len(found.observations) == 9


def test_others_wait_for_others_who_found_it_right() -> None:
    assert "0 of 2" in stands(seen(*[(EVE, True)] * 40), ANN).reason
    assert "1 of 2" in stands(seen((ANN, True), (ANN, True), (BOB, False)), BOB).reason
    assert stands(seen((ANN, True), (BOB, True)), BOB).may


def test_what_the_author_asked_teaches_others_nothing() -> None:
    found = stands(seen(*[(EVE, True)] * 40, (ANN, True), (BOB, True), (ANN, False)), BOB)
    assert len(found.observations) == 3
    assert list(found.observations.are_correct) == [True, True, False]


def test_one_among_others_counts_no_more_than_its_share() -> None:
    rows = seen(*[(ANN, True)] * 40, (BOB, False), (b"cid", True))
    trust = Trust(confirmations_min=2, observations_of_one_max=4)
    assert len(stands(rows, b"dan", trust).observations) == 6
    assert len(stands(rows, ANN, trust).observations) == 42


def test_curated_answers_and_trusting_tenants_wait_for_nobody() -> None:
    assert stands(Labels(), ANN, tier="curated").may
    assert stands(Labels(), ANN, Trust(told="tenant")).may


def test_told_to_its_author_alone() -> None:
    rows = seen((ANN, True), (BOB, True))
    assert not stands(rows, ANN, Trust(told="author")).may
    assert stands(rows, EVE, Trust(told="author")).may


def test_differing_facts_keep_even_ones_own_and_curated_answers_back() -> None:
    found = stands(Labels(), EVE, tier="curated", questions=("Is 4 prime?", "Is 5 prime?"))
    assert not found.may
    assert "numbers" in found.reason


def test_who_asks_often_displaces_itself() -> None:
    rows = seen(*[(ANN, True)] * 5, *[(EVE, True)] * 500)
    assert len(rows.observations) == OBSERVATIONS_MAX
    assert len(rows.heard(without=EVE)) == 5


@pytest.mark.parametrize("seed", range(5))
def test_what_is_forgotten_does_not_depend_on_what_was_found(seed: int) -> None:
    draw = random.Random(seed)
    authors = [draw.randbytes(4) for _ in range(6)]
    asked = [(draw.choice(authors), draw.random()) for _ in range(400)]
    right, mixed = Labels(), Labels()
    for author, similarity in asked:
        right = right.added(similarity, True, author)
        mixed = mixed.added(similarity, draw.random() < 0.5, author)
    assert np.array_equal(right.heard().similarities, mixed.heard().similarities)


def test_labels_come_back_as_they_were_told() -> None:
    labels = seen((ANN, True), (BOB, False))
    assert Labels.of(labels.told()) == labels


def test_the_new_one_is_always_among_them() -> None:
    labels = seen(*[(ANN, True)] * OBSERVATIONS_MAX).added(0.25, False, BOB)
    assert labels.heard(without=ANN).similarities.tolist() == [0.25]


def test_labels_without_authors_are_nobodys() -> None:
    told = seen((ANN, True), (BOB, True)).told()
    assert Labels.of({"observations": told["observations"]}).confirmed_by(without=EVE) == 1


def test_what_is_no_base64_is_refused() -> None:
    with pytest.raises(ArtifactError):
        Labels.of({"observations": "%"})
