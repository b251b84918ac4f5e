"""A collection that is spread over nodes goes to another model while it is read and written."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import ConflictError, LittoralError, UnavailableError
from littoral.node.federation.placing import strategy_of
from littoral.runtime.edges import tensors_of
from littoral.vault.keys import new_key
from littoral.vectors.partition.strategy import Geographic, Hybrid
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import PointId
from nodes_in_process import Wires
from recorded_wires import RecordedWires
from spread_load import Load
from spread_notes import MIGRATE, NotesNode, fill, notes_nodes, opened_note_node, settled, shards_on_disk, until_model
from two_models import OTHER_WORDS, WITH_OTHER_WORDS, installation, note
from waiting import until_async, until_true

COUNT = 40
NAMES = ("a", "b", "c")
DOUBLE = 'strategy = "hash", shards = 3, replicas = 2, recall = 1.0'
FOR_EVER = 'migrate = { source = "payload:text", pipeline = "sentences", points_per_s = 0.001 }'
"""Nothing is flipped while a test lasts."""
SEALED = f'{MIGRATE}\nencrypted = {{ fields = ["text"] }}'
SITE_KEYS = '[mesh.encryption]\nkey_file = "../keys"\n'


@pytest.fixture(scope="module")
def cached() -> Iterator[Path]:
    """Code that was compiled once is there for all."""
    with installation() as folder:
        yield folder


@pytest.fixture
def folder(cached: Path) -> Iterator[Path]:
    own = cached / "n"
    own.mkdir()
    yield own
    shutil.rmtree(own)


async def check_whole(nodes: Mapping[str, NotesNode], texts: Mapping[int, str]) -> None:
    """Every node answers with all points, and with vectors of the model that its pipelines have."""
    for node in nodes.values():
        assert await node.texts() == texts
        for number in list(texts)[:: max(7, len(texts) // 6)]:
            assert np.allclose(await node.vector(number), await node.embed(texts[number]), atol=1e-6)
            assert (await node.find(texts[number]))[0].score > 0.999


def test_no_query_meets_the_other_models_vectors_and_no_write_is_lost_there_and_back(folder: Path) -> None:
    """Both models have vectors of one size: an answer that mixes them would show by its score, not by an error."""

    async def run() -> None:
        texts = {number: note(number) for number in range(COUNT)}
        async with notes_nodes(folder, NAMES, spread=DOUBLE) as nodes:
            await fill(nodes, texts)
            first = await nodes["b"].embed(note(1))
            load = Load(nodes, texts, COUNT)
            async with load.running():
                await nodes["c"].migrate("encoder@2")
                await until_model(nodes, "encoder@2", "kept")
                assert np.abs(await nodes["a"].embed(note(1)) - first).max() > 0.01
                await until_async(lambda: nodes["a"].told().progress.why == "")
                progress = nodes["a"].told().progress
                assert (progress.state, progress.is_whole) == ("flipped", True)
                seen = load.found
                await until_async(lambda: load.found > seen + 20)
                await nodes["a"].back()
                await until_model(nodes, "encoder@1", "kept")
            assert load.wrong == []
            assert (await nodes["b"].texts()).items() >= texts.items()
            kept = await agreed(nodes)
            assert kept.items() >= texts.items()
            await nodes["c"].collection.delete([7])
            del kept[7]
            await nodes["b"].drop()
            await until_model(nodes, "encoder@1", "")
            wanted = sorted(f"notes.{shard}" for shard in (0, 1, 2) for _ in range(2))
            await until_async(lambda: shards_on_disk(nodes) == wanted)
            assert nodes["b"].told() is None
            await check_whole(nodes, kept)

    asyncio.run(run())


def test_what_a_node_took_while_it_was_cut_off_is_embedded_anew_when_it_is_back(folder: Path) -> None:
    async def run() -> None:
        texts, wires = {number: note(number) for number in range(COUNT)}, Wires()
        async with notes_nodes(folder, NAMES, wires=wires, spread=DOUBLE) as nodes:
            await fill(nodes, texts)
            await nodes["a"].migrate("encoder@2")
            await until_model(nodes, "encoder@1", "copying")
            wires.cut("a", "c")
            wires.cut("b", "c")
            taken = await self_taken(nodes["c"], texts)
            assert taken
            whole = {name: nodes[name] for name in "ab"}
            await until_model(whole, "encoder@2", "kept")
            assert nodes["c"].model == "encoder@1"
            wires.heal()
            await until_model(nodes, "encoder@2", "kept")
            assert await agreed(nodes) == texts
            await check_whole(nodes, texts)

    asyncio.run(run())


async def self_taken(node: NotesNode, texts: dict[int, str]) -> list[int]:
    """Points that this node takes alone; those of shards that it does not hold are refused."""
    taken = []
    for number in range(500, 512):
        with contextlib.suppress(LittoralError):
            await node.keep(number, f"{note(number)} taken alone")
            texts[number] = f"{note(number)} taken alone"
            taken.append(number)
    return taken


async def agreed(nodes: Mapping[str, NotesNode]) -> dict[PointId, str]:
    """What all of them answer with, as soon as they do: a write that was refused may have happened on some."""
    found: list[dict[PointId, str]] = []

    async def are_equal() -> bool:
        with contextlib.suppress(UnavailableError):
            found[:] = [await node.texts() for node in nodes.values()]
            return all(texts == found[0] for texts in found)
        return False

    await until_true(are_equal)
    return found[0]


def test_nodes_that_lack_the_model_are_named_and_nothing_begins(folder: Path) -> None:
    async def run() -> None:
        async with notes_nodes(folder, ("a", "b"), migrate=FOR_EVER) as nodes:
            texts = {number: note(number) for number in range(6)}
            await fill(nodes, texts)
            version = folder / "b" / "encoder" / "2"
            version.rename(folder / "away")
            with pytest.raises(ConflictError, match=r"nodes `b` cannot embed it by .*; `b`: .* is not there"):
                await nodes["a"].migrate("encoder@2")
            assert nodes["a"].step == ""
            (folder / "away").rename(version)
            await nodes["a"].migrate("encoder@2")
            with pytest.raises(ConflictError, match="on its way already"):
                await nodes["a"].migrate("wide@1")
            await nodes["a"].migrate("encoder@2")
            await nodes["b"].drop()
            assert nodes["a"].step == ""
            assert (await nodes["b"].find(texts[3]))[0].score > 0.999

    asyncio.run(run())


def test_what_one_generation_alone_could_have_is_refused_and_a_point_that_cannot_be_embedded_holds_up_the_flip(
    folder: Path,
) -> None:
    files = 'migrate = { source = "file:text", folder = "kept", pipeline = "sentences" }'

    async def run() -> None:
        async with notes_nodes(folder, ("a", "b"), migrate=files) as nodes:
            for name, node in nodes.items():
                (folder / name / "kept").mkdir()
                for number in range(4):
                    (folder / name / "kept" / note(number)).write_text(f"what stands in file {number}")
                assert node.model == "encoder@1"
            await fill(nodes, {number: note(number) for number in range(5)})
            await nodes["a"].migrate("encoder@2")
            await until_stuck(nodes["b"], "1 points cannot be embedded, such as `4`")
            one = nodes["a"].collection
            vector = [1.0] * 24
            with pytest.raises(ConflictError, match="point `50` cannot be embedded for both"):
                await one.upsert([50], [vector], [{"other": 1}])
            with pytest.raises(ConflictError, match="`UpdateVectors` would change one of them alone"):
                await one.update_vectors([1], [np.ones(24, "<f4").tobytes()])
            with pytest.raises(ConflictError, match="the payload would lose what is embedded"):
                await one.change_payload(PayloadChange("clear", ids=[1]))
            await one.change_payload(PayloadChange("merge", ids=[1], payload={"seen": True}))
            for name in nodes:
                (folder / name / "kept" / note(4)).write_text("now it is there")
            await until_model(nodes, "encoder@2", "kept")
            assert np.allclose(await nodes["b"].vector(4), await nodes["b"].embed("now it is there"), atol=1e-6)
            assert await one.count({"must": [{"key": "seen", "match": {"value": True}}]}) == 1

    asyncio.run(run())


async def until_stuck(node: NotesNode, why: str) -> None:
    def is_stuck() -> bool:
        told = node.told()
        return told is not None and told.progress.state == "stuck" and why in told.progress.why

    await until_async(is_stuck)


def test_a_node_that_is_started_again_goes_on_and_one_without_its_model_says_so(folder: Path) -> None:
    async def run() -> None:
        texts, wires = {number: note(number) for number in range(COUNT)}, Wires()
        async with contextlib.AsyncExitStack() as opened:
            nodes = await opened.enter_async_context(notes_nodes(folder, ("a", "b"), wires=wires, migrate=FOR_EVER))
            await fill(nodes, texts)
            await nodes["a"].migrate("encoder@2")
            await until_model(nodes, "encoder@1", "copying")
        for name in ("a", "b"):
            site = folder / name / "site.toml"
            site.write_text(site.read_text().replace(FOR_EVER, MIGRATE))
        version = folder / "b" / "encoder" / "2"
        version.rename(folder / "away")
        async with contextlib.AsyncExitStack() as opened:
            nodes = {
                name: await opened.enter_async_context(opened_note_node(folder / name / "site.toml", wires, name))
                for name in ("a", "b")
            }
            await settled(nodes)
            await until_stuck(nodes["a"], "node `b`: collection `notes`: model `encoder:")
            assert (await nodes["b"].find(texts[3]))[0].score > 0.999
            (folder / "away").rename(version)
            await until_model(nodes, "encoder@2", "kept")
            await check_whole(nodes, texts)

    asyncio.run(run())


def test_cells_are_fitted_to_the_vectors_of_the_other_model(folder: Path) -> None:
    async def run() -> None:
        sample = np.random.default_rng(0).normal(size=(200, 24)).astype("<f4")
        np.save(folder / "sample.npy", sample)
        spread = f'strategy = "metric", shards = 2, replicas = 1, recall = 1.0, sample = "{folder}/sample.npy"'
        texts = {number: note(number) for number in range(COUNT)}
        async with notes_nodes(folder, ("a", "b"), spread=spread) as nodes:
            await fill(nodes, texts)
            await nodes["b"].migrate("wide@1")
            await until_model(nodes, "wide@1", "kept")
            assert (await nodes["a"].embed(note(1))).shape == (48,)
            await check_whole(nodes, texts)
            await nodes["a"].drop()
            await until_model(nodes, "wide@1", "")
            await check_whole(nodes, texts)

    asyncio.run(run())


def test_what_is_pinned_goes_to_the_other_model_within_its_region_in_cells_made_of_others(folder: Path) -> None:
    """The map's writer is in the region that is pinned; a point is from where it is written."""

    async def run() -> None:
        np.save(folder / "sample.npy", np.random.default_rng(0).normal(size=(200, 24)).astype("<f4"))
        spread = (
            'strategy = "geographic", within = "metric", regions = ["eu", "us"], pinned = ["eu"], shards = 4, '
            f'replicas = 1, recall = 1.0, sample = "{folder}/sample.npy"'
        )
        regions, wires = {"a": "eu", "b": "us"}, RecordedWires()
        sealed = {number: f"sealed {note(number)}" for number in range(COUNT // 2)}
        free = {number: note(number) for number in range(COUNT // 2, COUNT)}
        async with notes_nodes(folder, ("a", "b"), wires=wires, regions=regions, spread=spread) as nodes:
            for name, texts in (("a", sealed), ("b", free)):
                for number, text in texts.items():
                    await nodes[name].keep(number, text)
            await nodes["b"].migrate("wide@1")
            await until_model(nodes, "wide@1", "kept")
            assert await nodes["a"].texts() == sealed | free
            assert await nodes["b"].texts() == free
            federation = nodes["a"].node.federation
            assert federation is not None
            strategy = strategy_of(federation.map.spreads["notes"])
            assert isinstance(strategy, Geographic)
            assert all(isinstance(part, Hybrid) for part in strategy.regions.values())
            told = wires.between("a", "b")
            assert b"sealed" not in told
            for number in list(sealed)[1::3]:
                assert (await nodes["a"].vector(number)).tobytes() not in told
            assert (await nodes["a"].vector(3)).shape == (48,)
            assert (await nodes["a"].find(sealed[3]))[0].score > 0.999  # last: a query goes wherever hits may be

    asyncio.run(run())


def test_a_model_brings_its_own_tokenizer_on_every_node(folder: Path) -> None:
    async def run() -> None:
        texts = {number: note(number) for number in range(12)}
        names = ("a", "b")
        async with notes_nodes(folder, names, migrate=WITH_OTHER_WORDS, tables=OTHER_WORDS) as nodes:
            await fill(nodes, texts)
            before = await nodes["a"].embed(note(3))
            await nodes["b"].migrate("wide@1")
            await until_model(nodes, "wide@1", "kept")
            for node in nodes.values():
                (wanted,) = tensors_of(await node.run("wide", note(3).encode())).values()
                assert (await node.embed(note(3))).tolist() == wanted[0].tolist()
            await nodes["a"].keep(500, note(500))
            texts[500] = note(500)
            await check_whole(nodes, texts)
            await nodes["a"].back()
            await until_model(nodes, "encoder@1", "kept")
            assert (await nodes["b"].embed(note(3))).tolist() == before.tolist()
            await check_whole(nodes, texts)

    asyncio.run(run())


def test_the_site_file_of_the_node_that_writes_the_map_names_the_model(folder: Path) -> None:
    """And with `keep_h = 0` nothing is kept for the way back."""

    async def run() -> None:
        texts, wires = {number: note(number) for number in range(6)}, Wires()
        migrate = 'migrate = { source = "payload:text", pipeline = "sentences", keep_h = 0 }'
        async with notes_nodes(folder, ("a", "b"), wires=wires, migrate=migrate) as nodes:
            await fill(nodes, texts)
        site = folder / "a" / "site.toml"
        site.write_text(site.read_text().replace('model = "encoder@1"', 'model = "encoder@2"'))
        async with contextlib.AsyncExitStack() as opened:
            nodes = {
                name: await opened.enter_async_context(opened_note_node(folder / name / "site.toml", wires, name))
                for name in ("a", "b")
            }
            await settled(nodes)
            await until_model(nodes, "encoder@2", "")
            await check_whole(nodes, texts)
            await nodes["a"].migrate("wide@1")  # and is not taken from there by what the file says
            await until_model(nodes, "wide@1", "")
            await check_whole(nodes, texts)

    asyncio.run(run())


def test_what_is_embedded_anew_may_lie_sealed(folder: Path) -> None:
    """Who hands a point over embeds its text, which no shard and no message has in the clear."""

    async def run() -> None:
        texts, wires, names = {number: note(number) for number in range(6)}, RecordedWires(), NAMES[:2]
        (folder / "keys").write_text(new_key()[1])
        (folder / "keys").chmod(0o600)
        async with notes_nodes(folder, names, wires=wires, migrate=SEALED, tables=SITE_KEYS) as nodes:
            await fill(nodes, texts)
            await nodes["b"].migrate("encoder@2")
            await until_model(nodes, "encoder@2", "kept")
            await check_whole(nodes, texts)
        sent = wires.between(names, names)
        assert not [text for text in texts.values() if text.encode() in sent]

    asyncio.run(run())
