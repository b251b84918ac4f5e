"""A collection that is spread over nodes goes to another model while it is read and written."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spread_notes import NotesNode, fill, notes_nodes, shards_on_disk, until_model
from two_models import installation, note
from waiting import until_async

COUNT = 40


@pytest.fixture
def folder() -> Iterator[Path]:
    with installation() as folder:
        yield folder


async def check_whole(nodes: dict[str, NotesNode], texts: dict[int, str]) -> None:
    """Every node answers with all points, and with vectors of the model that its pipelines have."""
    for node in nodes.values():
        assert await node.texts() == texts
        for number in list(texts)[::7]:
            assert np.allclose(await node.vector(number), await node.embed(texts[number]), atol=1e-6)
            assert (await node.find(texts[number]))[0].score > 0.999


def test_a_spread_collection_is_embedded_anew_flipped_taken_back_and_dropped(folder: Path) -> None:
    async def run() -> None:
        texts = {number: note(number) for number in range(COUNT)}
        async with notes_nodes(folder, ("a", "b")) as nodes:
            await fill(nodes, texts)
            first = await nodes["b"].embed(note(1))
            await check_whole(nodes, texts)
            await nodes["b"].migrate("encoder@2")
            await until_model(nodes, "encoder@2", "kept")
            assert np.abs(await nodes["a"].embed(note(1)) - first).max() > 0.01
            await check_whole(nodes, texts)
            progress = nodes["a"].told().progress
            assert (progress.state, progress.current.name, progress.is_whole) == ("flipped", "encoder", True)
            await nodes["a"].keep(1000, texts.setdefault(1000, "a new note about rivers"))
            await nodes["b"].node.collections.get("notes").delete([7])
            del texts[7]
            await nodes["b"].back()
            await until_model(nodes, "encoder@1", "kept")
            assert np.allclose(await nodes["a"].embed(note(1)), first)
            await check_whole(nodes, texts)
            await nodes["a"].drop()
            await until_model(nodes, "encoder@1", "")
            await until_async(lambda: shards_on_disk(nodes) == ["notes.0", "notes.1"])
            assert nodes["b"].told() is None
            await check_whole(nodes, texts)

    asyncio.run(run())
