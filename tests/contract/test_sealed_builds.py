"""What somebody brings to be compiled lies sealed where the site has keys, and is worked on all the same."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from brought_models import dense, npz
from littoral import settings
from littoral.making.builds import Build, Builds
from littoral.making.orders import BuildOrder, Int8Order, Order
from littoral.vault.keys import new_key
from littoral.vault.layout import MAGIC
from node_fixture import SITE, node_in_thread, write_site
from raw_http import send
from supervised import short_folder

FEEDS = 6
RNG = np.random.default_rng(5)
PICTURES = [npz(x=RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)) for _ in range(FEEDS)]


async def chunked(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 1000):
        yield data[at : at + 1000]


async def quantised(builds: Builds, *, damaged: bool = False) -> Build:
    build = await builds.add("dense.onnx", chunked(dense()))
    for picture in PICTURES:
        await builds.add_feed(build, "one.npz", chunked(picture))
    if damaged:
        file = build.folder / "feeds" / "0003-one.npz"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    builds.start(build, BuildOrder(Order(name="dense", int8=Int8Order())))
    await build.ended.wait()
    return build


def lying(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_sources_and_feeds_lie_sealed_and_give_the_same_model(tmp_path: Path) -> None:
    sealed, plain = Builds(tmp_path / "sealed", seals=True), Builds(tmp_path / "plain")
    one, other = await quantised(sealed), await quantised(plain)
    assert (one.state, one.problem) == ("made", None)
    assert _code(one.model) == _code(other.model)
    found = lying(one.folder)
    assert set(found) == set(lying(other.folder)), "nothing is left of what the worker had in memory"
    brought = {name: data for name, data in found.items() if name == "source" or name.startswith("feeds/")}
    assert len(brought) == FEEDS + 1
    assert all(data.startswith(MAGIC) for data in brought.values())
    compiled = await sealed.add("dense.wasm", chunked(one.model.read_bytes()))
    assert (compiled.kind, compiled.model.read_bytes()) == ("wasm", one.model.read_bytes())
    for builds in (sealed, plain):
        await builds.close()


def _code(model: Path) -> bytes:
    """Up to the report, which tells times, and its size."""
    return model.read_bytes().partition(b"littoral.comparison")[0][:-8]


async def test_what_was_changed_is_not_worked_on(tmp_path: Path) -> None:
    builds = Builds(tmp_path, seals=True)
    build = await quantised(builds, damaged=True)
    assert build.state == "failed"
    assert build.problem is not None
    assert build.problem.message.startswith("`0003-one.npz` is not as it was sealed")
    await builds.close()


def test_a_node_with_keys_seals_what_is_brought() -> None:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        site = write_site(folder, SITE + '\n[encryption]\nkey_file = "keys"\n')
        (folder / "keys").touch(0o600)
        (folder / "keys").write_text(new_key()[1])
        with node_in_thread(folder, site=site) as served:
            brought = send(served.address, "POST", "/api/builds?file=m.onnx", dense())
            assert (brought.status, brought.json["state"]) == (200, "new")
            (source,) = (served.node.data / "builds").glob("*/source")
            assert source.read_bytes().startswith(MAGIC)
