"""The same calls for a node and for Qdrant's own client in its in-memory mode, whose outcomes must be alike.

Alike: equal up to rounding; hits of equal score in any order, and where a page ends between them, any of them; a call
that one refuses is refused by the other, by the node with a status that blames the caller.
"""

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

CALLERS_FAULT = (400, 404, 409, 413, 422)
UNLIKE = {"operation_id", "version", "status", "shard_key"}
"""Fields that may differ: the in-memory mode has one epoch and knows no log."""


class Refused:
    """A call that raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"refused: {type(self.error).__name__}: {str(self.error)[:300]}"


class Twins:
    """ours: a client of the node. theirs: one in memory."""

    def __init__(self, ours: QdrantClient, theirs: QdrantClient) -> None:
        self.ours = ours
        self.theirs = theirs

    def both(self, call: str, *arguments: Any, **options: Any) -> None:
        """For preparations: neither may be refused."""
        for found in self.outcomes(call, *arguments, **options):
            assert not isinstance(found, Refused), (call, found)

    def outcomes(self, call: str, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        return outcome(self.ours, call, *arguments, **options), outcome(self.theirs, call, *arguments, **options)

    def alike(self, call: str, *arguments: Any, **options: Any) -> Any:
        """Makes the call twice; what the node said."""
        ours, theirs = self.outcomes(call, *arguments, **options)
        if isinstance(ours, Refused) or isinstance(theirs, Refused):
            assert isinstance(ours, Refused), (call, arguments, options, ours, theirs)
            assert isinstance(theirs, Refused), (call, arguments, options, ours, theirs)
            assert blames_caller(ours.error), (call, options, ours)
            return ours
        difference = unlike(plain(ours), plain(theirs), "result")
        assert difference is None, f"{call} {arguments} {options}: {difference}\nours   {ours}\ntheirs {theirs}"
        return ours

    def alike_ids(self, call: str, *arguments: Any, **options: Any) -> None:
        """For answers whose order is not that of their scores: the same points in the same order."""
        ours, theirs = self.outcomes(call, *arguments, **options)
        assert [hit.id for hit in ours.points] == [hit.id for hit in theirs.points], (call, options)
        assert unlike(plain(ours), plain(theirs), call) is None

    def alike_values(self, collection: str, order: models.OrderBy, key: str) -> list[Any]:
        """Points in the order of a payload's value: the same values, and for each the same points."""
        pages = [
            [(one.order_value, str(one.id)) for one in client.scroll(collection, order_by=order, limit=1000)[0]]
            for client in (self.ours, self.theirs)
        ]
        assert sorted(pages[0]) == sorted(pages[1]), (key, order)
        assert [value for value, _ in pages[0]] == [value for value, _ in pages[1]], (key, order)
        query = models.OrderByQuery(order_by=order)
        asked = [client.query_points(collection, query, limit=9) for client in (self.ours, self.theirs)]
        values = [[hit.payload[key] for hit in one.points] for one in asked]
        assert values[0] == values[1], (key, order)
        return pages[0]

    def refused(self, call: str, *arguments: Any, **options: Any) -> Refused:
        """As `alike`, for calls that must be refused."""
        found = self.alike(call, *arguments, **options)
        assert isinstance(found, Refused), (call, arguments, options, found)
        return found


def outcome(client: QdrantClient, call: str, *arguments: Any, **options: Any) -> Any:
    """In memory, the client warns that indexes do nothing, and of other things that are no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return getattr(client, call)(*arguments, **options)
        except (UnexpectedResponse, ValidationError, ValueError, KeyError, TypeError, AssertionError) as error:
            return Refused(error)


def blames_caller(error: Exception) -> bool:
    """Refused by the node as the caller's fault, or by the client before it was sent."""
    return not isinstance(error, UnexpectedResponse) or error.status_code in CALLERS_FAULT


def plain(found: Any) -> Any:
    """Models as dictionaries."""
    if isinstance(found, BaseModel):
        return {name: plain(getattr(found, name)) for name in type(found).model_fields if name not in UNLIKE}
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [plain(value) for value in found]
    return found


def unlike(ours: Any, theirs: Any, where: str) -> str | None:
    """What differs, or None."""
    if is_ranking(ours) and is_ranking(theirs):
        return unlike_rankings(ours, theirs, where)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return f"{where}: keys {sorted(map(str, ours))} and {sorted(map(str, theirs))}"
        return first(unlike(ours[key], theirs[key], f"{where}.{key}") for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            return f"{where}: {len(ours)} and {len(theirs)}"
        pairs = enumerate(zip(ours, theirs, strict=True))
        return first(unlike(one, other, f"{where}[{i}]") for i, (one, other) in pairs)
    if isinstance(ours, float) and isinstance(theirs, float | int) and not isinstance(theirs, bool):
        return None if math.isclose(ours, theirs, rel_tol=1e-4, abs_tol=2e-5) else f"{where}: {ours} and {theirs}"
    return None if ours == theirs and type(ours) is type(theirs) else f"{where}: {ours!r} and {theirs!r}"


def first(found: Iterator[str | None]) -> str | None:
    return next((one for one in found if one is not None), None)


def is_ranking(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(one, dict) and "score" in one for one in found)


def unlike_rankings(ours: list[Any], theirs: list[Any], where: str) -> str | None:
    """Scores in the same order, and each point that both found with the same content.

    Which of several points with the first or the last score are on a page is chance.
    """
    if len(ours) != len(theirs):
        return f"{where}: {len(ours)} and {len(theirs)}"
    for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if difference := unlike(one["score"], other["score"], f"{where}[{i}].score"):
            return difference
        if difference := unlike(one.get("order_value"), other.get("order_value"), f"{where}[{i}].order_value"):
            return difference
    by_id = {str(other.get("id", i)): other for i, other in enumerate(theirs)}
    edges = (ours[0]["score"], ours[-1]["score"])
    for i, one in enumerate(ours):
        if (other := by_id.get(str(one.get("id", i)))) is None:
            if all(unlike(one["score"], edge, "") for edge in edges):
                return f"{where}[{i}]: {one['id']} is not among theirs"
        elif difference := unlike(one, other, f"{where}[{i}] ({one.get('id')})"):
            return difference
    return None


@contextlib.contextmanager
def in_memory() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()
