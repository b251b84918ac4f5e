"""Ways back: two versions that settled are kept beside the one that serves, whatever becomes of what is tried."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from littoral.artifact.disk import FolderDisk
from littoral.node.site import parse_site
from littoral.node.updates.folder import begin
from littoral.testing.clock import SimulatedClock
from littoral.testing.disk import SimulatedDisk
from littoral.updates.deployment.deployments import Deployments
from littoral.updates.deployment.machine import STARTS_MAX, Back, Lost, Refused, Step, Told
from littoral.updates.deployment.plans import Item, Journal, Plan
from littoral.updates.wire import Gates
from modules_in_text import model


def plan(number: int, content: int = 0, *, leaves: tuple[str, ...] = ()) -> Plan:
    """content: what is in it, default its number."""
    content = content or number
    item = Item(f"models/m/{content}.wasm", f"{content:064x}", 1)
    return Plan(number, {"models/m": item}, Gates(leaves=leaves))


def until_flipped(found: Deployments, wanted: Plan) -> None:
    assert found.take(Told(wanted))
    found.take(Step.FETCHED)
    found.take(Step.VERIFIED)
    found.stage()
    found.take(Step.WARMED)
    found.take(Step.MIRRORED)
    found.flip()


def settled(*plans: Plan) -> Deployments:
    found = Deployments(SimulatedDisk(0), SimulatedClock(), lambda _: True)
    for one in plans:
        until_flipped(found, one)
        found.take(Step.WATCHED)
    return found


def served(found: Deployments) -> int:
    assert found.running is not None
    return found.running.deployment


def test_an_operator_goes_back_twice_and_no_further() -> None:
    found = settled(plan(1), plan(2), plan(3), plan(4))
    for number in (3, 2):
        assert found.way_back == plan(number)
        assert found.take(Back())
        assert served(found) == number
    assert found.way_back is None
    assert not found.take(Back())
    assert [(one.deployment, one.state, one.gate) for one in found.journal.history[-2:]] == [
        (4, "rolled_back", "operator"),
        (3, "rolled_back", "operator"),
    ]
    assert found.journal.deployment == 4


def test_what_was_refused_leaves_a_way_back() -> None:
    found = settled(plan(1), plan(2))
    found.take(Told(plan(3)))
    found.take(Step.FETCHED)
    found.take(Step.VERIFIED)
    found.stage()
    assert found.take(Refused("load", "it is none"))
    assert (served(found), found.journal.state, found.way_back) == (2, "refused", plan(1))
    assert found.take(Back())
    assert (served(found), found.journal.state) == (1, "rolled_back")
    assert found.journal.history[-1].deployment == 2


def test_what_failed_after_the_flip_leaves_the_other_way() -> None:
    found = settled(plan(1), plan(2))
    until_flipped(found, plan(3))
    found.take(Refused("errors", "it traps"))
    assert (served(found), found.way_back) == (2, plan(1))
    assert found.take(Lost("errors", "it traps, too"))
    assert (served(found), found.journal.state, found.journal.gate) == (1, "rolled_back", "errors")
    assert not found.take(Lost("errors", "and so does this"))
    assert served(found) == 1


def test_a_way_back_of_which_something_is_lost_is_none() -> None:
    whole = {1, 2, 3}
    found = Deployments(SimulatedDisk(0), SimulatedClock(), lambda one: one.deployment in whole)
    for number in (1, 2, 3):
        until_flipped(found, plan(number))
        found.take(Step.WATCHED)
    whole.discard(2)
    assert found.take(Back())
    assert served(found) == 1


BACK = Refused("crash", "the process ends")


def test_what_was_taken_back_is_left_also_where_the_version_before_fails() -> None:
    """Deployment 4 brings back what deployment 2 was; 3 is the one that its rollout took back."""
    found = settled(plan(1), plan(2), plan(3))
    until_flipped(found, plan(4, 2, leaves=("models/m/3.wasm",)))
    found.take(BACK)
    assert (served(found), found.way_back) == (1, plan(3))
    found = settled(plan(1), plan(2), plan(3))
    found.take(Told(plan(4, 2, leaves=("models/m/3.wasm",))))
    found.take(Refused("verify", "it cannot be had"))
    assert (served(found), found.journal.state) == (2, "refused")


def test_where_nothing_else_settled_what_was_taken_back_goes_on() -> None:
    found = settled(plan(3))
    until_flipped(found, plan(4, 2, leaves=("models/m/3.wasm",)))
    found.take(BACK)
    assert served(found) == 3


@pytest.mark.parametrize("event", [BACK, Back()])
def test_a_way_back_past_what_runs_is_for_what_was_taken_back_alone(event: Refused | Back) -> None:
    found = settled(plan(1), plan(2))
    leaves = ("models/m/3.wasm",) if event is BACK else ("models/m/2.wasm",)
    until_flipped(found, plan(4, leaves=leaves))
    found.take(event)
    assert served(found) == 2


def test_starts_count_until_a_process_lives_for_long_and_within_one_boot_of_the_machine() -> None:
    disk, clock = SimulatedDisk(0), SimulatedClock()

    def started(machine: str = "first") -> Deployments:
        found = Deployments(disk, clock, lambda _: True, machine)
        found.begin()
        return found

    found = started()
    for number in (1, 2):
        until_flipped(found, plan(number))
        found.take(Step.WATCHED)
    for _ in range(STARTS_MAX):
        found = started()
    found.steady()
    for _ in range(STARTS_MAX):
        found = started()
    for _ in range(STARTS_MAX):
        found = started("second")
        found.leave()
        found = started("second")
    assert served(found) == 2
    found = started("second")
    assert (served(found), found.journal.gate, found.way_back) == (1, "crash", None)
    for _ in range(3 * STARTS_MAX):
        found = started("second")
    assert served(found) == 1


@pytest.mark.parametrize(
    ("journal", "ways"),
    [
        ({"state": "settled", "slot": "b", "before": "a", "has_way_back": True}, ("a",)),
        ({"state": "settled", "slot": "b", "before": "a"}, ()),
        ({"state": "active", "slot": "b", "before": "a", "has_way_back": True}, ("a",)),
        ({"state": "idle", "has_way_back": True}, ("a",)),
        ({"state": "refused", "slot": "a", "before": "b"}, ()),
    ],
)
def test_a_journal_of_two_slots_is_read(tmp_path: Path, journal: dict[str, object], ways: tuple[str, ...]) -> None:
    disk = FolderDisk(tmp_path)
    for slot, number in (("a", 1), ("b", 2)):
        disk.replace(f"slots/{slot}", msgspec.json.encode(plan(number)))
    disk.replace("active", b"b")
    about = {"format": 1, "deployment": 2, "plan": msgspec.to_builtins(plan(2))}
    disk.replace("journal", msgspec.json.encode(about | journal))
    found = Deployments(disk, SimulatedClock(), lambda _: True)
    found.begin()
    assert (served(found), found.journal.serves, found.journal.ways) == (2, "b", ways)
    written = msgspec.json.decode(disk.read("journal") or b"", type=Journal)
    assert (written.format, written.ways, written.has_way_back) == (2, ways, False)


SITE = """
[models.m]
path = "fleet:m"
[updates]
trust = "fleet.json"
"""


def test_what_settled_and_can_be_opened_no_more_is_left_unless_something_else_is_at_fault(tmp_path: Path) -> None:
    site = parse_site(SITE.encode(), tmp_path / "site.toml")
    local = begin(site, SimulatedClock())
    for number, wasm in ((1, model()), (2, b"no module")):
        digest = hashlib.sha256(wasm).hexdigest()
        local.store.path(digest).write_bytes(wasm)
        until_flipped(local.deployments, Plan(number, {"models/m": Item(f"models/m/{number}.wasm", digest, len(wasm))}))
        local.deployments.take(Step.WATCHED)
    for _ in range(3):
        local = begin(site, SimulatedClock())
    assert local.deployments.journal.boots == 3
    assert local.failed_to_open(site, "the model is none")
    assert (served(local.deployments), local.deployments.journal.gate) == (1, "load")
    assert [path.parent.name for path in (local.folder / "models/m").glob("*/model.wasm")] == ["1"]
    for _ in range(2 * STARTS_MAX):
        local = begin(site, SimulatedClock())
        assert not local.failed_to_open(site, "the port is taken")
    assert served(local.deployments) == 1
    assert local.deployments.journal.boots == 0
