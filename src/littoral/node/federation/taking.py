"""Answers of nodes to one read, as they come: whether they fit what was asked, and each shard once."""

from collections.abc import Sequence

from littoral.errors import PeerError, RequestError
from littoral.node.federation.coverage import Coverage
from littoral.node.federation.merging import WHOLE
from littoral.node.federation.messages import Part, PartTold
from littoral.vectors import frames

__all__ = ["Taking", "check_told", "is_way_lost", "is_whole", "raise_request_errors"]

_KINDS: dict[type, type] = {
    frames.Search: frames.Found,
    frames.Group: frames.Grouped,
    frames.Facet: frames.Faceted,
    frames.Scroll: frames.Records,
    frames.Retrieve: frames.Records,
    frames.Count: frames.Counted,
    frames.Info: frames.Informed,
}


class Taking:
    """Of one read. An answer that lacks writes holds until another replica answers for the same shard."""

    def __init__(self, coverage: Coverage, request: frames.Read) -> None:
        self._coverage = coverage
        self._request = request
        self._told: list[tuple[list[int], frames.Answer]] = []
        self._short: dict[int, frames.Answer] = {}
        self._behind: set[int] = set()

    def take(self, node: str, parts: Sequence[PartTold]) -> None:
        """Raises RequestError. A sum that counts a shard another answer has counted is not taken."""
        raise_request_errors(parts)
        behind = {shard for part in parts for shard in part.behind}
        for shards, answer in (one for part in parts for one in part.answers):
            if len(shards) == 1 and shards[0] in behind:
                if self._coverage.answer_in_part(node, shards[0]):
                    self._short[shards[0]] = answer
                continue
            fresh = self._coverage.answer(node, shards)
            self._behind |= fresh & behind
            if fresh == set(shards) or (fresh and isinstance(self._request, WHOLE)):
                self._told.append((shards, answer))

    @property
    def told(self) -> list[tuple[list[int], frames.Answer]]:
        """Answers, each with the shards it is for."""
        return self._told + [([shard], self._short[shard]) for shard in sorted(self._coverage.short)]

    @property
    def behind(self) -> frozenset[int]:
        """Shards whose answer may lack writes that were acknowledged."""
        return frozenset(self._behind | self._coverage.short)


def check_told(peer: str, parts: Sequence[Part], told: Sequence[PartTold]) -> None:
    """Raises PeerError where an answer is none to what was asked: nobody merges that."""
    if len(told) != len(parts):
        raise PeerError(f"peer `{peer}`: answered {len(told)} parts, asked for {len(parts)}")
    for part, one in zip(parts, told, strict=True):
        kind = _KINDS.get(type(part.request), frames.Written)
        for shards, answer in one.answers:
            if not isinstance(answer, kind) or not set(shards) <= set(part.shards):
                raise PeerError(f"peer `{peer}`: its answer is none to what it was asked")
            if isinstance(part.request, frames.Search) and isinstance(answer, frames.Found):
                _check_count(peer, len(part.request.queries), len(answer.hits))


def _check_count(peer: str, asked: int, answered: int) -> None:
    if answered != asked:
        raise PeerError(f"peer `{peer}`: answered {answered} searches, asked for {asked}")


def raise_request_errors(told: Sequence[PartTold]) -> None:
    """What the request itself is at fault for."""
    for _, failure in (found for one in told for found in one.failures):
        if isinstance(error := frames.error_of(failure), RequestError):
            raise error


def is_way_lost(told: Sequence[PartTold]) -> bool:
    """Whether the way to the node failed, not the node."""
    return any(failure.kind == PeerError.__name__ for one in told for _, failure in one.failures)


def is_whole(told: PartTold) -> bool:
    """Whether nobody else needs to be asked for the sake of it."""
    return not (told.failures or told.behind)
