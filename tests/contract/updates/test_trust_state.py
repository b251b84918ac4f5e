"""What a node remembers survives a power cut at every write, and what is damaged says so."""

from pathlib import Path

import pytest

from fleet_trust import NODE, Fleet
from littoral.errors import TrustStateError
from littoral.testing.disk import PowerCutError, SimulatedDisk
from littoral.updates.trust.bounds import Bounds
from littoral.updates.trust.client import TrustedClient
from littoral.updates.trust.state import TrustState, begin_again
from littoral.updates.trust.transport import FolderTransport

FIRST, SECOND = "models/embedder/1.wasm", "models/embedder/2.wasm"


class Files:
    """A simulated disk, as the files of a state."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk

    def read(self, path: str) -> bytes | None:
        return self.disk.read(path)

    def replace(self, path: str, data: bytes) -> None:
        self.disk.replace(path, data)

    def remove(self, path: str) -> None:
        self.disk.remove(path)

    def names(self) -> list[str]:
        return sorted(path for path, _ in self.disk.files("files"))


def client_on(fleet: Fleet, disk: SimulatedDisk) -> TrustedClient:
    return TrustedClient(
        fleet.folder / "unused",
        NODE,
        fleet.trust,
        FolderTransport(fleet.folder / "served"),
        clock=fleet.clock,
        bounds=Bounds(pause_s=0.0),
        files=Files(disk),
    )


def test_a_power_cut_at_any_write_leaves_the_state_before_or_after(tmp_path: Path) -> None:
    """Also with a root that is new: it counts, whatever follows."""
    fleet = Fleet(tmp_path)
    fleet.publish(FIRST, b"first")
    before = fleet.tell(FIRST)
    disks = {step: SimulatedDisk(seed=step) for step in range(1, 40)}
    for disk in disks.values():
        client_on(fleet, disk).refresh()
    fleet.publish(SECOND, b"second")
    after = fleet.tell(SECOND)
    fleet.image.root.renew()
    for key in fleet.root_keys[:2]:
        fleet.image.root.sign(key)
    fleet.image.publish()
    cut = 0
    for step, disk in disks.items():
        disk.cut_at = disk.steps + step
        try:
            client_on(fleet, disk).refresh(before.deployment)
        except PowerCutError:
            cut += 1
        disk.powered_again()
        state = TrustState.read(Files(disk))
        assert state.deployment in (before.deployment, after.deployment)
        assert client_on(fleet, disk).refresh(state.deployment).desired == after
        assert TrustState.read(Files(disk)).deployment == after.deployment
    assert 5 < cut < len(disks)


def test_every_damaged_byte_of_a_state_is_told(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.publish(FIRST, b"first")
    fleet.tell(FIRST)
    fleet.client().refresh()
    folder = tmp_path / "nodes" / NODE
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        data = file.read_bytes()
        for at in range(0, len(data), 97):
            file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(TrustStateError, match="begin-again"):
                fleet.client().refresh(1)
        file.write_bytes(data[: len(data) // 2])
        with pytest.raises(TrustStateError):
            fleet.client().refresh(1)
        file.write_bytes(data)
    assert fleet.client().refresh(1)


def test_beginning_again_keeps_the_state_aside_and_the_callers_floor(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.publish(FIRST, b"first")
    fleet.tell(FIRST)
    fleet.client().refresh()
    folder = tmp_path / "nodes" / NODE
    (folder / "state.json").write_bytes(b"x")
    aside = begin_again(folder)
    assert aside is not None
    assert (aside / "state.json").read_bytes() == b"x"
    assert begin_again(folder) is None
    with pytest.raises(TrustStateError, match="state of trust is gone"):
        fleet.client().refresh(1)
    assert fleet.client().refresh().desired.deployment == 1


def test_nothing_is_written_while_nothing_is_new(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.publish(FIRST, b"first")
    fleet.tell(FIRST)
    disk = SimulatedDisk(seed=1)
    client = client_on(fleet, disk)
    client.refresh()
    steps = disk.steps
    for _ in range(3):
        fleet.clock.advance(60.0)
        client.refresh(1)
    assert disk.steps == steps
