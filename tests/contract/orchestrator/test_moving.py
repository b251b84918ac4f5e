"""A fleet goes from SQLite and a folder to PostgreSQL and S3 and back, whatever interrupts it, and is at one place."""

import asyncio
import itertools
import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from command import command, environment
from littoral.clock import SYSTEM
from littoral.errors import ConflictError, InputError, SetupError, UnavailableError
from littoral.orchestrator import moving
from littoral.orchestrator.file import File, read_file
from littoral.orchestrator.moving import Moved, move
from littoral.orchestrator.objects import FolderObjects
from littoral.orchestrator.places import MARK, open_objects, open_store, refuse_moved
from littoral.orchestrator.store.rows import KEYS, MoveRow
from orchestrated import FILE, Kept, orchestrated
from placeholder_models import model_of
from waiting import until

LISTS = ("groups", "artifacts", "rollouts", "claims", "history?count=100")
NODES = ("gw-1", "gw-2", "gw-3")


class Outgrown(NamedTuple):
    """prefix: in the bucket. text: of an orchestrator file at `folder`, whose data are beside the former's."""

    folder: Path
    prefix: str
    text: str


@pytest.fixture
def outgrown(tmp_path: Path, conninfo: str, endpoint: str) -> Outgrown:
    folder, prefix = tmp_path / "grown", f"s3://fleet/{tmp_path.name}"
    folder.mkdir()
    stores = f'[store]\npostgres = "{conninfo}"\n\n[objects]\nurl = "{prefix}"\nendpoint = "{endpoint}"\n'
    return Outgrown(folder, prefix, f"{FILE}\n{stores}")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    return folder


def moved(here: Path, there: Path) -> Moved:
    return move(read_file(here / "orchestrator.toml"), read_file(there / "orchestrator.toml"), SYSTEM, lambda _: None)


async def filled(kept: Kept) -> None:
    await kept.enrolled(*NODES, labels={"region": "north"})
    first, _ = [await kept.artifact(data=model_of(one * 50_000)) for one in (b"1", b"2")]
    await kept.done("operator", "PUT", "/api/fleet/groups/north", {"match": {"region": "north"}})
    await kept.done(
        "operator", "POST", "/api/fleet/rollouts", {"group": "north", "set": {"models": {"e": first["target"]}}}
    )
    await kept.done("operator", "POST", "/api/fleet/nodes/gw-1/asks", {"kind": "doctor"})
    for node in NODES:
        await kept.done(node, "POST", "/fleet/v1/checkin", {"deployment": 0, "state": "idle", "littoral": "0.1.0"})


async def told(kept: Kept) -> dict[str, Any]:
    found = {name: await kept.done("viewer", "GET", f"/api/fleet/{name}") for name in LISTS}
    nodes = await kept.done("viewer", "GET", "/api/fleet/nodes")
    found["nodes"] = [{name: node[name] for name in ("name", "labels", "deployment", "desired")} for node in nodes]
    paths = ("embedder/1", "embedder/2")
    found["rollouts"] = [{name: one[name] for name in ("id", "state", "group", "nodes")} for one in found["rollouts"]]
    found["bytes"] = [
        (await kept.ask("viewer", "GET", f"/api/fleet/artifacts/models/{path}/bytes")).body for path in paths
    ]
    trust = await kept.done("operator", "GET", "/api/fleet/trust")
    return found | {"roots": (trust["image_root"], trust["director_root"])}


@pytest.mark.parametrize("has_own_data", [False, True], ids=["same-data", "other-data"])
async def test_a_fleet_goes_to_postgresql_and_s3_and_back(small: Path, outgrown: Outgrown, has_own_data: bool) -> None:
    text = outgrown.text if has_own_data else outgrown.text.replace("poll_s", f'data = "{small}/data"\npoll_s')
    (outgrown.folder / "orchestrator.toml").write_text(text)
    async with orchestrated(small) as kept:
        await filled(kept)
        before, tokens = await told(kept), {node: kept.tokens[node] for node in NODES}
    found = await asyncio.to_thread(moved, small, outgrown.folder)
    assert (found.rows["nodes"], found.rows["artifacts"], found.rows["members"]) == (3, 2, 3)
    assert bool(found.file_count) == has_own_data
    with pytest.raises(SetupError, match="moved away") as refused:
        async with orchestrated(small):
            pass
    assert str(outgrown.folder / "orchestrator.toml") in str(refused.value.hint)
    async with orchestrated(outgrown.folder, text) as kept:
        kept.tokens |= tokens
        assert await told(kept) == before
        acts = await kept.done("viewer", "GET", "/api/fleet/audit")
        assert [act["detail"]["objects"] for act in acts if act["act"] == "move"] == [found.object_count]
        said = await kept.done("gw-2", "POST", "/fleet/v1/checkin", {"deployment": 0, "state": "idle"})
        assert said["deployment"] == before["nodes"][1]["deployment"]
        await kept.artifact(data=model_of(b"3"))
        later = await told(kept)
    with pytest.raises(ConflictError, match="has the fleet already"):
        await asyncio.to_thread(moved, small, outgrown.folder)
    back = await asyncio.to_thread(moved, outgrown.folder, small)
    assert 0 < back.written < found.written, "what had not changed was there"
    async with orchestrated(small) as kept:
        assert await told(kept) == later
    with pytest.raises(SetupError, match="moved away"):
        async with orchestrated(outgrown.folder, text):
            pass


async def test_beside_one_that_serves_nothing_is_moved(small: Path, outgrown: Outgrown) -> None:
    (outgrown.folder / "orchestrator.toml").write_text(outgrown.text)
    async with orchestrated(small) as kept:
        with pytest.raises(UnavailableError, match="in use by process"):
            await asyncio.to_thread(moved, small, outgrown.folder)
        await filled(kept)
    other = outgrown.folder.with_name("other")
    other.mkdir()
    async with orchestrated(other, outgrown.text):
        with pytest.raises(UnavailableError, match="another orchestrator keeps this database"):
            await asyncio.to_thread(moved, small, outgrown.folder)
    with pytest.raises(ConflictError, match="not empty"):
        await asyncio.to_thread(moved, small, outgrown.folder)
    async with orchestrated(small) as kept:
        assert len(kept.found.fleet.nodes) == len(NODES)


def keep(folder: Path, name: str = "reef", more: str = "") -> File:
    """A small fleet of rows and objects in SQLite and a folder; nothing serves."""
    (folder / "orchestrator.toml").write_text(f'[orchestrator]\nname = "{name}"\n{more}')
    return read_file(folder / "orchestrator.toml")


async def test_places_that_are_none_are_refused(small: Path, tmp_path: Path) -> None:
    async with orchestrated(small):
        pass
    there = tmp_path / "there"
    (there / "data/objects").mkdir(parents=True)
    keep(there, name="atoll")
    with pytest.raises(InputError, match="`reef` and `atoll`"):
        await asyncio.to_thread(moved, small, there)
    with pytest.raises(InputError, match="the same rows and objects"):
        await asyncio.to_thread(moved, small, small)
    keep(there)
    (there / "data/objects/holiday.jpg").write_bytes(b"somebody's")
    with pytest.raises(ConflictError, match="not empty"):
        await asyncio.to_thread(moved, small, there)
    assert (there / "data/objects/holiday.jpg").read_bytes() == b"somebody's"
    async with orchestrated(small):
        pass


class PowerError(Exception):
    """Goes off at the write of this number."""


class Fails:
    """A store or objects whose writes are counted with those of others. before: it fails instead of, else after."""

    def __init__(self, count: Callable[[], bool], inner: Any, *, before: bool) -> None:
        self._inner = inner
        self._count = count
        self._before = before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in ("write", "put", "put_file", "delete"):
            return found

        def write(*arguments: Any) -> None:
            is_off = self._count()
            if is_off and self._before:
                raise PowerError
            found(*arguments)
            if is_off:
                raise PowerError

        return write


def countdown(number: int) -> Callable[[], bool]:
    counter = itertools.count()
    return lambda: next(counter) == number


def starts(file: File) -> bool:
    """Whether an orchestrator would start there, with a fleet."""
    store = open_store(file)
    try:
        refuse_moved(store, open_objects(file))
        return bool(any(store.rows(kind) for kind in KEYS))
    except SetupError:
        return False
    finally:
        store.close()


def kept(file: File) -> tuple[list[Any], dict[str, bytes | None]]:
    store, objects = open_store(file), open_objects(file)
    rows = [store.rows(kind) for kind in KEYS if kind is not MoveRow]
    store.close()
    return rows, {name: objects.get(name) for name in objects.names("") if name != MARK}


@pytest.fixture
async def begun(small: Path) -> Path:
    async with orchestrated(small) as kept:
        await kept.enrolled("gw-1")
        await kept.artifact()
    return small


@pytest.mark.parametrize("before", [True, False], ids=["instead-of", "behind"])
def test_power_fails_at_every_write_and_the_fleet_is_at_one_place(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    monkeypatch.setattr(moving, "THREADS", 1)
    wanted = kept(read_file(begun / "orchestrator.toml"))
    for number in itertools.count():
        here, there = tmp_path / f"{number}-here", tmp_path / f"{number}-there"
        shutil.copytree(begun, here)
        there.mkdir()
        keep(there)
        fails = partial(Fails, countdown(number), before=before)
        with monkeypatch.context() as patch:
            patch.setattr(moving, "open_store", lambda file, fails=fails: fails(open_store(file)))
            patch.setattr(moving, "open_objects", lambda file, fails=fails: fails(open_objects(file)))
            try:
                moved(here, there)
            except PowerError:
                is_done = False
            else:
                is_done = True
        files = [read_file(folder / "orchestrator.toml") for folder in (here, there)]
        found = [starts(file) for file in files]
        assert sum(found) <= 1, number
        if found[1]:
            assert kept(files[1]) == wanted
        else:
            again = moved(here, there)
            assert again.written <= sum(again.rows.values()) + again.object_count
        assert [starts(file) for file in files] == [False, True], number
        now = kept(files[1])
        assert now[0] == wanted[0], number
        assert now[1].keys() == wanted[1].keys(), number
        assert now == wanted, number
        if is_done:
            assert number > 20
            return


def test_what_is_read_as_other_bytes_is_not_left(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Damages(FolderObjects):
        def put_file(self, name: str, file: Path) -> None:
            file.write_bytes(bytes(len(file.read_bytes())))
            super().put_file(name, file)

    there = tmp_path / "there"
    there.mkdir()
    keep(there)
    with monkeypatch.context() as patch:
        patch.setattr("littoral.orchestrator.places.FolderObjects", Damages)
        with pytest.raises(UnavailableError, match="read as another"):
            moved(begun, there)
    assert [starts(read_file(folder / "orchestrator.toml")) for folder in (begun, there)] == [True, False]
    moved(begun, there)
    assert not starts(read_file(begun / "orchestrator.toml"))


def test_killed_in_the_middle_it_goes_on(begun: Path, outgrown: Outgrown) -> None:
    here, there = begun / "orchestrator.toml", outgrown.folder / "orchestrator.toml"
    there.write_text(outgrown.text)
    for number in range(150):
        open_objects(read_file(here)).put(f"image/targets/{number:03}.wasm", bytes([number]) * 5000)
    total = len([*open_objects(read_file(here)).names("")])
    objects = open_objects(read_file(there))
    moves = command("orchestrator", "move", here, "--to", there, "--json")
    with subprocess.Popen(moves, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        until(lambda: len([*objects.names("")]) > 10)
        first.send_signal(signal.SIGKILL)
    assert len([*objects.names("")]) < total, "it was killed too late to show anything"
    assert starts(read_file(here))
    assert not starts(read_file(there))
    done = subprocess.run(moves, env=environment(), capture_output=True, check=True)
    said = json.loads(done.stdout)
    assert said["object_count"] == total
    assert 0 < said["written"] < total + sum(said["rows"].values()) - 10
    assert (starts(read_file(here)), starts(read_file(there))) == (False, True)
    assert kept(read_file(here)) == kept(read_file(there))
