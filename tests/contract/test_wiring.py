"""From a site file to a node: what is opened, what is refused, and that everything is closed again."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import (
    ArtifactError,
    InputError,
    LittoralError,
    NotFoundError,
    SettingError,
    TrustError,
    UnavailableError,
)
from littoral.node.node import Node
from littoral.node.search_step import SearchStep, searched
from littoral.node.site import Site
from littoral.node.supervisor import embedded
from littoral.node.wiring import check_site, open_node
from littoral.runtime.edges import HITS, TensorsType
from littoral.runtime.step import How
from littoral.tensors import TensorSpec
from littoral.vectors.collection import Collection, QueryOptions
from littoral.vectors.queries import SearchParams
from littoral.vectors.records import CollectionConfig, VectorParams
from page_pictures import page_pictures
from site_folder import SIZE, TEXT, site_in
from tracked import ROOT


@contextlib.asynccontextmanager
async def node_of(site: Site, said: list[str] | None = None) -> AsyncIterator[Node]:
    with embedded(site.data) as link:
        async with link, open_node(site, link, say=(said if said is not None else []).append) as node:
            yield node


async def test_a_site_file_becomes_a_node_that_answers(tmp_path: Path) -> None:
    said: list[str] = []
    async with node_of(site_in(tmp_path), said) as node:
        frames = node.collections.get("frames")
        for i, picture in enumerate(page_pictures()[:6]):
            answer = await node.pipelines["embed"].pipeline.run(picture.data)
            assert isinstance(answer.value, dict)
            (vectors,) = answer.value.values()
            await frames.upsert([i], vectors, [{"source": picture.source}])
        answer = await node.pipelines["similar"].pipeline.run(page_pictures()[2].data)
    hits = list(answer.value)
    assert (len(hits), hits[0].id) == (3, 2)
    assert hits[0].payload == {"source": "harbour"}
    assert answer.how.node == "store-12"
    assert list(answer.how.stages) == ["decode", "embedder", "normalize", "search"]
    assert answer.how.search == {"asked": 1, "answered": 1, "missing": [], "certified": True, "expected_recall": 1.0}
    assert said == [
        "model `embedder`: embedder.wasm, trusted engine, 0 MiB of memory",
        "agent `decode`: builtin:image",
        "collection `frames`: made, 5 × Cosine",
    ]


async def test_a_node_tells_what_its_steps_use(tmp_path: Path) -> None:
    async with node_of(site_in(tmp_path)) as node:
        steps = node.pipelines["similar"].steps
    assert [(s.name, s.kind, s.uses) for s in steps] == [
        ("decode", "agent", "decode"),
        ("embedder", "model", "embedder"),
        ("normalize", "step", "normalize"),
        ("search", "search", "frames"),
    ]
    assert (steps[0].takes, steps[-1].gives) == ("bytes", "hits")
    assert steps[0].gives == steps[1].takes == "`image` float32[1, 3, 32, 32]"


async def test_what_was_indexed_is_there_after_a_restart(tmp_path: Path) -> None:
    site = site_in(tmp_path)
    async with node_of(site) as node:
        await node.collections.get("frames").upsert([7], np.ones((1, SIZE)))
    said: list[str] = []
    async with node_of(site, said) as node:
        assert await node.collections.get("frames").count() == 1
    assert said[-1] == "collection `frames`: 5 × Cosine"


async def test_everything_is_closed_at_the_end(tmp_path: Path) -> None:
    async with node_of(site_in(tmp_path)) as node:
        pools = [node.models["embedder"].pool, node.agents["decode"].pool]
        pipeline = node.pipelines["embed"].pipeline
    for pool in pools:
        with pytest.raises(UnavailableError, match="is closed"):
            await pool.lease()
    with pytest.raises(UnavailableError):
        await pipeline.run(b"")


async def test_a_collection_of_another_size_is_refused(tmp_path: Path) -> None:
    async with node_of(site_in(tmp_path)):
        pass
    other = site_in(tmp_path, TEXT.replace('size = 5, distance = "Cosine"', 'size = 5, distance = "Dot"'))
    with pytest.raises(SettingError, match=r"`collections.frames` is 5 × Dot, on disk it has 5 × Cosine · hint"):
        async with node_of(other):
            pass
    with pytest.raises(SettingError, match="on disk it has 5 × Cosine"):
        check_site(other)
    check_site(site_in(tmp_path))


async def test_named_vectors_are_made_and_held_against_what_is_there(tmp_path: Path) -> None:
    items = """
[collections.items]
named.text = { size = 4, distance = "Dot" }
named.patches = { size = 3, distance = "Cosine", multi = true }
sparse = ["words"]
"""
    site, said = site_in(tmp_path, TEXT + items), list[str]()
    async with node_of(site, said) as node:
        config = node.collections.get("items").config
        assert (list(config.named), list(config.sparse), config.vectors) == (["text", "patches"], ["words"], None)
        assert config.named["patches"].multivector_config is not None
    assert said[-1] == "collection `items`: made, `text` 4 × Dot, `patches` 3 × Cosine, `words` sparse"
    check_site(site)
    for found, other in (("size = 4", "size = 5"), (", multi = true", ""), ('["words"]', '["tags"]')):
        with pytest.raises(SettingError, match="on disk it has `text` 4 × Dot"):
            check_site(site_in(tmp_path, TEXT + items.replace(found, other)))


async def test_a_collection_that_was_deleted_meanwhile_costs_the_request(tmp_path: Path) -> None:
    async with node_of(site_in(tmp_path)) as node:
        picture = page_pictures()[0].data
        await node.collections.delete("frames")
        with pytest.raises(NotFoundError, match="collection `frames` does not exist"):
            await node.pipelines["similar"].pipeline.run(picture)
        await node.collections.create("frames", CollectionConfig(VectorParams(SIZE + 1, "Dot")))
        with pytest.raises(InputError, match="vector has 5 numbers, expected 6"):
            await node.pipelines["similar"].pipeline.run(picture)
        await node.collections.delete("frames")
        await node.collections.create("frames", CollectionConfig(VectorParams(SIZE, "Dot")))
        assert list((await node.pipelines["similar"].pipeline.run(picture)).value) == []


BROKEN: dict[str, tuple[str, str, type[LittoralError], str]] = {
    "a model that is not there": (
        'path = "embedder.wasm"',
        'path = "other.wasm"',
        NotFoundError,
        r"`models.embedder`: model `.*other.wasm`: there is no such file",
    ),
    "a model that is none": (
        'path = "embedder.wasm"',
        'path = "site.toml"',
        ArtifactError,
        r"`models.embedder`: `.*site.toml`: not a WebAssembly module",
    ),
    "a model of another digest": (
        'path = "embedder.wasm"',
        f'path = "embedder.wasm"\nsha256 = "{"ab" * 32}"',
        TrustError,
        rf"`models.embedder`: `.*embedder.wasm`: SHA-256 is `.*`, expected `{'ab' * 32}`",
    ),
    "an agent that is not there": (
        "builtin:image",
        "builtin:imago",
        NotFoundError,
        r"`agents.decode`: built-in agent `imago` is unknown, known: image, text",
    ),
    "an agent that refuses its configuration": (
        "width = 32",
        "breadth = 32",
        LittoralError,
        r"`agents.decode`: .*breadth",
    ),
    "an output that is not there": (
        '{ model = "embedder" }, { step = "normalize" }]',
        '{ model = "embedder", take = "y" }]',
        SettingError,
        r"`pipelines.embed`: step `embedder`: no output `y`, outputs: ",
    ),
    "an edge that does not fit": (
        "width = 32",
        "width = 64",
        SettingError,
        r"`pipelines.embed`: .*gives `image` float32\[1, 3, 32, 64\], step `embedder` takes `x` float32",
    ),
    "a search of another size": (
        "size = 5",
        "size = 6",
        SettingError,
        r"`pipelines.similar`: .*step `search` takes `vector` float32\[1, 6\]",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_does_not_fit_is_told_before_anything_starts(what: str, tmp_path: Path) -> None:
    right, wrong, kind, message = BROKEN[what]
    assert right in TEXT
    site = site_in(tmp_path, TEXT.replace(right, wrong))
    with pytest.raises(kind, match=message) as raised:
        check_site(site)
    assert str(raised.value).startswith(str(site.file))
    assert not site.data.exists()


def test_a_site_that_fits_is_checked_without_a_data_folder(tmp_path: Path) -> None:
    site = site_in(tmp_path)
    assert set(check_site(site)) == {"embed", "similar"}
    assert not site.data.exists()


def test_a_pin_may_be_in_capitals(tmp_path: Path) -> None:
    from littoral.artifact import Model

    site = site_in(tmp_path)
    digest = Model.open(tmp_path / "embedder.wasm").digest.upper()
    check_site(
        site_in(tmp_path, TEXT.replace('path = "embedder.wasm"', f'path = "embedder.wasm"\nsha256 = "{digest}"'))
    )
    assert site.models["embedder"].sha256 is None


def nowhere() -> Collection:
    raise NotFoundError("collection `frames` does not exist")


@pytest.mark.parametrize("shape", [(4,), (1, 4), (-1, 4), (1, -1)])
def test_a_search_takes_one_vector(shape: tuple[int, ...]) -> None:
    step = SearchStep(nowhere, size=4, options=QueryOptions())
    assert step.bind(TensorsType((TensorSpec("y", "float32", shape),))).gives == HITS


@pytest.mark.parametrize(
    ("dtype", "shape"), [("float64", (4,)), ("float32", (5,)), ("float32", (2, 4)), ("float32", ())]
)
def test_a_search_takes_nothing_else(dtype: str, shape: tuple[int, ...]) -> None:
    step = SearchStep(nowhere, size=4, options=QueryOptions())
    with pytest.raises(SettingError, match=r"takes `vector` float32\[1, 4\]"):
        step.bind(TensorsType((TensorSpec("y", dtype, shape),)))


async def test_a_vector_of_an_unknown_size_is_checked_when_it_comes() -> None:
    stage = SearchStep(nowhere, size=4, options=QueryOptions()).bind(
        TensorsType((TensorSpec("y", "float32", (-1, 4)),))
    )
    with pytest.raises(InputError, match=r"vector of shape \[2, 4\], expected \[1, 4\]"):
        await stage.run({"y": np.zeros((2, 4), np.float32)}, How())
    with pytest.raises(NotFoundError):
        await asyncio.wait_for(stage.run({"y": np.zeros((1, 4), np.float32)}, How()), 60)


def test_a_search_by_graph_promises_nothing() -> None:
    told = searched(QueryOptions(params=SearchParams(hnsw_ef=64)))
    assert (told["certified"], told["expected_recall"]) == (False, None)


NEURAL = """
[node]
listen = "127.0.0.1:0"

[models.embedder]
path = "embedder.wasm"

[agents.asking]
path = "neural.wasm"
grants = ["wasi_ephemeral_nn:embedder", "wasi_snapshot_preview1"]

[pipelines.asked]
steps = [{ agent = "asking" }]
"""


async def test_an_agent_runs_a_model_that_it_is_granted(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/guests/neural.wasm", tmp_path)
    pixels = np.random.default_rng(2).standard_normal((1, 3, 32, 32), np.float32)
    async with node_of(site_in(tmp_path, NEURAL)) as node:
        answer = await node.pipelines["asked"].pipeline.run(b"embedder\n1 1 3 32 32\n" + pixels.tobytes())
        expected = await node.models["embedder"].pool.run(lambda session: session.run({"x": pixels}))
    (embedding,) = expected.values()
    assert answer.value == embedding.tobytes()


async def test_a_model_that_is_not_there_cannot_be_granted(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/guests/neural.wasm", tmp_path)
    text = NEURAL.replace("_nn:embedder", "_nn:detector")
    with pytest.raises(
        SettingError,
        match=r"`agents.asking`: agent `asking`: no model `detector` to be granted, there are: `embedder`",
    ):
        check_site(site_in(tmp_path, text))
