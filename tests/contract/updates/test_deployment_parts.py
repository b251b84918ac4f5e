"""Gates, windows, reports, the store and the machine: what each says of cases written by hand."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import numpy as np
import pytest

from littoral.artifact.disk import FolderDisk
from littoral.errors import SettingError, TooLargeError, TrustError
from littoral.node.site import parse_site
from littoral.node.undelivered import undelivered, without_undelivered
from littoral.node.updates.folder import begin, show
from littoral.node.updates.hooks import ask_hook
from littoral.node.updates.mirroring import compared
from littoral.node.updates.self_tests import self_test
from littoral.runtime.instance import load
from littoral.tensors import encode_frame
from littoral.testing.clock import SimulatedClock
from littoral.testing.disk import SimulatedDisk
from littoral.updates.deployment.deployments import Deployments
from littoral.updates.deployment.gates import TAIL_COUNT, Figures, judge
from littoral.updates.deployment.machine import CRASH, Back, Refused, Started, Step, Told, due, react
from littoral.updates.deployment.plans import Item, Journal, Plan
from littoral.updates.deployment.reports import Reports
from littoral.updates.deployment.store import ArtifactStore
from littoral.updates.deployment.windows import is_open, opens_in_s
from littoral.updates.wire import Gates, Report, Window
from modules_in_text import model

MONDAY = 1_767_571_200.0
"""2026-01-05, midnight UTC."""

HOUR_S = 3600.0


def figures(before_ms: list[float], after_ms: list[float], drift: float = 0.0) -> Figures:
    found = Figures()
    for one, other in zip(before_ms, after_ms, strict=True):
        found.pair(one / 1000, other / 1000, drift)
    return found


def gate(found: Figures, gates: Gates | None = None) -> str:
    verdict = judge(gates or Gates(), found)
    return "" if verdict is None else verdict.gate


def test_a_slow_version_trips_and_a_noisy_one_does_not() -> None:
    assert gate(figures([10.0] * 30, [17.0] * 30)) == "p99"
    assert gate(figures([10.0] * 29 + [900.0], [17.0] * 30)) == "p99", "one pause of the machine excuses nothing"
    assert gate(figures([10.0] * 30, [14.0] * 30)) == ""
    assert gate(figures([10.0] * 30, [10.0] * 29 + [90.0])) == ""
    assert gate(figures([10.0] * 10, [90.0] * 10)) == ""
    tail = [10.0] * (TAIL_COUNT - 10) + [90.0] * 10
    assert gate(figures([10.0] * TAIL_COUNT, tail)) == "p99"


def test_errors_drift_and_memory() -> None:
    found = figures([10.0] * 20, [10.0] * 20)
    found.failure()
    found.failure()
    assert gate(found) == ""
    found.failure()
    assert gate(found) == "errors"
    found = figures([10.0] * 20, [10.0] * 20)
    found.served, found.served_failed = 1000, 9
    assert gate(found) == ""
    found.served_failed = 11
    assert gate(found) == "errors"
    assert gate(figures([10.0] * 5, [10.0] * 5, drift=0.2)) == "drift"
    assert gate(figures([10.0] * 5, [10.0] * 5, drift=0.05)) == ""
    found.memory_mb = 65.0
    assert gate(found, Gates(memory_mb_max=64)) == "memory"


def test_outputs_are_compared_whatever_is_in_them() -> None:
    x = np.float32([1, 2, 3])
    assert compared({"y": x}, {"y": x}) == pytest.approx(0.0, abs=1e-12)
    assert compared({"y": x}, {"y": -x}) == pytest.approx(2.0)
    assert compared({"y": x}, {"z": x}) == compared({"y": x}, {"y": x[:2]}) == 1.0
    assert compared({"y": x}, {"y": x * np.float32("nan")}) == 1.0
    assert compared({"y": x * 0}, {"y": x * 0}) == 0.0
    large, wrong = {"y": x * 1000, "t": x}, {"y": x * 1000, "t": -x}
    assert compared(large, wrong) == pytest.approx(0.0, abs=1e-5)
    assert compared(large, wrong, ("t",)) == pytest.approx(2.0)
    assert compared(b"one", b"other") is None


def test_windows_over_midnight_and_none() -> None:
    night = Window(days=(0,), from_minute=22 * 60, to_minute=4 * 60)
    assert is_open((), MONDAY)
    assert [is_open((night,), MONDAY + hour * HOUR_S) for hour in (3, 21, 22, 25, 29, 46)] == [
        False, False, True, True, False, False,
    ]  # fmt: skip
    assert opens_in_s((night,), MONDAY + 20.5 * HOUR_S) == 1.5 * HOUR_S
    assert opens_in_s((night,), MONDAY + 23 * HOUR_S) == 0.0
    assert opens_in_s((Window(days=()),), MONDAY) == 7 * 24 * HOUR_S


def test_reports_wait_within_bounds_and_say_what_was_lost() -> None:
    disk = SimulatedDisk(0)
    reports = Reports(disk, bytes_max=400, age_max_s=100.0)
    for at in range(10):
        reports.add(Report(time=float(at), metrics={"m": float(at)}), float(at))
    assert reports.depth_bytes <= 400
    assert reports.dropped["bytes"] == 10 - len(reports)
    reports.save()
    again = Reports(disk, bytes_max=400, age_max_s=100.0)
    assert len(again) == len(reports)
    batch = again.batch()
    assert batch[0].dropped == {"bytes": 10 - len(batch)}
    assert batch[-1].time == 9.0
    again.sent(1)
    assert again.batch()[0].dropped == {}
    again.prune(108.5)
    assert len(again) == 1
    again.prune(500.0)
    assert (len(again), again.depth_bytes) == (0, 0)
    assert again.dropped["age"] == len(batch) - 1


def item(data: bytes, name: str = "m", version: int = 1) -> Item:
    return Item(f"models/{name}/{version}.wasm", hashlib.sha256(data).hexdigest(), len(data))


def test_the_store_keeps_what_a_slot_names_and_finds_what_was_damaged(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, 1000)
    store.make()
    items = {}
    for i in range(4):
        data = bytes([i]) * 300
        items[i] = item(data)
        into = store.incoming / items[i].sha256
        into.write_bytes(data)
        store.adopt(into, items[i])
    store.collect({items[0].sha256, items[1].sha256})
    assert set(store.files()) >= {items[0].sha256, items[1].sha256}
    assert sum(store.files().values()) <= 1000
    new = Plan(2, {"models/m": item(b"9" * 400)})
    store.make_room(new, {items[0].sha256, items[1].sha256})
    assert set(store.files()) == {items[0].sha256, items[1].sha256}
    with pytest.raises(TooLargeError, match="deployment 3"):
        store.make_room(Plan(3, {"models/m": item(b"9" * 900)}), {items[0].sha256})
    store.path(items[0].sha256).write_bytes(b"\0" * 299 + b"\1")
    with pytest.raises(TrustError, match="SHA-256 on the disk"):
        store.verify(items[0])
    assert items[0].sha256 not in store.files()


def plan(number: int) -> Plan:
    return Plan(number, {"models/m": item(bytes([number]))})


def test_the_machine_step_by_step() -> None:
    journal = react(Journal(), Told(plan(1)), 1.0)
    for step in (Step.FETCHED, Step.VERIFIED, Step.STAGED):
        journal = react(journal, step, 2.0)
    assert react(journal, Step.FLIPPED, 3.0) == journal
    assert react(journal, Told(plan(1)), 3.0) == journal
    journal = journal.but(slot="a")
    for _ in range(2):
        journal = react(journal, Started(""), 4.0)
        assert journal.state == "staged"
    journal = react(journal, Started(""), 4.0)
    assert (journal.state, journal.gate) == ("refused", CRASH)
    assert due(journal).value == "nothing"
    assert react(journal, Told(plan(1)), 5.0) == journal
    assert react(journal, Told(plan(1), is_asked=True), 5.0).state == "idle"
    newer = react(react(journal, Told(plan(2)), 5.0), Told(plan(3)), 6.0)
    assert newer.deployment == 3
    assert [(one.deployment, one.gate) for one in newer.history] == [(1, "crash"), (2, "newer")]
    assert react(newer, Told(plan(2)), 7.0) == newer
    assert react(newer, Back(), 7.0).state == "refused"


def test_what_is_lost_of_the_active_slot_is_left_behind() -> None:
    disk, clock, whole = SimulatedDisk(0), SimulatedClock(), {1, 2}

    def opened() -> Deployments:
        found = Deployments(disk, clock, lambda plan: plan.deployment in whole)
        found.begin()
        return found

    for number in (1, 2):
        found = opened()
        found.take(Told(plan(number)))
        found.take(Step.FETCHED)
        found.take(Step.VERIFIED)
        found.stage()
        found.take(Step.WARMED)
        found.take(Step.MIRRORED)
        found.flip()
        found.take(Step.WATCHED)
    assert opened().way_back == plan(1)
    whole.discard(2)
    found = opened()
    assert found.running == plan(1)
    assert found.journal.state == "rolled_back"
    whole.discard(1)
    assert opened().running is None


def test_only_a_process_that_did_not_end_in_order_counts_against_a_deployment() -> None:
    disk, clock = SimulatedDisk(0), SimulatedClock()

    def opened() -> Deployments:
        found = Deployments(disk, clock, lambda _: True)
        found.begin()
        return found

    found = opened()
    found.take(Told(plan(1)))
    found.take(Step.FETCHED)
    found.take(Step.VERIFIED)
    found.stage()
    for _ in range(10):
        found.leave()
        found = opened()
        assert found.journal.state == "staged"
    for state in ("staged", "staged", "refused"):
        found = opened()
        assert found.journal.state == state


def test_a_full_disk_does_not_keep_what_leads_back_from_counting() -> None:
    disk, clock = SimulatedDisk(0), SimulatedClock()
    found = Deployments(disk, clock, lambda _: True)
    for number in (1, 2):
        found.take(Told(plan(number)))
        found.take(Step.FETCHED)
        found.take(Step.VERIFIED)
        found.stage()
        found.take(Step.WARMED)
        found.take(Step.MIRRORED)
        found.flip()
        if number == 1:
            found.take(Step.WATCHED)
    disk.full_at = 1
    with pytest.raises(OSError, match="no space"):
        found.take(Step.WATCHED)
    assert found.journal.state == "active"
    assert found.take(Refused("errors", "it traps"))
    assert (found.running, found.journal.state, found.owes) == (plan(1), "rolled_back", True)
    assert not found.settle_up()
    disk.full_at = 0
    assert found.settle_up()
    again = Deployments(disk, clock, lambda _: True)
    again.begin()
    assert (again.running, again.journal.state) == (plan(1), "rolled_back")


SITE = """
[models.m]
path = "fleet:m"
[models.own]
path = "own.wasm"
[agents.a]
path = "fleet:a"
[collections.c]
vectors = { size = 4, distance = "Dot" }
model = "m"
[pipelines.one]
steps = [{ model = "m" }]
[pipelines.deep]
steps = [{ model = "own" }, { for_each = [{ agent = "a" }] }]
[pipelines.own]
steps = [{ model = "own" }]
[[tenants]]
name = "t"
models = ["m", "own"]
pipelines = ["one", "own"]
[auth]
tokens = "tokens.json"
[updates]
trust = "fleet.json"
"""


def test_what_no_deployment_has_brought_is_left_out_with_all_that_needs_it(tmp_path: Path) -> None:
    site = parse_site(SITE.encode(), tmp_path / "site.toml")
    assert undelivered(site) == {"m", "a", "one", "deep"}
    left = without_undelivered(site)
    assert (set(left.models), set(left.agents), set(left.pipelines)) == ({"own"}, set(), {"own"})
    assert not left.collections
    assert (left.tenants[0].models, left.tenants[0].pipelines) == (["own"], ["own"])
    local = begin(site, SimulatedClock())
    data = {"models/m": b"m", "agents/a": b"a"}
    items = {role: Item(f"{role}/7.wasm", hashlib.sha256(content).hexdigest(), 1) for role, content in data.items()}
    for role, one in items.items():
        local.store.path(one.sha256).write_bytes(data[role])
    show(local.folder, Plan(1, items))
    assert undelivered(site) == frozenset()
    assert (site.path_of("fleet:m") / "7/model.wasm").read_bytes() == b"m"
    assert Path(site.agent_path(site.agents["a"])).read_bytes() == b"a"
    show(local.folder, None)
    assert undelivered(site) == {"m", "a", "one", "deep"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[models.m]\npath = "fleet:m"', "names what a fleet brings"),
        ('[models.m]\npath = "fleet:../x"\n[updates]\ntrust = "t"', "must be `fleet:NAME`"),
        (f'[models.m]\npath = "fleet:m"\nsha256 = "{"0" * 64}"\n[updates]\ntrust = "t"', "pins what a deployment"),
        ('[updates]\ntrust = "t"\nhook = "http://example.org/"', "an address on this machine"),
    ],
)
def test_what_a_site_file_may_not_say_of_a_fleet(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        parse_site(text.encode(), Path("site.toml"))


def test_a_damaged_journal_is_none_and_what_serves_goes_on(tmp_path: Path) -> None:
    disk = FolderDisk(tmp_path)
    disk.replace("slots/a", msgspec.json.encode(plan(4)))
    disk.replace("active", b"a")
    disk.replace("journal", b"{")
    found = Deployments(disk, SimulatedClock(), lambda _: True)
    found.begin()
    assert (found.running, found.journal.deployment, found.journal.state) == (plan(4), 4, "settled")


def test_self_tests_hold_a_model_against_vectors() -> None:
    x = np.float32([1, 2, 3, 4])
    with load(model()) as session:
        right = {"in.x": x, "out.y": 2 * x, "in.x.2": -x, "out.y.2": -2 * x}
        assert self_test(session, encode_frame(right)) == ""
        wrong = self_test(session, encode_frame(right | {"out.y.2": -2 * x + np.float32(0.5)}))
        assert wrong == "case 2: output `y` is off by 0.5"
        assert self_test(session, encode_frame(right | {"out.y.2": -2 * x + 1}, metadata={"atol": "1"})) == ""
        assert "no inputs" in self_test(session, encode_frame({"in.z": x}))
        assert "no outputs" in self_test(session, encode_frame({"in.x": x}))


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"because")

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/go?a=1"
        server.shutdown()


def test_hooks_say_yes_no_or_nothing() -> None:
    with answering(204) as url:
        assert ask_hook(url, {"deployment": 1}) == ""
    assert "refused" in ask_hook(url, {})
    with answering(409) as url:
        assert ask_hook(url, {}) == "409 because"
    assert "no address on this machine" in ask_hook("http://example.org/", {})
