"""The part of the node that writes the shard map: begins, checks, ends and takes back what goes to another model."""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random

import msgspec
import numpy as np

from littoral.errors import ConflictError, LittoralError, NotFoundError, NotOfferedError
from littoral.mesh.shard_map import MODEL_CHARACTERS_MAX, Change, Generation, Spread
from littoral.node.federation.federation import Federation
from littoral.node.federation.generations import anew, config_of, holding
from littoral.node.federation.moving.sampling import payloads_of, points_of
from littoral.node.federation.moving.steps import withdrawn
from littoral.node.federation.residency import check_still_pinned, pinned_to
from littoral.node.migration.bindings import Bindings, Parts, called
from littoral.node.migration.checking import Checked, check, too_bad
from littoral.node.migration.failing import Failing
from littoral.node.migration.pair import Side
from littoral.node.migration.sources import Source
from littoral.node.migration.spread.layouts import goes_by_vectors, layout_of
from littoral.node.migration.spread.members import Members
from littoral.node.migration.spread.messages import CAN, Can, decode_cannot, encode
from littoral.vectors.collection import Collection
from littoral.vectors.indexes import parse_schema
from littoral.vectors.model_version import listed
from littoral.vectors.partition.points import Vectors
from littoral.vectors.records import CollectionConfig, Payload, PointId

__all__ = ["Writer"]

CAN_S = 120.0
SAMPLE_COUNT = 2048
CHECKED_COUNT = 64
PAGE = 1000
IDS_MAX = 100_000
AGAIN_S = 10.0


class Writer:
    """For one event loop."""

    def __init__(self, parts: Parts, bindings: Bindings, federation: Federation, members: Members) -> None:
        self._parts = parts
        self._bindings = bindings
        self._federation = federation
        self._members = members
        self._changing = asyncio.Lock()
        self._checks: dict[str, asyncio.Task[None]] = {}
        self._good: dict[str, int] = {}
        """By collection, the map's number since which it is copied to a layout that was found good."""
        self._again_s: dict[str, float] = {}
        self.checked: dict[str, Checked] = {}
        self.whys: dict[str, str] = {}
        self._failing: dict[str, Failing] = {}

    async def close(self) -> None:
        """What is being checked is given up."""
        for task in self._checks.values():
            task.cancel()
        await asyncio.gather(*self._checks.values(), return_exceptions=True)

    async def start(self, name: str, told: str) -> None:
        """Raises ConflictError, NotFoundError, NotOfferedError; ConflictError naming the nodes that lack the model."""
        async with self._changing:
            spread = self._federation.keeper.spread_to_write(name)
            if _goes_to(spread) == told:
                return
            collection = self._parts.collections.get(name)
            vectors = self._check_can_go(name, spread, told, collection)
            sources = [self._bindings.source(name, vector) for vector in vectors]
            for source in sources:
                await _check_sources(collection, source)
            sizes = await self._sizes(name, told, vectors)
            fits_anew = goes_by_vectors(spread) and spread.vector in vectors
            sample = await self._sample(name, spread, told) if fits_anew else None
            spread = self._federation.keeper.spread_to_write(name)
            self._check_can_go(name, spread, told, collection)
            self._federation.keeper.write({name: self._begun(name, spread, told, sizes, sample)})
            self.checked.pop(name, None)
            self._parts.say(f"collection `{name}`: is embedded anew by `{told}`, from {_listed(sources)}")

    def _check_can_go(self, name: str, spread: Spread, told: str, collection: Collection) -> list[str]:
        """The vectors that are embedded anew."""
        if spread.change is not None:
            raise ConflictError(
                f"collection `{name}` is on its way already, step `{spread.change.step}`",
                hint="`--back` takes the generation before, `--drop` ends the one that does not answer",
            )
        if len(told) > MODEL_CHARACTERS_MAX:
            raise ConflictError(
                f"collection `{name}`: its models take {len(told)} characters where nodes tell them each other, at "
                f"most {MODEL_CHARACTERS_MAX}",
                hint="give fewer vectors models of their own, or shorter names",
            )
        holds = holding(collection.config, spread.model)
        vectors = anew(holds, told)
        for vector in vectors or holds.dense:
            _check_plain(name, holds, vector)
        if not vectors:
            raise ConflictError(f"collection `{name}` holds embeddings of `{told}` already")
        return vectors

    async def _sizes(self, name: str, told: str, vectors: Sequence[str]) -> dict[str, int]:
        """Numbers of these vectors, on which all nodes that are here agree. Raises ConflictError."""
        transport, own = self._federation.transport, self._federation.name
        here = sorted((set(transport.alive()) & self._federation.roster().keys()) - {own})
        body = encode(Can(name, told))
        asked = (transport.request(node, CAN, body, deadline_s=CAN_S) for node in here)
        found = await asyncio.gather(*asked, return_exceptions=True)
        answers = {own: await self._members.can(name, told)}
        lacking: dict[str, str] = {}
        for node, answer in zip(here, found, strict=True):
            if isinstance(answer, LittoralError):
                lacking[node] = answer.message
            elif isinstance(answer, BaseException):
                raise answer
            else:
                answers[node] = decode_cannot(answer, node)
        lacking |= {node: answer.why for node, answer in answers.items() if answer.why}
        if lacking:
            nodes = ", ".join(f"`{node}`" for node in sorted(lacking))
            node, why = min(lacking.items())
            raise ConflictError(
                f"collection `{name}`: nodes {nodes} cannot embed it by `{told}`; `{node}`: {why}",
                hint="each node of the site needs the model's file and `migrate` in its site file",
            )
        agreed: dict[str, int] = {}
        for vector in vectors:
            sizes = {answer.sizes.get(vector, 0) if vector else answer.size for answer in answers.values()}
            if len(sizes) != 1 or 0 in sizes:
                raise ConflictError(
                    f"collection `{name}`: {called(vector)} has sizes {sorted(sizes)} by `{told}` on these nodes",
                    hint="where a size is 0 no point tells how large vectors are: write one first",
                )
            agreed[vector] = sizes.pop()
        return agreed

    def _begun(self, name: str, spread: Spread, told: str, sizes: Mapping[str, int], sample: Vectors | None) -> Spread:
        table = self._parts.site.collections[name]
        assert table.spread is not None
        base = table.config()
        own = config_of(base, spread)
        before = {**spread.sizes, **{vector: own.dense[vector].size for vector in sizes if vector}}
        size = 0 if own.vectors is None else own.vectors.size
        spread = msgspec.structs.replace(spread, size=size, sizes=before, declared=table.spread.model)
        named = {vector: found for vector, found in sizes.items() if vector}
        generation = Generation(told, sizes.get("", size), {**before, **named})
        config = config_of(base, spread.by(msgspec.structs.replace(spread.layout, generation=generation)))
        layout = layout_of(name, spread, generation, table.spread, config, self._federation.roster(), sample)
        check_still_pinned(spread, layout)
        return msgspec.structs.replace(spread, change=Change("making", layout, self._federation.map.number + 1))

    async def _sample(self, name: str, spread: Spread, told: str) -> Vectors:
        """float32[n, size]: some points, embedded here by the other model."""
        collection, vector = self._parts.collections.get(name), spread.vector
        versions = self._members.versions(name, collection.config, told, [vector])
        await self._bindings.open_versions(versions)
        try:
            embed = self._members.embedding(name, told, [vector])[vector]
            payloads = await self._payloads(name, spread, collection)
            if not collection.config.is_single:
                payloads = [one for one in payloads if self._bindings.source(name, vector).is_in(one)]
            rows = [await embed(payload) for payload in payloads]
        finally:
            await self._bindings.close_unheld(versions)
        if not rows:
            pinned = " that is not pinned" if pinned_to(spread) else ""
            raise ConflictError(f"collection `{name}`: there is nothing{pinned} to fit cells to")
        return np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), -1)

    async def _payloads(self, name: str, spread: Spread, collection: Collection) -> list[Payload]:
        """Of some points; of none that is pinned, since the means of their vectors will be in the map."""
        if pinned_to(spread):
            asking, target = self._federation.asking, self._federation.target(name)
            return await payloads_of(asking, target, _free(spread), SAMPLE_COUNT, seed=0)
        ids = await sampled_ids(collection, SAMPLE_COUNT)
        payloads: list[Payload] = []
        for start in range(0, len(ids), PAGE):
            payloads += [record.payload or {} for record in await collection.retrieve(ids[start : start + PAGE])]
        return payloads

    async def back(self, name: str) -> None:
        """The generation before answers again, as soon as it has everything. Raises ConflictError, NotFoundError."""
        async with self._changing:
            spread = self._two(name)
            change = spread.change
            if change is None or change.step != "kept":
                raise ConflictError(
                    f"collection `{name}` is not flipped yet, step `{'' if change is None else change.step}`",
                    hint="`--drop` ends the migration",
                )
            if self._federation.moving.is_owed(name, self._federation.roster()):
                raise ConflictError(
                    f"collection `{name}`: a node that was away hands over what it took meanwhile", hint="try again"
                )
            number = self._federation.map.number + 1
            again = Change("copying", change.other, number)
            self._federation.keeper.write({name: msgspec.structs.replace(spread, change=again)})

    async def drop(self, name: str) -> None:
        """The generation that does not answer ends. Raises ConflictError while they change places, NotFoundError."""
        async with self._changing:
            spread = self._two(name)
            change = spread.change
            if change is not None and change.step == "flipping":
                raise ConflictError(f"collection `{name}`: its generations change places", hint="try again")
            self._federation.keeper.write({name: _ended(spread)})
            self.went_well(name)

    def _two(self, name: str) -> Spread:
        spread = self._federation.keeper.spread_to_write(name)
        if not spread.to_another_model:
            raise NotFoundError(f"collection `{name}` has one generation: none is being built, none is kept")
        return spread

    def over(self) -> dict[str, Spread]:
        """As `Embedders.over`."""
        now = self._parts.clock.wall()
        return {
            name: _ended(spread)
            for name, spread in self._federation.map.spreads.items()
            if (change := spread.change) is not None and change.step == "kept" and now >= change.until_s
        }

    def following(self, spreads: Mapping[str, Spread]) -> dict[str, Spread]:
        """As `Embedders.following`."""
        found: dict[str, Spread] = {}
        for name, spread in spreads.items():
            change = spread.change
            if change is None or not spread.to_another_model:
                found[name] = spread
            elif change.step == "kept":
                until_s = int(self._parts.clock.wall() + 3600 * self._bindings.table(name).keep_h)
                found[name] = msgspec.structs.replace(spread, change=msgspec.structs.replace(change, until_s=until_s))
            elif change.step != "flipping" or self._may_flip(name, spread):
                found[name] = spread
        return found

    def _may_flip(self, name: str, spread: Spread) -> bool:
        """Whether what was built answers as it should; looks, if nobody did. spread: as it is about to be."""
        now = self._federation.map.spreads[name].change
        assert now is not None
        assert spread.change is not None
        if self._good.get(name) == now.since or max(spread.places) < max(spread.change.other.places):
            return True  # was found good, or goes back to what did answer
        running = self._checks.get(name)
        if (running is None or running.done()) and self._parts.clock.monotonic() >= self._again_s.get(name, 0.0):
            self._checks[name] = asyncio.create_task(
                self._check(name, spread.model, now.since), name=f"littoral-check-{name}"
            )
        return False

    async def _check(self, name: str, told: str, since: int) -> None:
        try:
            current, other = self._parts.collections.get(name), self._members.unseen(name, told)
            vectors = anew(current.config, told)
            for field, index in (await current.info()).payload_schema.items():
                await other.create_index(field, parse_schema(index.params or index.data_type))
            sample = await self._to_check(name, current)
            checked = self.checked[name] = await check(Side(other, self._members.embeds(name, told, vectors)), sample)
            if not checked.is_good:
                raise too_bad(name, checked, told)
            self._good[name] = since
            self.went_well(name)
            self._federation.wake()
        except (LittoralError, OSError) as error:
            self.failed(name, error)
            self._again_s[name] = self._parts.clock.monotonic() + AGAIN_S

    async def _to_check(self, name: str, current: Collection) -> list[PointId]:
        """Points that are looked for by their own vectors. None that is pinned: a query goes to every region."""
        spread = self._federation.map.spreads[name]
        if not pinned_to(spread):
            return await sampled_ids(current, CHECKED_COUNT)
        asking, target = self._federation.asking, self._federation.target(name)
        return [point for _, point in await points_of(asking, target, _free(spread), CHECKED_COUNT, seed=0)]

    def failed(self, name: str, error: LittoralError | OSError) -> None:
        """It is told, and tried again."""
        if (why := str(error)) != self.whys.get(name):
            self._parts.say(f"collection `{name}`: {why}")
        if self._failing.setdefault(name, Failing(self._parts.clock)).is_stuck(error):
            self.whys[name] = why

    def went_well(self, name: str) -> None:
        """What had failed did not."""
        self._failing.pop(name, None)
        self.whys.pop(name, None)

    def is_checking(self, name: str) -> bool:
        """Whether it is being looked at right now."""
        return name in self._checks and not self._checks[name].done()


def _goes_to(spread: Spread) -> str | None:
    """The model that a collection is being embedded by."""
    change = spread.change
    if change is None or change.is_flipped or change.other.generation is None:
        return None
    return change.other.generation.model


def _check_plain(name: str, config: CollectionConfig, vector: str) -> None:
    """Raises NotOfferedError, ConflictError for a vector that cannot be embedded anew."""
    if config.dense[vector].multivector_config is not None:
        raise NotOfferedError(
            f"collection `{name}`: only plain vectors are embedded anew, {called(vector)} is none",
            hint="make another collection for the other model, and write the points there",
        )
    if len(models := config.models_of(vector)) != 1:
        key = f"named.{vector}.model" if vector else "model"
        raise ConflictError(
            f"collection `{name}`: {called(vector)} holds embeddings of {listed(models)}, must be of one model",
            hint=f"`collections.{name}.{key}` in the site file said whose they are when it was made",
        )


async def _check_sources(collection: Collection, source: Source) -> None:
    if lacking := await collection.count(source.lacking(among_others=not collection.config.is_single)):
        raise ConflictError(
            f"collection `{collection.name}`: {lacking} points keep nothing at `{source}` to embed anew",
            hint="write it to their payloads first, or make another collection",
        )


def _listed(sources: Sequence[Source]) -> str:
    return ", ".join(f"`{source}`" for source in sources)


def _free(spread: Spread) -> list[int]:
    """Shards that are not pinned."""
    pinned = pinned_to(spread)
    return [shard for shard in spread.shards if shard not in pinned]


def _ended(spread: Spread) -> Spread:
    if spread.change is not None and not spread.change.is_flipped:
        return withdrawn(spread)
    return msgspec.structs.replace(spread, change=None, given=spread.first_free)


async def sampled_ids(collection: Collection, count: int) -> list[PointId]:
    """Of so many points, or all if they are fewer, by lot among the first `IDS_MAX`."""
    rng = Random(collection.name)  # noqa: S311 (a sample)
    ids: list[PointId] = []
    offset: PointId | None = None
    while len(ids) < IDS_MAX:
        records, offset = await collection.scroll(limit=PAGE, offset=offset, with_payload=False)
        ids += [record.id for record in records]
        if offset is None:
            break
    return rng.sample(ids, min(count, len(ids)))
