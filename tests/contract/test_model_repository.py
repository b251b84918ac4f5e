"""Versions of models: which are open, what takes over, what is refused, and that nobody notices but by the answers."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral import settings
from littoral.artifact import Model
from littoral.errors import (
    ArtifactError,
    ConflictError,
    LittoralError,
    NotFoundError,
    SettingError,
    TrapError,
    TrustError,
)
from littoral.node.model_files import Policy
from littoral.node.node import Node
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.runtime.instance import Session
from littoral.runtime.modules import code_cache
from modules_in_text import model
from oip_site import SITE, large, scaled, write_oip_site, write_version
from supervised import short_folder
from waiting import until_async, until_true

X = np.float32([[1, 2, 3]])
TRAPS = model("unreachable")
TRAPS_TOO = model("unreachable", version="2.0.0")


class Opened:
    """A node on its own folder. said: its lines."""

    def __init__(self, folder: Path, node: Node, said: list[str]) -> None:
        assert node.repository is not None
        self.folder = folder
        self.node = node
        self.said = said
        self.repository = node.repository

    async def factor(self, name: str = "scaled") -> float:
        """By which the serving version multiplies."""
        served = self.node.models[name]
        outputs = await served.pool.run(lambda session: session.run({"x": X}))
        (array,) = outputs.values()
        return float(array[0, 0])

    async def piped(self) -> float:
        """By which the pipeline multiplies that has this model and another one."""
        answer = await self.node.pipelines["both"].pipeline.run({"x": X})
        assert isinstance(answer.value, dict)
        (array,) = answer.value.values()
        return float(array[0, 0])

    def states(self, name: str = "scaled") -> list[tuple[int, str]]:
        return [(entry.version, entry.state) for entry in self.repository.index(name)]

    def reason(self, name: str = "scaled") -> str:
        return next(entry.reason for entry in self.repository.index(name) if entry.state == "UNAVAILABLE")


@contextlib.asynccontextmanager
async def opened(folder: Path, text: str = SITE) -> AsyncIterator[Opened]:
    said: list[str] = []
    site = read_site(write_oip_site(folder, text))
    with embedded(site.data) as link:
        async with link, open_node(site, link, say=said.append) as node:
            node.is_ready = True
            yield Opened(folder, node, said)


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """One installation for all: what was compiled once is not compiled again."""
    with short_folder() as folder:
        yield folder


@pytest.fixture
def folder(shared: Path) -> Iterator[Path]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(shared / "state"), LITTORAL_CACHE=str(shared / "cache")),
    ):
        yield folder


# --- which versions are open ---


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (Policy.of("latest"), [9]),
        (Policy.of("all"), [2, 7, 9]),
        (Policy.of([7, 2]), [2, 7]),
        (Policy("latest", 2), [7, 9]),
        (Policy("latest", 99), [2, 7, 9]),
    ],
)
def test_a_policy_chooses_versions(policy: Policy, chosen: list[int]) -> None:
    assert policy.choose([9, 2, 7], "model") == chosen


@pytest.mark.parametrize(
    ("policy", "available", "kind", "message"),
    [
        (Policy.of([3]), [1, 2], NotFoundError, "model: no version 3, there is 1, 2"),
        (Policy.of("latest"), [], NotFoundError, "model: no version is there"),
        (Policy.of("all"), range(1, 20), SettingError, "would be open at once, at most 8"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_told(
    policy: Policy, available: Any, kind: type[LittoralError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        policy.choose(available, "model")


@pytest.mark.parametrize(
    ("versions", "states", "factor"),
    [
        ('"latest"', [(2, "READY")], 100),
        ('"all"', [(1, "READY"), (2, "READY")], 100),
        ("[1]", [(1, "READY")], 10),
    ],
)
async def test_the_site_file_says_which_versions_are_open(
    folder: Path, versions: str, states: list[Any], factor: float
) -> None:
    async with opened(folder, SITE.replace('path = "scaled"', f'path = "scaled"\nversions = {versions}')) as node:
        assert node.states() == states
        assert await node.factor() == factor


@pytest.mark.parametrize(
    ("right", "wrong", "kind", "message"),
    [
        ('path = "scaled"', 'path = "scaled"\nversions = [5]', NotFoundError, "no version 5, there is 1, 2"),
        ('path = "scaled"', 'path = "empty"', NotFoundError, "no version is there"),
        ('path = "scaled"', 'path = "source"', ArtifactError, "littoral build .*source/1/model.onnx -o .*model.wasm"),
        ('path = "plain.wasm"', 'path = "plain.onnx"', ArtifactError, "is ONNX, a node runs compiled models"),
        ('path = "scaled"', f'path = "scaled"\nsha256 = "{"0" * 64}"', SettingError, "pins one file"),
        ('"next_total"', '"nothing"', SettingError, "`state`: no output `nothing`, outputs: y, next_total"),
        ("{ total = ", "{ other = ", SettingError, "`state`: no input `other`"),
    ],
)
async def test_what_cannot_be_opened_keeps_the_node_from_starting(
    folder: Path, right: str, wrong: str, kind: type[LittoralError], message: str
) -> None:
    (folder / "empty").mkdir()
    (folder / "source" / "1").mkdir(parents=True)
    (folder / "source" / "1" / "model.onnx").write_bytes(b"onnx")
    (folder / "plain.onnx").write_bytes(b"onnx")
    assert right in SITE
    with pytest.raises(kind, match=message):
        async with opened(folder, SITE.replace(right, wrong)):
            pass


# --- what takes over ---


async def test_a_new_version_takes_over_pipelines_too(folder: Path) -> None:
    async with opened(folder) as node:
        assert (await node.factor(), await node.piped()) == (100, 200)
        held = node.node.pipelines["both"]
        write_version(folder / "scaled", 3, scaled(7))
        assert await node.repository.load("scaled") == [3]
        assert (await node.factor(), await node.piped()) == (7, 14)
        assert node.node.pipelines["both"] is held
        assert node.states() == [(2, "UNAVAILABLE"), (3, "READY")]
        assert node.reason() == "kept for the way back"
        assert node.repository.counts("scaled") == (1, 0)
        assert any(line.startswith("model `scaled`: version 3 serves, ") for line in node.said)


async def test_what_is_there_already_is_left_alone(folder: Path) -> None:
    async with opened(folder) as node:
        before = node.node.models["scaled"].serving, node.node.models["plain"].serving
        assert await node.repository.load("scaled") == [2]
        assert await node.repository.load("plain") == [1]
        assert (node.node.models["scaled"].serving, node.node.models["plain"].serving) == before
        assert node.repository.counts("scaled") == (0, 0)


async def test_a_file_has_the_next_version_when_it_is_another(folder: Path) -> None:
    async with opened(folder) as node:
        for number, factor in ((2, 3.0), (3, 5.0)):
            scaled(factor, name="plain").save(folder / "plain.wasm")
            assert await node.repository.load("plain") == [number]
            assert await node.factor("plain") == factor
        scaled(3.0, name="plain").save(folder / "plain.wasm")
        assert await node.repository.load("plain") == [2]  # the one before, which is still at hand


async def test_the_version_before_is_put_back_and_forth(folder: Path) -> None:
    async with opened(folder) as node:
        with pytest.raises(ConflictError, match="no version served before this one"):
            await node.repository.roll_back("scaled")
        write_version(folder / "scaled", 3, scaled(7))
        await node.repository.load("scaled")
        (folder / "scaled" / "2" / "model.wasm").unlink()
        for version, factor in ((2, 100), (3, 7), (2, 100)):
            assert await node.repository.roll_back("scaled") == [version]
            assert (await node.factor(), await node.piped()) == (factor, 2 * factor)
        await node.repository.refresh(is_asked=False)
        assert await node.factor() == 100  # the watch leaves it
        await node.repository.load("scaled")
        assert await node.factor() == 7


async def test_a_version_that_is_left_has_no_instance_and_still_serves_who_holds_it(folder: Path) -> None:
    async with opened(folder) as node:
        pool = node.node.models["scaled"].pool
        stage = node.node.pipelines["both"].pipeline
        for number in (3, 4):
            write_version(folder / "scaled", number, scaled(number))
            await node.repository.load("scaled")
        await until_async(lambda: pool.first.statistics().memory_bytes == 0)
        answer = await stage.run({"x": X})
        assert isinstance(answer.value, dict)
        assert next(iter(answer.value.values()))[0, 0] == 200
        await until_async(lambda: pool.first.statistics().memory_bytes == 0)


@pytest.mark.parametrize("batch", ["", "batch = { max = 4, window_ms = 1 }"])
async def test_nothing_is_left_of_a_version_that_nobody_holds(folder: Path, batch: str) -> None:
    async with opened(folder, SITE.replace('path = "scaled"', f'path = "scaled"\n{batch}')) as node:
        taken = node.node.budget.taken
        pools = []
        for number in range(3, 8):
            pools.append(weakref.ref(node.node.models["scaled"].pool))
            write_version(folder / "scaled", number, scaled(float(number)))
            await node.repository.load("scaled")
            assert await node.piped() == 2 * number

        def alive() -> list[bool]:
            gc.collect()
            return [pool() is not None for pool in pools]

        await until_async(lambda: alive() == [False, False, False, False, True])  # the one before
        await until_async(lambda: node.node.budget.taken == taken)


async def test_a_model_comes_with_a_request(folder: Path) -> None:
    async with opened(folder) as node:
        assert await node.repository.load("scaled", None, {1: scaled(4).wasm, 9: scaled(6).wasm}) == [9]
        assert await node.factor() == 6
        assert await node.repository.load("scaled", Policy("all"), {0: scaled(8).wasm}) == [10]
        assert await node.factor() == 8
        await node.repository.refresh(is_asked=False)
        assert await node.factor() == 8
        await node.repository.refresh(is_asked=True)
        assert await node.factor() == 100


async def test_an_unloaded_model_is_refused_until_it_is_loaded(folder: Path) -> None:
    async with opened(folder) as node:
        await node.repository.unload("scaled")
        await node.repository.unload("scaled")
        assert node.states() == [(2, "UNAVAILABLE")]
        assert node.reason() == "unloaded"
        with pytest.raises(LittoralError, match="is closed"):
            await node.piped()
        with pytest.raises(ConflictError, match="no version served before"):
            await node.repository.roll_back("scaled")
        assert await node.repository.load("scaled") == [2]
        assert (await node.factor(), await node.piped()) == (100, 200)


async def test_a_request_that_waits_when_a_model_is_unloaded_is_answered(folder: Path) -> None:
    async with opened(folder) as node:
        pool = node.node.models["plain"].pool
        began, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(session: Session) -> float:
            loop.call_soon_threadsafe(began.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
            return float(session.run({"x": X})["y"][0, 0])

        running = asyncio.create_task(pool.run(slow))
        await began.wait()
        waiting = asyncio.create_task(pool.run(lambda session: float(session.run({"x": X})["y"][0, 0])))
        await until_async(lambda: pool.statistics().waiting == 1)
        await node.repository.unload("plain")
        go_on.set()
        assert (await running, await waiting) == (2, 2)
        with pytest.raises(LittoralError, match="is closed"):
            await pool.run(slow)


async def test_machine_code_of_a_large_model_is_made_elsewhere(folder: Path) -> None:
    async with opened(folder) as node:
        for factor, source in ((11.0, "file"), (13.0, "request")):
            fresh = large.__wrapped__(factor)
            kept = code_cache().statistics.kept
            if source == "file":
                fresh.save(folder / "plain.wasm")
                await node.repository.load("plain")
            else:
                await node.repository.load("plain", None, {0: fresh.wasm})
            assert code_cache().statistics.kept == kept
            assert node.node.models["plain"].pool.first.is_cached
            assert await node.factor("plain") == factor


# --- what is refused ---


def broken(what: str) -> bytes:
    if what == "no module":
        return b"nothing of this kind"
    if what == "no model":
        return b"\0asm\1\0\0\0"
    return scaled(3).wasm[:-40]


@pytest.mark.parametrize("what", ["no module", "no model", "cut off"])
async def test_a_broken_file_changes_nothing(folder: Path, what: str) -> None:
    async with opened(folder) as node:
        (folder / "scaled" / "3").mkdir()
        (folder / "scaled" / "3" / "model.wasm").write_bytes(broken(what))
        with pytest.raises(ArtifactError):
            await node.repository.load("scaled")
        assert (await node.factor(), await node.piped()) == (100, 200)
        assert node.states() == [(2, "READY"), (3, "UNAVAILABLE")]
        assert node.repository.counts("scaled") == (0, 1)
        assert any(line.startswith("model `scaled`: refused: ") for line in node.said)


async def test_another_digest_than_the_pinned_one_changes_nothing(folder: Path) -> None:
    write_oip_site(folder)
    pin = Model.open(folder / "plain.wasm").digest
    async with opened(folder, SITE.replace('path = "plain.wasm"', f'path = "plain.wasm"\nsha256 = "{pin}"')) as node:
        scaled(3, name="plain").save(folder / "plain.wasm")
        with pytest.raises(TrustError, match="expected"):
            await node.repository.load("plain")
        assert await node.factor("plain") == 2


async def test_a_version_that_pipelines_cannot_use_changes_nothing(folder: Path) -> None:
    async with opened(folder) as node:
        for number, other, why in (
            (3, scaled(7, size=4), r"version 3 does not fit: .*pipeline `both`: .*\[\?, 4\]"),
            (4, scaled(7, size=4), "version 4 does not fit"),
        ):
            write_version(folder / "scaled", number, other)
            with pytest.raises(ConflictError, match=why):
                await node.repository.load("scaled")
            assert (await node.factor(), await node.piped()) == (100, 200)
        write_version(folder / "scaled", 5, scaled(9, output="other"))
        assert await node.repository.load("scaled") == [5]  # one output fits one input, whatever its name
        assert await node.piped() == 18


async def test_a_version_that_traps_on_zeros_changes_nothing(folder: Path) -> None:
    async with opened(folder) as node:
        with pytest.raises(TrapError, match="on zeros: .*unreachable"):
            await node.repository.load("types", None, {0: TRAPS})
        assert node.states("types") == [(1, "READY"), (2, "UNAVAILABLE")]


async def test_a_model_that_never_took_zeros_goes_on_so(folder: Path) -> None:
    async with opened(folder, SITE.replace('"types.wasm"', '"types.wasm"\nwarm = false')) as node:
        assert await node.repository.load("types", None, {0: TRAPS}) == [2]
    async with opened(folder) as node:
        (folder / "types.wasm").write_bytes(TRAPS)
        await node.repository.unload("types")
        assert await node.repository.load("types") == [2]
        (folder / "types.wasm").write_bytes(TRAPS_TOO)
        assert await node.repository.load("types") == [3]


async def test_who_is_unknown_is_told(folder: Path) -> None:
    async with opened(folder) as node:
        for change in (node.repository.load, node.repository.unload, node.repository.roll_back):
            with pytest.raises(NotFoundError, match="model `nothing` is unknown"):
                await change("nothing")


# --- the watch ---


async def test_the_watch_takes_what_appears_and_tells_what_is_wrong_once(folder: Path) -> None:
    async with opened(folder, SITE + "[repository]\nwatch_s = 0.01\n") as node:
        scaled(3, name="plain").save(folder / "plain.wasm")
        await until_async(lambda: 2 in node.node.models["plain"].versions)
        write_version(folder / "scaled", 3, scaled(7))
        await until_true(lambda: serves(node, "scaled", 7))
        (folder / "wrong").write_bytes(b"nothing of this kind")
        (folder / "wrong").replace(folder / "plain.wasm")
        await until_async(lambda: node.repository.counts("plain")[1] > 0)
        for _ in range(20):
            await node.repository.refresh(is_asked=False)
        assert node.repository.counts("plain") == (1, 1)
        scaled(5, name="plain").save(folder / "plain.wasm")
        await until_async(lambda: node.repository.counts("plain")[0] == 2)
        await until_true(lambda: serves(node, "plain", 5))


async def serves(node: Opened, name: str, factor: float) -> bool:
    return await node.factor(name) == factor
