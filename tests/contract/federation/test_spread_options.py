"""Options of spread collections that requests have made: changed at any node, taken by each, also by those away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from littoral.errors import ConflictError, InputError, NotOfferedError, PeerError
from littoral.node.federation.messages import encode
from littoral.node.federation.moving.wishes import Asked, ToSpread
from littoral.vectors.records import CollectionConfig, VectorParams
from littoral.vectors.tuning import HnswTuning, MultiVector, OptimizerTuning
from made_site import CONFIG, COUNT, DEADLINE_S, NAMES, ROWS, SIZE, Site, make
from spread_nodes import SpreadNode, spread_nodes, spread_table
from waiting import until_async

TWO = CollectionConfig(VectorParams(SIZE, "Euclid"), named={"image": VectorParams(SIZE, "Cosine")})


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    found = Site(tmp_path)
    await found.start(*NAMES)
    yield found
    await found.stop(*list(found.nodes))


def with_m(config: CollectionConfig, m: int) -> CollectionConfig:
    return replace(config, hnsw=HnswTuning(m=m))


def with_threshold(config: CollectionConfig, kilobytes: int) -> CollectionConfig:
    return replace(config, optimizers=OptimizerTuning(indexing_threshold=kilobytes))


def as_several(config: CollectionConfig) -> CollectionConfig:
    assert config.vectors is not None
    return replace(config, vectors=replace(config.vectors, multivector_config=MultiVector("max_sim")))


async def configure(
    node: SpreadNode, change: Callable[[CollectionConfig], CollectionConfig], name: str = "notes"
) -> None:
    await node.federation.making.configure(name, change, deadline_s=DEADLINE_S)


def told(node: SpreadNode, name: str = "notes") -> list[CollectionConfig]:
    """Of the collection, and of each shard that lies there."""
    parts = [node.collections.part(part) for part in node.collections.parts() if part.startswith(f"{name}.")]
    return [node[name].config, *(part.config for part in parts if part is not None)]


def are_alike(node: SpreadNode, m: int) -> bool:
    return all(config.hnsw is not None and config.hnsw.m == m for config in told(node))


async def test_all_nodes_take_them_and_lose_nothing(site: Site) -> None:
    """Its shards are the same, and what a search finds; who asks for less later keeps what was asked for before."""
    await make(site.nodes["a"], shards=3)
    await site.nodes["b"]["notes"].upsert(range(COUNT), ROWS)
    before = site.nodes["a"].federation.map.spreads["notes"]
    await configure(site.nodes["c"], partial(with_m, m=24))
    for node in site.nodes.values():
        assert are_alike(node, 24)
        assert await node["notes"].count() == COUNT
        assert [hit.id for hit in await node["notes"].search(ROWS[3], limit=1)] == [3]
    await configure(site.nodes["b"], partial(with_threshold, kilobytes=77))
    for node in site.nodes.values():
        assert are_alike(node, 24)
        assert all(config.optimizers == OptimizerTuning(indexing_threshold=77) for config in told(node))
    after = site.nodes["a"].federation.map.spreads["notes"]
    assert (after.places, after.epoch, after.born) == (before.places, before.epoch, before.born)


async def test_who_was_away_takes_them_when_it_is_back(site: Site) -> None:
    await make(site.nodes["a"], config=TWO, shards=3, replicas=3)
    await site.stop("c")
    await configure(site.nodes["b"], partial(with_m, m=20))
    await site.start("c")
    await until_async(lambda: are_alike(site.nodes["c"], 20))
    await site.stop(*NAMES)
    await site.start(*NAMES)
    for node in site.nodes.values():
        assert are_alike(node, 20)
        assert list(node["notes"].config.named) == ["image"]


async def test_shards_of_another_layout_have_them(site: Site) -> None:
    await make(site.nodes["a"], shards=2, replicas=1)
    await configure(site.nodes["a"], partial(with_m, m=20))
    await site.nodes["a"]["notes"].upsert(range(COUNT), ROWS)
    wish = ToSpread("notes", strategy="hash", shards=5, replicas=1)
    assert (await site.nodes["c"].federation.changes.ask(Asked(wish, is_applied=True))).is_begun
    for node in site.nodes.values():
        await until_async(lambda node=node: len(node.federation.map.spreads["notes"].places) == 5)
        await until_async(lambda node=node: node.federation.map.spreads["notes"].change is None)
    await configure(site.nodes["b"], partial(with_m, m=28))
    for node in site.nodes.values():
        assert are_alike(node, 28)
        assert await node["notes"].count() == COUNT


async def test_what_the_store_refuses_changes_nothing(site: Site) -> None:
    await make(site.nodes["a"], shards=3)
    before = [told(node) for node in site.nodes.values()]
    for change, why in ((partial(with_m, m=-1), "hnsw.m"), (as_several, "configure: ")):
        with pytest.raises(InputError, match=why):
            await configure(site.nodes["b"], change)
    assert [told(node) for node in site.nodes.values()] == before
    assert await site.nodes["b"]["notes"].count() == 0


async def test_without_the_writer_of_the_map_they_stay_as_they_were(site: Site) -> None:
    """Also where a shard took them already, to see whether its store can."""
    await make(site.nodes["a"], shards=3)
    await configure(site.nodes["a"], partial(with_m, m=20))
    await site.stop("a")
    with pytest.raises(PeerError):
        await configure(site.nodes["b"], partial(with_m, m=30))
    await until_async(lambda: are_alike(site.nodes["b"], 20))
    await site.start("a")
    await configure(site.nodes["b"], partial(with_m, m=30))
    for node in site.nodes.values():
        await until_async(lambda node=node: are_alike(node, 30))


async def test_of_two_at_once_both_count(site: Site) -> None:
    await make(site.nodes["a"], shards=3)
    changes = (partial(with_m, m=24), partial(with_threshold, kilobytes=55))
    ended = await asyncio.gather(
        *(configure(site.nodes[name], change) for name, change in zip(("b", "c"), changes, strict=True)),
        return_exceptions=True,
    )
    assert None in ended
    for name, change, error in zip(("b", "c"), changes, ended, strict=True):
        if error is not None:
            assert isinstance(error, ConflictError)
            await configure(site.nodes[name], change)
    for node in site.nodes.values():
        await until_async(lambda node=node: are_alike(node, 24))
        await until_async(
            lambda node=node: all(config.optimizers == OptimizerTuning(indexing_threshold=55) for config in told(node))
        )


async def test_other_vectors_are_no_options(site: Site) -> None:
    await make(site.nodes["a"])
    made = site.nodes["a"].federation.map.spreads["notes"].definition
    other = made.replace(b'"size":4', b'"size":5')
    assert other != made
    end = site.wires.ends["b"]
    with pytest.raises(InputError, match="of the same vectors"):
        await end.request("a", "collection-wish", encode(("configure", "notes", made, other)), deadline_s=5)
    with pytest.raises(ConflictError, match="meanwhile"):
        await end.request("a", "collection-wish", encode(("configure", "notes", other, made)), deadline_s=5)
    assert site.nodes["a"].federation.map.spreads["notes"].definition == made


async def test_those_of_a_site_file_are_changed_there(tmp_path: Path) -> None:
    async with spread_nodes(tmp_path, NAMES, {"points": spread_table(SIZE, shards=1, replicas=1)}) as nodes:
        with pytest.raises(NotOfferedError, match="by site files"):
            await configure(nodes["b"], partial(with_m, m=20), "points")
        assert CONFIG.hnsw is None
