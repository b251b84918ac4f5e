"""Whether a new generation answers as it should, before it takes the place of the one before."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from littoral.errors import ConflictError
from littoral.node.migration.pair import Side
from littoral.vectors.collection import Collection
from littoral.vectors.queries import SearchParams
from littoral.vectors.records import Hit, PointId, vectors_by_id

__all__ = ["FOUND_MIN", "RECALL_MIN", "Checked", "check", "too_bad"]

LIMIT = 10
FOUND_MIN = 0.95
RECALL_MIN = 0.9
SCORE_TOLERANCE = 1e-5


class Checked(NamedTuple):
    """points: that were looked for. found: share that found themselves, embedded anew. recall: of its usual searches
    beside comparisons with every point."""

    points: int
    found: float
    recall: float

    @property
    def is_good(self) -> bool:
        return self.found >= FOUND_MIN and self.recall >= RECALL_MIN


async def check(side: Side, sample: Sequence[PointId]) -> Checked:
    """Searches for each of these points with its own vectors, made now; the worst of what is found of each vector."""
    parts = [await _checked(side, vector, sample) for vector in side.embeds]
    return Checked(*(max(part.points for part in parts), *map(min, zip(*(part[1:] for part in parts), strict=True))))


async def _checked(side: Side, using: str, sample: Sequence[PointId]) -> Checked:
    if side.collection.config.is_single:
        records = await side.collection.retrieve(list(sample))
    else:
        records = await side.collection.retrieve(list(sample), with_vector=[using])
        records = [record for record in records if vectors_by_id([record], using)]
    if not records:
        return Checked(0, 1.0, 1.0)
    found = recalled = 0.0
    for record in records:
        vector = np.frombuffer(await side.embeds[using](record.payload), "<f4")
        exact = await _searched(side.collection, vector, using, is_exact=True)
        usual = await _searched(side.collection, vector, using, is_exact=False)
        found += _finds(exact, record.id)
        recalled += _recall(usual, exact)
    count = len(records)
    return Checked(len(records), found / count, recalled / count)


async def _searched(collection: Collection, vector: np.ndarray, using: str, *, is_exact: bool) -> list[Hit]:
    params = SearchParams(exact=is_exact)
    return await collection.search(vector, limit=LIMIT, with_payload=False, params=params, using=using)


def _finds(hits: Sequence[Hit], point: PointId) -> bool:
    """Among the first hits, or as near as all of them: the same text may be there many times."""
    if any(hit.id == point for hit in hits):
        return True
    return len(hits) == LIMIT and abs(hits[0].score - hits[-1].score) <= SCORE_TOLERANCE


def _recall(usual: Sequence[Hit], exact: Sequence[Hit]) -> float:
    """By scores, so that points that are equally near count alike."""
    if not exact:
        return 1.0
    best, last = exact[0].score, exact[-1].score
    good = sum(min(best, last) - SCORE_TOLERANCE <= hit.score <= max(best, last) + SCORE_TOLERANCE for hit in usual)
    return min(1.0, good / len(exact))


def too_bad(collection: str, checked: Checked, model: object) -> ConflictError:
    """What is raised where a generation of this model does not answer as it should."""
    return ConflictError(
        f"collection `{collection}`: of {checked.points} points {checked.found:.0%} find themselves by `{model}`, must "
        f"be {FOUND_MIN:.0%}; recall of usual searches {checked.recall:.3f}, must be {RECALL_MIN}",
        hint="does the pipeline embed what `migrate.source` names? `--drop` ends the migration",
    )
