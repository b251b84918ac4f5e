"""The collection of a gateway's answers, with real shard hosts: made, found again, exchanged for another embedder."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway_site import SITE, write_gateway_site
from kept_answers import SetClock, asked, entry, vector
from littoral.answers.points import collection_config
from littoral.answers.store import AnswerStore, StoreBounds
from littoral.errors import InputError, SettingError
from littoral.node.at_rest import encrypted_fields
from littoral.node.gateway.answers_collection import NO_EMBEDDER, AnswersEmbedder, open_store
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.vault import KeyRing
from littoral.vault.keys import new_key
from littoral.vectors.collections import Collections
from littoral.vectors.model_version import ModelVersion
from waiting import until_async

ENTRIES = 5


def embedder(letter: str, size: int = 8) -> AnswersEmbedder:
    async def embed(question: str) -> Any:
        if "number 3" in question:
            raise InputError("of this one there is no vector")
        return np.resize(vector(sum(map(ord, question))), size)

    return AnswersEmbedder(size, (ModelVersion("encoder", letter * 64),), embed)


Step = Callable[[Collections, AnswerStore, list[str]], Awaitable[None]]


def in_turn(folder: Path, *steps: tuple[AnswersEmbedder, Step]) -> list[str]:
    """A node that starts once for each; what it said."""
    said: list[str] = []

    async def run() -> None:
        for with_embedder, step in steps:
            with embedded(folder) as link:
                async with link:
                    collections = await Collections.open(folder, link)
                    opened = open_store(
                        collections, folder, "answers", with_embedder, StoreBounds(), SetClock(), said.append
                    )
                    async with opened as store:
                        await step(collections, store, said)
                    await collections.close()

    asyncio.run(run())
    return said


async def fill(_collections: Collections, store: AnswerStore, _said: list[str]) -> None:
    for number in range(ENTRIES):
        assert await store.keep(entry(number, tier="learned" if number else "curated"), vector(number))
    assert await store.observe(entry(0).id, 0.5, True)


def test_it_is_found_again_by_the_embedder_that_filled_it(tmp_path: Path) -> None:
    async def look(collections: Collections, store: AnswerStore, said: list[str]) -> None:
        assert collections.names() == ["answers"]
        await store._room.looked_through()
        assert not store.stats().is_behind
        assert await store.exact(asked(entry(3))) == entry(3)
        near = await store.entry(entry(0).id)
        assert near is not None
        assert len(near.observations) == 1
        info = await collections.get("answers").info()
        assert {"partition", "tags", "model", "policy", "tenant", "expires_at"} == set(info.payload_schema)

    said = in_turn(tmp_path, (embedder("a"), fill), (embedder("a"), look))
    assert said == ["collection `answers`: made for answers of the gateway, 8 × Cosine"]


def test_entries_are_embedded_anew_for_another_embedder(tmp_path: Path) -> None:
    async def look(collections: Collections, store: AnswerStore, said: list[str]) -> None:
        await until_async(lambda: said[-1].endswith("it is deleted"))
        assert collections.names() == ["answers-next"]
        assert await store.exact(asked(entry(3))) is None
        assert [await store.exact(asked(entry(n))) for n in (1, 2, 4)] == [entry(n) for n in (1, 2, 4)]
        question = entry(2).question
        near, *_ = await store.nearest(asked(entry(2)), await embedder("b", 6).embed(question))
        assert (near.entry, round(near.similarity, 2)) == (entry(2), 1)
        curated = await store.entry(entry(0).id)
        assert curated is not None
        assert (curated.entry.tier, len(curated.observations)) == ("curated", 0)

    async def back(collections: Collections, store: AnswerStore, said: list[str]) -> None:
        await until_async(lambda: said[-1].startswith("collection `answers-next`: 4 entries"))
        assert collections.names() == ["answers"]
        assert await store.exact(asked(entry(1))) == entry(1)

    said = in_turn(tmp_path, (embedder("a"), fill), (embedder("b", 6), look), (NO_EMBEDDER, back))
    assert (
        "collection `answers`: holds embeddings of `encoder:aaaaaaaaaaaaaaaa`, its entries are embedded anew for"
        in said[2]
    )
    assert "collection `answers`: 4 entries embedded anew, 1 left out; it is deleted" in said
    assert "collection `answers-next`: 4 entries embedded anew, 0 left out; it is deleted" in said


def test_what_was_not_carried_is_at_the_next_start(tmp_path: Path) -> None:
    async def killed(collections: Collections, store: AnswerStore, said: list[str]) -> None:
        assert set(collections.names()) == {"answers", "answers-next"}

    async def look(collections: Collections, store: AnswerStore, said: list[str]) -> None:
        await until_async(lambda: said[-1].endswith("it is deleted"))
        assert collections.names() == ["answers-next"]
        assert await store.exact(asked(entry(4))) == entry(4)

    in_turn(tmp_path, (embedder("a"), fill), (embedder("b"), killed), (embedder("b"), look))


def test_a_collection_that_is_spread_is_not_exchanged(tmp_path: Path) -> None:
    async def run() -> None:
        with embedded(tmp_path) as link:
            async with link:
                collections = await Collections.open(tmp_path, link)
                collections.stand_in(await _apart(tmp_path / "elsewhere"))
                opened = open_store(
                    collections, tmp_path, "answers", embedder("a"), StoreBounds(), SetClock(), lambda _: None
                )
                with pytest.raises(SettingError, match="another size or embedder than `gateway.embedder` · hint"):
                    async with opened:
                        pass
                await collections.close()

    asyncio.run(run())


async def _apart(folder: Path) -> Any:
    """A collection that lies elsewhere: as one that is spread, none of these collections."""
    with embedded(folder) as link:
        async with link:
            collections = await Collections.open(folder, link)
            found = await collections.create("answers", collection_config(4))
            await collections.close()
    return found


def test_questions_and_answers_lie_sealed_where_there_are_keys(tmp_path: Path) -> None:
    ring = KeyRing([new_key()[0]])
    text = SITE.format(url="http://127.0.0.1:1/v1") + '\n[encryption]\nkey_file = "seal.key"\n'
    site = read_site(write_gateway_site(tmp_path, text))
    fields = encrypted_fields(site, ring)
    assert encrypted_fields(site, None) == {}
    assert set(fields) == {"answers", "answers-next"}
    assert all(one.names == ["question", "answer"] for one in fields.values())

    async def run() -> None:
        with embedded(tmp_path) as link:
            async with link:
                collections = await Collections.open(tmp_path, link, encrypted=fields)
                opened = open_store(
                    collections, tmp_path, "answers", embedder("a"), StoreBounds(), SetClock(), lambda _: None
                )
                async with opened as store:
                    await fill(collections, store, [])
                    assert await store.exact(asked(entry(1))) == entry(1)
                    assert [near.entry for near in await store.nearest(asked(entry(2)), vector(2), 1)] == [entry(2)]
                    assert await store.purge(model="small") == ENTRIES
                    await fill(collections, store, [])
                await collections.close()

    asyncio.run(run())
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"learned" in data for data in files)
    for secret in (b"How does number", b"It works like"):
        assert not any(secret in data for data in files)
