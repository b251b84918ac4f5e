"""Several writers of a fleet's metadata, in a folder and in storage that speaks S3: one at a time, also when killed."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from command import littoral
from littoral.clock import SYSTEM
from littoral.errors import UnavailableError
from littoral.orchestrator.file import read_file
from littoral.orchestrator.leases import LEASE_S, RENEW_S, Lease, Tagged
from littoral.orchestrator.objects import FolderObjects, Objects
from littoral.orchestrator.objects_s3 import S3Objects
from littoral.orchestrator.places import mark_objects, open_objects
from littoral.orchestrator.signing import ObjectsMetadata
from littoral.testing.clock import SimulatedClock
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName
from littoral.updates.metadata.ceremony import begin, new_offline_keys
from littoral.updates.metadata.director import Director
from littoral.updates.metadata.image import UPLOADS, ImageRepository
from littoral.updates.metadata.keys import KeyRing
from littoral.updates.metadata.online import Published
from littoral.updates.wire import Desired
from orchestrated import FILE

WRITER = """
import sys
from pathlib import Path
from littoral.orchestrator.objects import FolderObjects
from littoral.orchestrator.objects_s3 import S3Objects

where, endpoint, count = sys.argv[1:]
objects = S3Objects(where, endpoint=endpoint) if endpoint else FolderObjects(Path(where))
lock = objects.lock("metadata")
for _ in range(int(count)):
    lock.take()
    lock.keep()
    objects.put("metadata/number", b"%d" % (int(objects.get("metadata/number") or 0) + 1))
    lock.release()
if count == "0":
    lock.take()
print("written", flush=True)
sys.stdin.read()
"""
COUNT = 10
DIGEST = "ab" * 32


class Place(NamedTuple):
    """endpoint: '' for a folder."""

    where: str
    endpoint: str

    def objects(self) -> Objects:
        return S3Objects(self.where, endpoint=self.endpoint) if self.endpoint else FolderObjects(Path(self.where))

    def writer(self, count: int) -> subprocess.Popen[str]:
        """A process that counts so often in the same object; 0: it takes the lock and has it for ever."""
        command = (sys.executable, "-c", WRITER, self.where, self.endpoint, str(count))
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(str(tmp_path / "objects"), "")
    return Place(f"s3://fleet/writers-{os.getpid()}-{tmp_path.name}", request.getfixturevalue("endpoint"))


class Cell:
    """An object of real storage. is_lost: answers to writes are, the writes are not. is_careless: about conditions."""

    def __init__(self, where: str, endpoint: str) -> None:
        self._objects = S3Objects(where, endpoint=endpoint)
        self.is_lost = self.is_careless = False

    def read(self) -> Tagged | None:
        return self._objects.tagged("metadata.lock")

    def write(self, data: bytes, tag: str | None) -> str | None:
        if self.is_careless and (there := self.read()) is not None:
            tag = there.tag
        done = self._objects.put_if("metadata.lock", data, tag)
        return None if self.is_lost else done


@pytest.fixture
def cell(tmp_path: Path, endpoint: str) -> Cell:
    return Cell(f"s3://fleet/leases-{os.getpid()}-{tmp_path.name}", endpoint)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


def lease(cell: Cell, clock: SimulatedClock) -> Lease:
    return Lease(cell, "a", clock, clock.advance)


def test_processes_write_one_at_a_time(place: Place) -> None:
    writers = [place.writer(COUNT) for _ in range(2)]
    assert [one.communicate()[0] for one in writers] == ["written\n"] * 2
    found = place.objects()
    assert found.get("metadata/number") == b"%d" % (2 * COUNT)
    assert [*found.names("")] == ["metadata/number"]


def test_a_writer_that_is_killed_holds_up_no_other_for_long(place: Place, clock: SimulatedClock) -> None:
    killed = place.writer(0)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "written\n"
    killed.kill()
    killed.communicate()
    if place.endpoint:
        other = lease(Cell(place.where, place.endpoint), clock)
        other.take()
        assert LEASE_S <= clock.monotonic() < LEASE_S + 2
        other.release()
    lock = place.objects().lock("metadata")
    lock.take()
    lock.keep()
    lock.release()


def test_a_writer_that_goes_on_writing_is_not_taken_over(cell: Cell, clock: SimulatedClock) -> None:
    first = lease(cell, clock)

    def writes(seconds: float) -> None:
        clock.advance(max(seconds, RENEW_S))
        first.keep()

    first.take()
    with pytest.raises(UnavailableError, match="others have written for 180 s"):
        Lease(cell, "a", clock, writes).take()
    first.keep()


def test_a_writer_that_was_taken_over_is_told_before_it_writes(cell: Cell, clock: SimulatedClock) -> None:
    first, second = lease(cell, clock), lease(cell, clock)
    first.take()
    second.take()
    for _ in range(2):
        with pytest.raises(UnavailableError, match="another writer has taken over"):
            first.keep()
    first.release()
    clock.advance(RENEW_S)
    second.keep()
    second.release()
    first.take()
    first.keep()


def test_a_write_whose_answer_was_lost_counts(cell: Cell, clock: SimulatedClock) -> None:
    first, cell.is_lost = lease(cell, clock), True
    first.take()
    clock.advance(RENEW_S)
    first.keep()
    first.release()
    lease(cell, clock).take()
    assert clock.monotonic() == RENEW_S


def test_storage_that_writes_whatever_the_condition_is_refused(cell: Cell, clock: SimulatedClock) -> None:
    cell.is_careless = True
    with pytest.raises(UnavailableError, match="two writers would undo each other"):
        lease(cell, clock).take()


def test_keys_are_rotated_beside_an_orchestrator_that_goes_on_signing(place: Place, tmp_path: Path) -> None:
    """Nothing that either wrote is lost: each signing is a version of its own, and all that was listed is there."""
    offline, keys = new_offline_keys(tmp_path / "offline"), tmp_path / "keys"
    begin(ObjectsMetadata(place.objects()), KeyRing(keys), offline, delegates_uploads=True)
    signed: list[int] = []

    def uploads() -> None:
        store, ring = ObjectsMetadata(place.objects()), KeyRing(keys)
        image, director = ImageRepository(store, ring), Director(store, ring)
        for number in range(1, COUNT + 1):
            image.add(ArtifactName.parse(f"models/e/{number}.wasm"), 5, DIGEST, role=UPLOADS)
            signed.append(number)
        wish = Desired(node="gw-1", deployment=1, models={"e": f"models/e/{COUNT}.wasm"})
        director.tell("gw-1", wish, image.targets_for(wish))

    def rotates() -> None:
        image = ImageRepository(ObjectsMetadata(place.objects()), KeyRing(keys))
        for number in range(2, 5):
            key = KeyRing(keys).new(f"image-timestamp-{number}").public_key
            (former,) = image.root.current.roles["timestamp"].keyids
            image.root.rotate("timestamp", add=[key], remove=[former])
            for signer in offline.root[:2]:
                image.sign("root", signer)
            assert image.publish() == ("root",)
            signed.append(-number)

    writers = [threading.Thread(target=one) for one in (uploads, rotates)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    store = ObjectsMetadata(place.objects())
    image, director = ImageRepository(store, KeyRing(keys), clock=SYSTEM), Director(store, KeyRing(keys))
    published = Published(store, tree.image_metadata())
    assert sorted(signed) == [-4, -3, -2, *range(1, COUNT + 1)]
    assert sorted(image.targets()) == sorted(f"models/e/{number}.wasm" for number in range(1, COUNT + 1))
    assert published.timestamp is not None
    assert published.timestamp.version == 1 + len(signed)
    assert (image.root.current.version, image.pending) == (4, ())
    told = director.told("gw-1")
    assert told is not None
    assert told.models == {"e": f"models/e/{COUNT}.wasm"}


def test_keys_of_a_fleet_that_was_moved_are_where_it_went(tmp_path: Path) -> None:
    file = tmp_path / "orchestrator.toml"
    file.write_text(FILE)
    objects, offline = open_objects(read_file(file)), new_offline_keys(tmp_path / "offline")
    begin(ObjectsMetadata(objects), KeyRing(tmp_path / "data/keys"), offline)
    assert "image timestamp  1 of" in littoral("keys", "roles", file).out
    mark_objects(objects, "left", other="/srv/new.toml", at_s=0.0)
    refused = littoral("keys", "roles", file)
    assert "the fleet is moved, or being moved\nhint: its place: `/srv/new.toml`" in refused.err


def test_a_folder_of_metadata_does_not_say_where_online_keys_are(tmp_path: Path) -> None:
    store = ObjectsMetadata(FolderObjects(tmp_path))
    begin(store, KeyRing(tmp_path / "keys"), new_offline_keys(tmp_path / "offline"))
    refused = littoral("keys", "skip", tmp_path / "metadata", 5)
    assert "does not say where the online keys are\nhint: `--online FOLDER`" in refused.err
    assert littoral("keys", "skip", tmp_path / "metadata", 5, "--online", tmp_path / "keys").code == 0
