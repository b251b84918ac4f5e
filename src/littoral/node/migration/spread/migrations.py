"""Migrations of the collections that are spread over nodes: asked for anywhere, begun by the map's writer."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence

from littoral.errors import ConflictError, ForbiddenError, LittoralError, NotFoundError, NotOfferedError
from littoral.mesh.shard_map import Spread
from littoral.node.declared_models import declared_config
from littoral.node.federation.federation import Federation
from littoral.node.federation.generations import Embed, holding
from littoral.node.migration.bindings import Bindings, Parts, called
from littoral.node.migration.migration import Told
from littoral.node.migration.spread.members import Members
from littoral.node.migration.spread.messages import CAN, WISH, Wish, decode_can, decode_wish, encode
from littoral.node.migration.spread.progress import told
from littoral.node.migration.spread.writer import Writer
from littoral.vectors.model_version import ModelVersion, told_instead

__all__ = ["SpreadMigrations"]

WISH_S = 300.0
DECLARED_PAUSE_S = 5.0
DECLARED_WAITS_S = 30.0


class SpreadMigrations:
    """`federation.generations.Embedders`, and what is asked for by name. For one event loop."""

    def __init__(self, parts: Parts, bindings: Bindings, federation: Federation | None) -> None:
        self._parts = parts
        self._there = federation
        self._beginning: asyncio.Task[None] | None = None
        if federation is not None:
            self._members = Members(parts, bindings, federation)
            self._writer = Writer(parts, bindings, federation, self._members)

    @property
    def _federation(self) -> Federation:
        if self._there is None:
            raise NotOfferedError("this node is no part of a mesh")
        return self._there

    async def open(self) -> None:
        """From now on collections can go to another model here, and what is on its way goes on."""
        if (federation := self._there) is None:
            return
        await federation.transport.serve(WISH, self._answer_wish)
        await federation.transport.serve(CAN, self._answer_can)
        federation.handing.embedders = self
        federation.wake()
        self._beginning = asyncio.create_task(self._begin_declared(), name="littoral-declared-models")

    async def close(self) -> None:
        """What is under way goes on elsewhere, and here after the next start."""
        if self._there is None:
            return
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.gather(self._beginning, return_exceptions=True)
        await self._writer.close()
        await self._members.close()

    def __contains__(self, name: str) -> bool:
        table = self._parts.site.collections.get(name)
        return self._there is not None and table is not None and table.spread is not None

    async def start(self, name: str, models: Mapping[str, ModelVersion]) -> None:
        """models: by vector. Raises as `Writer.start`, and PeerError where the map's writer cannot be reached."""
        if (spread := self._federation.map.spreads.get(name)) is None:
            raise NotFoundError(f"collection `{name}`: no node has told yet where its shards lie")
        config = self._parts.collections.get(name).config
        if unknown := sorted(models.keys() - config.dense.keys()):
            raise NotOfferedError(
                f"collection `{name}`: only plain vectors are embedded anew, {called(unknown[0])} is none",
                hint=f"its vectors: {', '.join(called(vector) for vector in config.dense)}",
            )
        is_single = config.is_single
        await self._ask(Wish("start", name, told_instead(spread.model, models, is_single=is_single)))

    async def back(self, name: str) -> None:
        """Raises as `Writer.back`."""
        await self._ask(Wish("back", name))

    async def drop(self, name: str) -> None:
        """Raises as `Writer.drop`."""
        await self._ask(Wish("drop", name))

    async def _ask(self, wish: Wish) -> None:
        federation = self._federation
        if federation.writer == federation.name:
            await self._do(wish)
            return
        await federation.transport.request(federation.writer, WISH, encode(wish), deadline_s=WISH_S)
        await federation.keeper.pull(also=[federation.writer])

    async def _do(self, wish: Wish) -> None:
        match wish.kind:
            case "start":
                await self._writer.start(wish.collection, wish.model)
            case "back":
                await self._writer.back(wish.collection)
            case "drop":
                await self._writer.drop(wish.collection)

    async def _answer_wish(self, caller: str, body: bytes) -> bytes:
        self._check(caller)
        if self._federation.writer != self._federation.name:
            raise ConflictError(f"node `{self._federation.writer}` writes the shard map, not `{self._federation.name}`")
        await self._do(decode_wish(body, caller))
        return b""

    async def _answer_can(self, caller: str, body: bytes) -> bytes:
        self._check(caller)
        can = decode_can(body, caller)
        if can.collection not in self:
            raise NotFoundError(f"collection `{can.collection}` is not spread here")
        return encode(await self._members.can(can.collection, can.model))

    def _check(self, caller: str) -> None:
        if caller not in self._federation.roster():
            raise ForbiddenError(f"node `{caller}` is no member of this site")

    async def _begin_declared(self) -> None:
        """What the site file of the map's writer wants of collections that hold something else."""
        federation, clock = self._federation, self._parts.clock
        began_s = clock.monotonic()
        while wanted := {name: models for name in self._names() if (models := self._wanted(name))}:
            is_whole = federation.roster().keys() <= federation.transport.alive() | {federation.name}
            if federation.writer == federation.name and (is_whole or clock.monotonic() - began_s > DECLARED_WAITS_S):
                for name, models in wanted.items():
                    try:
                        await self.start(name, models)
                        self._writer.went_well(name)
                    except (LittoralError, OSError) as error:
                        self._writer.failed(name, error)
            await asyncio.sleep(DECLARED_PAUSE_S)

    def _names(self) -> list[str]:
        return [name for name, table in self._parts.site.collections.items() if name in self and table.migrate]

    def _wanted(self, name: str) -> dict[str, ModelVersion]:
        """By vector, what the site file names where the collection holds something else."""
        table, spread = self._parts.site.collections[name], self._federation.map.spreads.get(name)
        if spread is None or table.spread is None or table.migrate is None or spread.change is not None:
            return {}
        if table.spread.model in (spread.model, spread.declared):
            return {}
        wanted: dict[str, ModelVersion] = {}
        with contextlib.suppress(LittoralError):
            config = declared_config(self._parts.site, table)
            holds, said = holding(table.config(), spread.model), table.declared_models
            for vector in table.migrate.ways:
                found, held = config.models_of(vector), holds.models_of(vector)
                if len(found) != 1 or any(found[0].is_same(one) for one in held):
                    continue
                has_number = "@" in "".join(said.get(vector) or said.get(None) or [])
                if has_number or all(one.name != found[0].name for one in held):  # without one, any version is meant
                    wanted[vector] = found[0]
        return wanted

    def all(self) -> Mapping[str, Told]:
        """By collection: those with two generations."""
        if (federation := self._there) is None:
            return {}
        spreads = federation.map.spreads
        return {name: self._told(name, spreads[name]) for name in self._names() if _is_under_way(spreads.get(name))}

    def _told(self, name: str, spread: Spread) -> Told:
        federation = self._federation
        here = federation.transport.alive() | {federation.name}
        facts = {node: known.fact for node, known in federation.facts.all().items() if node in here}
        found = told(name, spread, facts, self._parts.collections.get(name).config)
        found.progress.checked = self._writer.checked.get(name)
        if self._writer.is_checking(name):
            found.progress.state = "checking"
        return found

    def failure(self, name: str) -> str:
        """Why a migration that the site file asks for does not begin; '' otherwise."""
        return self._writer.whys.get(name, "") if self._there is not None else ""

    def unready(self, name: str, spread: Spread) -> str:
        """As `Embedders`."""
        return self._members.unready(name, spread)

    def embeds(self, name: str, model: str, vectors: Collection[str]) -> Mapping[str, Embed]:
        """As `Embedders`."""
        return self._members.embeds(name, model, vectors)

    def following(self, spreads: Mapping[str, Spread]) -> dict[str, Spread]:
        """As `Embedders`."""
        return self._writer.following(spreads)

    def over(self) -> dict[str, Spread]:
        """As `Embedders`."""
        return self._writer.over()

    def refused(self, name: str, points: Mapping[bytes, str], told: Sequence[bytes]) -> None:
        """As `Embedders`."""
        self._members.refused(name, points, told)

    async def rest(self, name: str, count: int, began_s: float) -> None:
        """As `Embedders`."""
        await self._members.rest(name, count, began_s)

    def stuck(self) -> dict[str, str]:
        """As `Embedders`."""
        return {**self._writer.whys, **self._members.stuck()}


def _is_under_way(spread: Spread | None) -> bool:
    return spread is not None and spread.to_another_model
