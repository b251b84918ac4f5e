"""A machine in trouble: a full disk, clocks that jump, no more file descriptors, too little memory. Each costs a clear
error, nothing that was acknowledged, and is over when the trouble is."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from command import command, environment
from command import littoral as cli
from littoral.clock import SYSTEM
from memory_group import memory_group
from needs import need
from page_pictures import page_pictures
from ports import free_port
from processes import children_of, host_of
from raw_http import NOTHING, Reply, connect, request, send
from site_folder import TEXT, site_folder
from supervised import short_folder
from waiting import until

pytestmark = pytest.mark.e2e

MB = 1 << 20
YEAR_S = 365 * 24 * 3600
SIZE = 5


class Machine:
    """`littoral up` under conditions."""

    def __init__(self, folder: Path, text: str = TEXT) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.site = site_folder(folder, text.replace("127.0.0.1:0", self.address))
        self.errors = folder / "stderr.txt"
        self.headers: Mapping[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **variables: str) -> None:
        self.launch(**variables)
        self.wait_ready()

    def launch(self, **variables: str) -> None:
        with self.errors.open("ab") as errors:
            line = command("up", self.site)
            self.process = subprocess.Popen(line, env=environment() | variables, stderr=errors)

    def wait_ready(self) -> None:
        until(lambda: self.ask("GET", "/readyz").status == 200, attempts=300_000)

    def ask(self, method: str, path: str, body: Any = None, data: bytes = b"") -> Reply:
        """status 0 where nobody answers."""
        data = data if body is None else json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/octet-stream" if body is None else "application/json"}
        try:
            return send(self.address, method, path, data, headers)
        except OSError:
            return NOTHING

    def write(self, first: int, count: int = 1, pad: int = 0) -> Reply:
        points = [
            {"id": i, "vector": [i, 1, 2, 3, 4], "payload": {"n": i, "pad": "x" * pad}}
            for i in range(first, first + count)
        ]
        return self.ask("PUT", "/collections/frames/points?wait=true", {"points": points})

    def ids(self) -> list[int]:
        """Of all points, once they can be read."""
        found: list[Reply] = []

        def is_read() -> bool:
            asked = {"limit": 10_000, "with_payload": False}
            found[:] = [self.ask("POST", "/collections/frames/points/scroll", asked)]
            return found[0].status == 200

        until(is_read, attempts=300_000)
        return [point["id"] for point in found[0].json["result"]["points"]]

    def pids(self) -> set[int]:
        """Of node and host."""
        assert self.process is not None
        return {self._node(), host_of(self.process.pid, "frames")}

    def _node(self) -> int:
        assert self.process is not None
        found: list[int] = []

        def is_there() -> bool:
            assert self.process is not None
            lines = children_of(self.process.pid).items()
            found[:] = [pid for pid, line in lines if "littoral.node.process" in line]
            return bool(found)

        until(is_there)
        return found[0]

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            children = list(children_of(self.process.pid))
            self.process.kill()
            self.process.wait(60)
            until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in children))


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@pytest.fixture
def machine(folder: Path) -> Iterator[Machine]:
    made = Machine(folder, TEXT + "\n[cache]\ndisk_mb = 4\n")
    yield made
    made.end()


def test_a_full_disk_is_read_from_and_written_to_again_when_there_is_room(tmp_path: Path) -> None:
    can_mount = subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    need(can_mount, "user namespaces, to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = ["unshare", "-rm", sys.executable, "-P", __file__, str(disk)]
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        inside, capture_output=True, text=True, timeout=500, env=environment() | {"PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "all is well" in done.stdout


BESIDE = """
[cache]
disk_mb = 4

[audit]
commit_ms = 50

[gateway]
upstreams = [{{ name = "beside", url = "{url}", models = ["large"] }}]
"""


def on_a_small_disk(disk: Path) -> None:
    """In a mount namespace of its own. State, cache, site, data and what is said on stderr are on the disk."""
    from fake_upstream import fake_upstream
    from littoral import settings

    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=250m", "tmpfs", disk], check=True)
    with (
        fake_upstream() as fake,
        settings.override(LITTORAL_STATE=str(disk / "state"), LITTORAL_CACHE=str(disk / "cache")),
    ):
        machine = Machine(disk, TEXT + BESIDE.format(url=fake.url))
        try:
            machine.start(**RESERVE)
            _fills(machine, disk)
            machine.end()  # a power cut, and up again: without a free byte the store can seldom be opened
            _starts_without_a_free_byte(machine)
            (disk / "filled").unlink()
            _goes_on(machine)
            machine.end()
            _begins_without_room(machine, disk)
        finally:
            print(machine.errors.read_text()[-3000:], file=sys.stderr)
            machine.end()
    print("all is well")


RESERVE = {"LITTORAL_DISK_RESERVE_MB": "8"}
ALIAS = {"actions": [{"create_alias": {"alias_name": "pictures", "collection_name": "frames"}}]}
ALSO = {"actions": [{"create_alias": {"alias_name": "again", "collection_name": "frames"}}]}


def _fills(machine: Machine, disk: Path) -> None:
    """While it runs."""
    assert machine.write(0, 10).status == 200
    assert machine.ask("POST", "/collections/aliases", ALIAS).status == 200
    assert _chat(machine, "known") == (200, "miss")
    until(lambda: _chat(machine, "known") == (200, "hit"))
    fill(disk)
    refused = machine.write(10)
    assert refused.status == 507, refused
    assert "MiB free, a write needs 8 MiB" in refused.error, refused.body
    spare = {"vectors": {"size": 4, "distance": "Dot"}}
    for method, path, body in (
        ("PUT", "/collections/spare", spare),
        ("POST", "/collections/aliases", ALSO),
        ("POST", "/collections/frames/snapshots?wait=true", {}),
        ("PUT", "/collections/frames/index?wait=true", {"field_name": "n", "field_schema": "integer"}),
    ):
        told = machine.ask(method, path, body)
        assert (told.status, "hint: make room" in told.error) == (507, True), (path, told)
    assert machine.ids() == list(range(10))
    assert machine.ask("POST", "/pipelines/embed", data=page_pictures()[0].data).status == 200
    assert (_chat(machine, "known"), _chat(machine, "new")) == ((200, "hit"), (200, "miss"))
    assert machine.ask("GET", "/readyz").status == 200
    assert cli("doctor", machine.site, "--json").code == 1
    fill(disk)


def _starts_without_a_free_byte(machine: Machine) -> None:
    machine.launch(**RESERVE)

    def says_how_it_is() -> bool:
        reply = machine.ask("GET", "/readyz")
        return reply.status == 200 or b"is the disk full?" in reply.body

    until(says_how_it_is, attempts=300_000)
    assert machine.ask("POST", "/pipelines/embed", data=page_pictures()[0].data).status == 200
    assert _chat(machine, "newer")[0] == 200
    assert machine.process is not None
    assert machine.process.poll() is None


def _goes_on(machine: Machine) -> None:
    """By itself, when there is room."""
    machine.wait_ready()
    assert machine.ids() == list(range(10))
    until(lambda: machine.write(10).status == 200)
    assert machine.ids() == list(range(11))
    assert machine.ask("POST", "/collections/aliases", ALSO).status == 200
    aliases = machine.ask("GET", "/aliases").json["result"]["aliases"]
    assert {alias["alias_name"] for alias in aliases} == {"pictures", "again"}
    until(lambda: _chat(machine, "known") == (200, "hit"), attempts=300_000)
    until(lambda: machine.ask("GET", "/api/audit").json["failure"] == "", attempts=300_000)
    until(lambda: machine.ask("GET", "/api/audit").json["waiting"] == 0)
    assert machine.ask("GET", "/api/audit").json["dropped"] == {}
    assert cli("audit", "verify", machine.site.parent / "data/audit").code == 0


def _begins_without_room(machine: Machine, disk: Path) -> None:
    """A node that never ran refuses in words; nothing of the half-made is in the way of the next start."""
    shutil.rmtree(disk / "data")
    fill(disk, leave=2 * MB)
    line, variables = command("up", machine.site), environment() | RESERVE
    refused = subprocess.run(line, env=variables, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 5
    assert "MiB free, a new collection needs 8 MiB" in refused.stderr, refused.stderr
    (disk / "filled").unlink()
    machine.start(**RESERVE)
    assert machine.write(0).status == 200


def _chat(machine: Machine, question: str) -> tuple[int, str]:
    """Status, and where the answer came from."""
    body = {"model": "large", "messages": [{"role": "user", "content": question}]}
    reply = machine.ask("POST", "/v1/chat/completions", body)
    return reply.status, reply.headers.get("x-littoral-cache", "")


def fill(disk: Path, *, leave: int = 0) -> None:
    """To the last byte, or so many less."""
    path = disk / "filled"
    with path.open("ab", buffering=0) as stream:
        for size in (1 << 16, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(bytes(size))
    if leave:
        os.truncate(path, path.stat().st_size - leave)


def faketime() -> Path | None:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return found[0] if found else None


def test_clocks_jump_by_a_year_both_ways(machine: Machine, folder: Path) -> None:
    need(faketime(), "libfaketime (Debian: faketime)")
    machine.site.write_text(machine.site.read_text() + "\n[auth]\n")
    lasting, short = (
        cli("tokens", "new", machine.site, name, "--roles", "admin", "--json", *more).json["token"]
        for name, more in (("lasting", ()), ("short", ("--days", "30")))
    )
    now = folder / "now"

    def jump(seconds: int) -> None:
        now.with_suffix(".new").write_text(f"{seconds:+d}")
        now.with_suffix(".new").replace(now)

    def status(token: str) -> int:
        machine.headers = {"Authorization": f"Bearer {token}"}
        return machine.ask("GET", "/collections").status

    jump(0)
    machine.start(
        LD_PRELOAD=str(faketime()),
        FAKETIME_TIMESTAMP_FILE=str(now),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        NO_FAKE_STAT="1",
    )
    assert (status(short), status(lasting)) == (200, 200)
    pids, picture = machine.pids(), page_pictures()[0].data
    first = machine.ask("POST", "/pipelines/embed", data=picture)
    kept = connect(machine.address)  # a connection that is open all the time
    with kept:
        for number, seconds in enumerate((YEAR_S, -YEAR_S, 0)):
            jump(seconds)
            expected = SYSTEM.wall() + seconds
            until(lambda expected=expected: abs(date_of(machine) - expected) < 3600)
            assert status(short) == (401 if seconds > 0 else 200)
            assert status(lasting) == 200
            assert machine.write(number).status == 200
            again = machine.ask("POST", "/pipelines/embed", data=picture)
            assert (again.status, again.json["result"]) == (200, first.json["result"])
            assert machine.ask("POST", "/collections/frames/snapshots?wait=true", {}).status == 200
            told = machine.ask("GET", "/api/node").json
            assert told["ready"]
            assert 0 <= told["uptime_s"] < 3600
            kept.sendall(request("GET", "/healthz", headers={"Connection": "keep-alive"}))
            assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
    assert machine.pids() == pids, "nothing was started anew"
    assert machine.ids() == [0, 1, 2]
    snapshots = machine.ask("GET", "/collections/frames/snapshots").json["result"]
    assert len({snapshot["name"] for snapshot in snapshots}) == 3
    machine.end()
    jump(-YEAR_S)  # a battery that is empty: up again, a year ago
    machine.start(LD_PRELOAD=str(faketime()), FAKETIME_TIMESTAMP_FILE=str(now), FAKETIME_DONT_FAKE_MONOTONIC="1")
    assert machine.ids() == [0, 1, 2]
    assert machine.write(3).status == 200


def date_of(machine: Machine) -> float:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(machine.ask("GET", "/healthz").headers["date"]).timestamp()


def test_without_file_descriptors_who_is_there_is_served_and_others_when_there_is_room(machine: Machine) -> None:
    need(shutil.which("prlimit"), "prlimit")
    machine.start()
    assert machine.write(0).status == 200
    (node,) = machine.pids() - {host_of(machine.process.pid, "frames")}  # type: ignore[union-attr]
    in_use = open_files(node)
    subprocess.run(["prlimit", f"--pid={node}", f"--nofile={in_use + 20}:{in_use + 20}"], check=True)
    pids = machine.pids()
    with contextlib.ExitStack() as stack, connect(machine.address) as kept:
        kept.sendall(request("GET", "/healthz"))
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
        crowd = [stack.enter_context(connect(machine.address)) for _ in range(60)]
        until(lambda: open_files(node) >= in_use + 19)
        points = json.dumps({"points": [{"id": 1, "vector": [1, 2, 3, 4, 5]}]}).encode()
        headers = {"Content-Type": "application/json"}
        kept.sendall(request("PUT", "/collections/frames/points?wait=true", points, headers))
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
        for one in crowd:
            one.close()
    until(lambda: machine.write(2).status == 200)
    assert machine.ids() == [0, 1, 2]
    assert machine.pids() == pids
    assert machine.ask("POST", "/pipelines/embed", data=page_pictures()[0].data).status == 200


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def test_what_the_kernel_ends_for_want_of_memory_is_there_again_with_all_points(machine: Machine) -> None:
    with memory_group() as group:
        machine.start()
        assert machine.process is not None
        for first in range(0, 500, 100):
            assert machine.write(first, 100, pad=100).status == 200
        before = machine.pids()
        if group is None:
            # No group may be made here: what the kernel does, which is to kill whoever has most.
            os.kill(max(before, key=resident), signal.SIGKILL)
        else:
            for pid in (machine.process.pid, *before):
                group.add(pid)
            spend(machine, group)
            assert group.kills() > 0
            group.limit(1 << 40)
        until(lambda: machine.pids() != before, attempts=300_000)
        why = "killed by SIGKILL" + ("" if group is None else ", was there too little memory?")
        until(lambda: f"ended, {why}: it is started again" in machine.errors.read_text())
        machine.wait_ready()
        assert machine.ids() == list(range(500))
        assert machine.write(500).status == 200
        assert machine.ask("POST", "/pipelines/embed", data=page_pictures()[0].data).status == 200
        machine.end()


def resident(pid: int) -> int:
    """Pages in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


def spend(machine: Machine, group: Any) -> None:
    """Bodies that are held at a time need more than is left."""
    group.limit(group.used() + 48 * MB)
    body = bytes(15 * MB)

    def hold() -> None:
        with contextlib.suppress(OSError), connect(machine.address) as one:
            one.sendall(request("POST", "/pipelines/embed", body)[:-MB])
            one.recv(1)

    held = [threading.Thread(target=hold, daemon=True) for _ in range(8)]
    for one in held:
        one.start()
    until(lambda: group.kills() > 0, attempts=300_000)
    for one in held:
        one.join(60)


if __name__ == "__main__":
    on_a_small_disk(Path(sys.argv[1]))
