"""From one collection to another whose vectors are of another embedder: each question is embedded anew.

What was learned of an entry stays behind, since similarities of one embedder say nothing about those of another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from littoral.answers.entries import entry_of
from littoral.answers.points import Points
from littoral.answers.store import AnswerStore
from littoral.clock import Clock
from littoral.errors import ArtifactError, RequestError
from littoral.vectors.filters import Condition, Filter, Match

__all__ = ["Carried", "carry"]

PAGE = 64
TIERS = ("curated", "learned")

Embed = Callable[[str], Awaitable[Any]]
"""A question's vector: float32[size]."""


class Carried(NamedTuple):
    """kept: that are in the other collection now. left: that no vector was made of, or that had expired."""

    kept: int
    left: int


async def carry(source: Points, target: AnswerStore, embed: Embed, clock: Clock) -> Carried:
    """Curated entries first. Takes half of the time, so that requests have the other; begun again, it goes over what
    is there already. Raises ShardError and UnavailableError where one of the collections fails.
    """
    kept = left = 0
    for tier in TIERS:
        matching = Filter(must=[Condition(key="tier", match=Match(value=tier))])
        offset: int | str | None = None
        while True:
            records, offset = await source.scroll(limit=PAGE, offset=offset, matching=matching)
            for record in records:
                is_kept = await _carried(record.payload or {}, target, embed, clock)
                kept, left = kept + is_kept, left + (not is_kept)
            if offset is None:
                break
    return Carried(kept, left)


async def _carried(payload: dict[str, Any], target: AnswerStore, embed: Embed, clock: Clock) -> bool:
    began = clock.monotonic()
    try:
        entry = msgspec.structs.replace(entry_of(payload), is_unplaced=False)
        if entry.is_expired(clock.wall()):
            return False
        if (there := await target.entry(entry.id)) is not None and there.entry.made_at_s >= entry.made_at_s:
            return True
        mark = target.mark
        await target.put(entry, await embed(entry.question), mark=mark)
    except (ArtifactError, RequestError):
        return False
    await asyncio.sleep(clock.monotonic() - began)
    return True
