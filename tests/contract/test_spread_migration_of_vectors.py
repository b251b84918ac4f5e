"""Vectors of a collection that is spread over nodes go to other models, each by itself or some at once."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from littoral.errors import ConflictError, InputError, NotOfferedError
from littoral.mesh.shard_map import Change, Generation, Layout, ShardMap, Spread, decode_map, encode_map
from littoral.node.federation.generations import anew, config_of, going, holding
from littoral.node.federation.placing import strategy_of
from littoral.node.search_how import noting
from littoral.vectors.model_version import ModelVersion, told_instead
from littoral.vectors.partition.strategy import encode_strategy, renumbered
from littoral.vectors.queries import PayloadChange, SearchParams
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from nodes_in_process import Wires
from recorded_wires import RecordedWires
from spread_load import Load
from spread_named_notes import PIPELINES, check_embedded, embedded, named, others, payload, points, until_models, write
from spread_notes import NotesNode, fill, notes_nodes, opened_note_node, settled
from two_models import installation, note
from waiting import until_async, until_true

COUNT = 24
NAMES = ("a", "b")
EXACT = SearchParams(exact=True)
ONE = {"": "encoder@1", "title": "encoder@1"}
SPREADS = {
    "hash": 'strategy = "hash", shards = 2, replicas = 2, recall = 1.0',
    "cells of the vector that goes": 'strategy = "metric", by = "title", shards = 2, replicas = 1, recall = 1.0',
    "cells of another vector": 'strategy = "metric", by = "", shards = 2, replicas = 1, recall = 1.0',
    "hybrid": 'strategy = "hybrid", by = "title", shards = 2, replicas = 1, recall = 1.0',
}


@pytest.fixture(scope="module")
def cached() -> Iterator[Path]:
    """Code that was compiled once is there for all."""
    with installation() as folder:
        yield folder


@pytest.fixture
def folder(cached: Path) -> Iterator[Path]:
    own = cached / "n"
    own.mkdir()
    np.save(own / "sample.npy", np.random.default_rng(0).normal(size=(200, 24)).astype("<f4"))
    yield own
    shutil.rmtree(own)


def spread_by(kind: str, folder: Path) -> str:
    return SPREADS[kind] if kind == "hash" else f'{SPREADS[kind]}, sample = "{folder}/sample.npy"'


async def start(node: NotesNode, **to: str) -> None:
    assert node.node.migrations is not None
    await node.node.migrations.start("notes", {"" if vector == "plain" else vector: one for vector, one in to.items()})


def spread_of(node: NotesNode) -> Spread:
    assert node.node.federation is not None
    return node.node.federation.map.spreads["notes"]


def is_of_the_same_cells(one: Spread, other: Spread) -> bool:
    numbers = dict(zip(other.shards, one.shards, strict=True))
    return encode_strategy(renumbered(strategy_of(other), numbers)) == encode_strategy(strategy_of(one))


async def searches_are_certified(node: NotesNode, sizes: Mapping[str, int]) -> None:
    """By each vector, once summaries of the shards tell of vectors of this size."""
    federation = node.node.federation
    assert federation is not None

    async def are_certified() -> bool:
        for vector, size in sizes.items():
            summaries = federation.summaries.of("notes", vector)
            if {summaries[shard].size for shard in spread_of(node).shards if shard in summaries} != {size}:
                return False
            with noting() as how:
                await node.collection.search(np.ones(size, "<f4"), limit=5, params=EXACT, using=vector)
            if not (how.told or {})["certified"]:
                return False
        return True

    await until_true(are_certified)


@pytest.mark.parametrize("kind", SPREADS)
def test_one_vector_goes_to_a_larger_model_and_back_and_the_others_stay(folder: Path, kind: str) -> None:
    async def run() -> None:
        spread = spread_by(kind, folder)
        async with notes_nodes(folder, NAMES, spread=spread, migrate=named(), tables=PIPELINES) as nodes:
            await write(nodes["a"], range(COUNT))
            before, cells = await points(nodes["b"]), spread_of(nodes["a"])
            await start(nodes["b"], title="wide@1")
            await until_models(nodes, {**ONE, "title": "wide@1"}, "kept")
            for node in nodes.values():
                after = await points(node)
                assert {len(own["title"]) for own, _ in after.values() if "title" in own} == {4 * 48}
                assert others(after, "title") == others(before, "title")
                await check_embedded(node, range(COUNT))
            now = spread_of(nodes["a"])
            assert (now.size, now.sizes, now.vector) == (24, {"title": 48}, cells.vector)
            assert decode_map(encode_map(ShardMap(spreads={"notes": now}))).spreads["notes"] == now
            if kind != "hash":
                assert is_of_the_same_cells(now, cells) == (kind == "cells of another vector")
            for node in nodes.values():
                await searches_are_certified(node, {"": 24, "title": 48})
            await write(nodes["a"], [50])
            await nodes["a"].back()
            await until_models(nodes, ONE, "kept")
            for node in nodes.values():
                assert {len(own["title"]) for own, _ in (await points(node)).values() if "title" in own} == {4 * 24}
                await check_embedded(node, [*range(COUNT), 50])
            await nodes["b"].drop()
            await until_models(nodes, ONE, "")
            await check_embedded(nodes["b"], [*range(COUNT), 50])

    asyncio.run(run())


def test_two_vectors_go_at_once_and_stay_after_a_restart_and_one_goes_on_alone(folder: Path) -> None:
    async def run() -> None:
        wires, both = Wires(), {"": "encoder@2", "title": "wide@1"}
        async with notes_nodes(folder, NAMES, wires=wires, migrate=named(), tables=PIPELINES) as nodes:
            await write(nodes["a"], range(COUNT))
            before = await points(nodes["a"])
            await start(nodes["a"], plain="encoder@2", title="wide@1")
            await until_models(nodes, both, "kept")
            progress = nodes["b"].told().progress
            assert (str(progress.other).count("encoder"), sorted(progress.other)) == (2, ["", "title"])
            await nodes["a"].drop()
            await until_models(nodes, both, "")
        async with contextlib.AsyncExitStack() as opened:
            nodes = {
                name: await opened.enter_async_context(opened_note_node(folder / name / "site.toml", wires, name))
                for name in NAMES
            }
            await settled(nodes)
            await until_models(nodes, both, "")
            for node in nodes.values():
                assert others(await points(node), "", "title") == others(before, "", "title")
                await check_embedded(node, range(COUNT))
            await start(nodes["b"], plain="encoder@1")
            await until_models(nodes, {**both, "": "encoder@1"}, "kept")
            assert others(await points(nodes["a"]), "title") == others(before, "title")
            await check_embedded(nodes["a"], range(COUNT))

    asyncio.run(run())


def test_writes_to_other_vectors_are_taken_and_those_to_one_that_goes_are_refused(folder: Path) -> None:
    async def run() -> None:
        async with notes_nodes(folder, NAMES, migrate=named(0.001), tables=PIPELINES) as nodes:
            await write(nodes["a"], range(4))
            await start(nodes["a"], title="encoder@2")
            await until_models(nodes, ONE, "copying")
            one, vector = nodes["b"].collection, np.ones(24, "<f4").tobytes()
            fixed = np.array([9.0, 9.0, 9.0], "<f4").tobytes()
            with pytest.raises(ConflictError, match="`UpdateVectors` would change one of them alone"):
                await one.update_vectors([1], [{"title": vector}])
            await one.update_vectors([1], [{"fixed": fixed}])
            await one.delete_vectors(["title", "words"], ids=[2])
            with pytest.raises(ConflictError, match="point `60` cannot be embedded for both"):
                await one.upsert_points(PointBatch([60], [{"title": vector}], [{"other": 1}]))
            await one.upsert_points(PointBatch([61], [{"fixed": fixed}], [{"other": 1}]))
            with pytest.raises(ConflictError, match="the payload would lose what is embedded, `title`"):
                await one.change_payload(PayloadChange("remove", ids=[1], keys=["title"]))
            await one.change_payload(PayloadChange("merge", ids=[1], payload={"seen": True}))
            for name, other in (("a", "fixed"), ("b", "parts")):
                with pytest.raises((ConflictError, NotOfferedError)):
                    await start(nodes[name], **{other: "encoder@2"})
            await nodes["a"].drop()
            await until_models(nodes, ONE, "")
            found = await points(nodes["a"])
            assert np.frombuffer(found[1][0]["fixed"], "<f4").tolist() == [9.0, 9.0, 9.0]
            assert sorted(found[2][0]) == ["", "fixed", "parts"]

    asyncio.run(run())


def test_who_was_away_brings_what_it_took_to_the_vector_that_went(folder: Path) -> None:
    async def run() -> None:
        wires, goal, names = Wires(), {**ONE, "title": "encoder@2"}, ("a", "b", "c")
        double = 'strategy = "hash", shards = 3, replicas = 2, recall = 1.0'
        async with notes_nodes(folder, names, wires=wires, spread=double, migrate=named(), tables=PIPELINES) as nodes:
            await write(nodes["a"], range(COUNT))
            await start(nodes["a"], title="encoder@2")
            await until_models(nodes, ONE, "copying")
            wires.cut("a", "c")
            wires.cut("b", "c")
            await until_models({name: nodes[name] for name in "ab"}, goal, "kept")
            late = await embedded(nodes["c"], "title", payload(7)["title"])
            wires.heal()
            await until_models(nodes, goal, "kept")
            now = await embedded(nodes["c"], "title", payload(7)["title"])
            assert np.abs(late - now).max() > 0.01
            await until_async(lambda: nodes["a"].told().progress.why == "")
            for node in nodes.values():
                await check_embedded(node, range(COUNT))

    asyncio.run(run())


def test_vectors_of_a_pinned_region_go_within_it_in_cells_made_of_others(folder: Path) -> None:
    async def run() -> None:
        spread = (
            'strategy = "geographic", within = "metric", by = "title", regions = ["eu", "us"], pinned = ["eu"], '
            f'shards = 4, replicas = 1, recall = 1.0, sample = "{folder}/sample.npy"'
        )
        regions, wires = {"a": "eu", "b": "us"}, RecordedWires()
        options = {"spread": spread, "migrate": named(), "tables": PIPELINES}
        async with notes_nodes(folder, NAMES, wires=wires, regions=regions, **options) as nodes:
            await write(nodes["a"], range(COUNT))
            await write(nodes["b"], range(100, 100 + COUNT))
            before = await points(nodes["a"])
            await start(nodes["b"], title="wide@1")
            await until_models(nodes, {**ONE, "title": "wide@1"}, "kept")
            after = await points(nodes["a"])
            assert others(after, "title") == others(before, "title")
            assert set(await points(nodes["b"])) == set(range(100, 100 + COUNT))
            told = wires.between("a", "b")
            for number in (1, 9, 17):
                own, kept = after[number]
                assert kept["title"].encode() not in told
                assert own["title"] not in told
                assert own[""] not in told
            await check_embedded(nodes["a"], after)  # last: a query goes wherever hits may be

    asyncio.run(run())


def test_no_query_of_a_vector_meets_the_other_models_and_no_write_is_lost(folder: Path) -> None:
    """Both models have vectors of one size: an answer that mixes them would show by its score, not by an error."""

    async def run() -> None:
        texts = {number: note(number) for number in range(COUNT)}
        titled = range(1000, 1000 + COUNT)
        async with notes_nodes(folder, NAMES, migrate=named(), tables=PIPELINES) as nodes:
            await fill(nodes, texts)
            await write(nodes["a"], titled)
            load, both = Load(nodes, texts, COUNT), {"": "encoder@2", "title": "encoder@2"}
            async with load.running():
                await start(nodes["b"], plain="encoder@2", title="encoder@2")
                await until_models(nodes, both, "kept")
                seen = load.found
                await until_async(lambda: load.found > seen + 20)
                await nodes["a"].back()
                await until_models(nodes, ONE, "kept")
            assert load.wrong == []
            assert len(texts) > COUNT
            for node in nodes.values():
                found = await points(node)
                assert {number: found[number][1]["text"] for number in texts} == texts
                for number in list(texts)[::7]:
                    wanted = await embedded(node, "", texts[number])
                    wanted = wanted / np.linalg.norm(wanted)
                    assert np.allclose(np.frombuffer(found[number][0][""], "<f4"), wanted, atol=1e-4)
                    assert list(found[number][0]) == [""]
                for number in titled:
                    title = await embedded(node, "title", payload(number)["title"])
                    assert np.allclose(np.frombuffer(found[number][0]["title"], "<f4"), title, atol=1e-4)

    asyncio.run(run())


def test_maps_of_before_sizes_by_vector_are_read() -> None:
    old = (
        b'{"number":7,"format":1,"given":0,"spreads":{"notes":{"strategy":"hash","places":{"0":["a"]},"parameters":"",'
        b'"model":"encoder:1111111111111111","epoch":3,"given":2,"size":24,"declared":"","vector":"","definition":"",'
        b'"born":0,"sealing":null,"change":{"step":"copying","since":6,"until_s":0,"other":{"strategy":"hash","places":'
        b'{"1":["a"]},"parameters":"","vector":null,"generation":{"model":"wide:2222222222222222","size":48}}}}}}'
    )
    spread = decode_map(old).spreads["notes"]
    assert spread.change is not None
    assert spread.generation == Generation("encoder:1111111111111111", 24)
    assert spread.by(spread.change.other).generation == Generation("wide:2222222222222222", 48)
    config = CollectionConfig(VectorParams(24, "Cosine"))
    assert going(spread, config) == [""]
    assert [config_of(config, one).dense[""].size for one in spread.both] == [24, 48]


def test_what_is_embedded_anew_follows_from_the_models_of_both() -> None:
    named = {"title": VectorParams(24, "Euclid"), "fixed": VectorParams(3, "Dot")}
    config = CollectionConfig(VectorParams(24, "Cosine"), named)
    one, two = (ModelVersion(name, digit * 16) for name, digit in (("one", "1"), ("two", "2")))
    first = told_instead("", {"": one, "title": one, "fixed": one})
    assert told_instead(first, {"title": two, "": two}).split() == [f"fixed={one}", f"={two}", f"title={two}"]
    assert anew(holding(config, first), told_instead(first, {"title": two})) == ["title"]
    assert anew(holding(config, first), told_instead(f"{one}", {"": two})) == [""]
    assert anew(holding(config, f"{one}"), told_instead(first, {"title": one})) == []
    assert told_instead(f"{one} other", {"": two}, is_single=True) == f"other {two}"
    generation = Generation(told_instead(first, {"title": two}), 24, {"title": 48})
    spread = Spread("hash", {0: ["a"]}, first, size=24, change=Change("making", Layout("hash", {1: ["a"]})))
    by = spread.by(msgspec.structs.replace(spread.layout, generation=generation))
    assert {name: params.size for name, params in config_of(config, by).dense.items()} == {
        "": 24, "title": 48, "fixed": 3,
    }  # fmt: skip
    with pytest.raises(InputError, match="a size of vector `title`, the collection has none of this name"):
        config_of(config.without("title"), by)
