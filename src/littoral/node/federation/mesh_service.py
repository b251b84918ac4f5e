"""Answers peers: reads and writes of the shards that lie here."""

from collections.abc import Callable, Mapping

from littoral.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    LittoralError,
    NotFoundError,
    UnavailableError,
)
from littoral.node.federation.asking import Counts, Target
from littoral.node.federation.local_shards import LocalShards, Terms
from littoral.node.federation.messages import READ, WRITE, Ask, Told, decode_ask, encode
from littoral.node.federation.placing import may_have_copies
from littoral.node.federation.residency import is_from_anywhere, pinned_to
from littoral.transport import Transport
from littoral.vectors import frames

__all__ = ["MeshService"]


class MeshService:
    """members: names that may ask. target: a collection by its name; raises NotFoundError, UnavailableError."""

    def __init__(
        self,
        local: LocalShards,
        target: Callable[[str], Target],
        members: Callable[[], Mapping[str, str]],
        counts: Counts,
        heard: Callable[[str, int], None],
        terms: Callable[[Ask, Target], Terms],
    ) -> None:
        """heard: told which map a caller goes by."""
        self._terms = terms
        self._local = local
        self._target = target
        self._members = members
        self._counts = counts
        self._heard = heard
        self.served: Callable[[str, Ask, bytes], object] = lambda *_: None
        """Told of each request that was answered: who asked, for what, its bytes."""

    async def open(self, transport: Transport) -> None:
        """From now on peers are answered."""
        await transport.serve(READ, self._read)
        await transport.serve(WRITE, self._write)

    async def _read(self, caller: str, body: bytes) -> bytes:
        return await self._answer(caller, body, frames.Read)

    async def _write(self, caller: str, body: bytes) -> bytes:
        return await self._answer(caller, body, frames.Write)

    async def _answer(self, caller: str, body: bytes, kind: object) -> bytes:
        region = self._members().get(caller)
        if region is None:
            self._counts.refused += 1
            raise ForbiddenError(f"node `{caller}` is no member of this site")
        ask = decode_ask(body, caller)
        if not all(isinstance(part.request, kind) for part in ask.parts):  # type: ignore[arg-type]
            raise InputError(f"request of `{caller}`: a read is no write, and a write is no read")
        self._heard(caller, ask.map_number)
        current = self._target(ask.collection)
        target = current.of(ask.model)
        if self._has_moved(ask, current, target):
            return encode(Told(current.map_number, [], has_moved=True))
        if target is None:
            raise self._strange(caller, ask, current)
        self._check(caller, region, ask, target)
        if kind is frames.Read:
            terms = Terms.of_read(ask.deadline_s, has_copies=may_have_copies(target.spread))
        else:
            terms = self._terms(ask, target)
        parts = await self._local.answer(ask.collection, ask.parts, target.config, terms)
        self.served(caller, ask, body)
        return encode(Told(target.map_number, parts))

    def _strange(self, caller: str, ask: Ask, target: Target) -> LittoralError:
        told = f"collection `{ask.collection}`: embeddings of model `{target.spread.model}`, node `{caller}` goes by "
        if ask.map_number > target.map_number:
            return UnavailableError(f"{told}`{ask.model}` and a later shard map", hint="try again")
        self._counts.refused += 1
        return ConflictError(f"{told}`{ask.model}`", hint="two models never mix in a collection")

    def _check(self, caller: str, region: str, ask: Ask, target: Target) -> None:
        known, pinned = target.spread.all_places, pinned_to(target.spread)
        for request, shard in ((part.request, shard) for part in ask.parts for shard in part.shards):
            if shard not in known and ask.map_number <= target.map_number:
                raise NotFoundError(f"collection `{ask.collection}` has {len(known)} shards, none with number {shard}")
            if shard in known and pinned.get(shard, region) != region and not is_from_anywhere(request):
                self._counts.refused += 1
                raise ForbiddenError(
                    f"shard {shard} of `{ask.collection}` is pinned to a region that node `{caller}` is not in"
                )

    @staticmethod
    def _has_moved(ask: Ask, current: Target, target: Target | None) -> bool:
        """A caller that goes by an older map asks for shards in whose place there are others by now. target: by the
        layout of his model.
        """
        if ask.map_number >= current.map_number:
            return False
        asked = {shard for part in ask.parts for shard in part.shards}
        return target is None or not target.spread.places.keys() >= asked
