"""What `littoral doctor` sees of a node, its files and its machine, and what it says mends them."""

import fcntl
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from command import command, environment
from command import littoral as cli
from fleet_trust import Fleet
from littoral import settings
from littoral.node.beside import running_node as beside
from littoral.node.doctor.files import examine_digests, examine_shards
from littoral.node.doctor.machine import examine_machine
from littoral.node.doctor.network import examine_ports, examine_services, running_node
from littoral.node.doctor.updates import examine_updates
from littoral.node.serving_address import noted_address
from littoral.node.site import Site, read_site
from littoral.telemetry.findings import Finding, Status
from littoral.testing import SimulatedClock
from node_fixture import DOUBLE, SITE, Served, node_in_thread, write_site
from otlp_receiver import receiver
from ports import free_port
from raw_http import send_json
from supervised import short_folder

FLAGS = "flags\t\t: fpu ssse3 sse4_1 avx2 fma\nFeatures : asimd asimddp\n"


def told(findings: Iterable[Finding]) -> dict[tuple[str, str], Finding]:
    return {(one.check, one.subject): one for one in findings}


def bad(findings: Iterable[Finding]) -> list[Finding]:
    """Each must say what mends it."""
    found = [one for one in findings if one.status is not Status.OK]
    assert all(one.hint for one in found), found
    return found


def test_a_claim_that_cannot_be_read(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet")
    fleet.trust.write(tmp_path / "fleet.json")

    def finding(claim: str) -> Finding:
        of = site(tmp_path, f'[updates]\ntrust = "fleet.json"\n{claim}')
        return told(examine_updates(of, fleet.clock))["updates", str(of.file)]

    for claim, why in {
        "": "`updates.claim` is missing",
        'claim = "claim"': f"`{tmp_path / 'claim'}`: No such file or directory",
        'claim = "env:LITTORAL_NO_CLAIM"': "`LITTORAL_NO_CLAIM` is not set",
    }.items():
        (found,) = bad([finding(claim)])
        assert found.status is Status.FAIL
        assert found.message.startswith("is not enrolled yet: ")
        assert why in found.message
    (tmp_path / "claim").write_text("claim_1_x\n")
    assert finding('claim = "claim"').status is Status.WARN


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("proc", "sys/fs/cgroup"):
        (tmp_path / "root" / folder).mkdir(parents=True)
    root = tmp_path / "root"
    (root / "proc/cpuinfo").write_text(FLAGS)
    (root / "proc/meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    return root


def site(folder: Path, more: str = "", node: str = "") -> Site:
    file = folder / "site.toml"
    file.write_text(f'[node]\nname = "a"\nlisten = "127.0.0.1:0"\n{node}\n{more}')
    return read_site(file)


def machine(of: Site, root: Path) -> dict[tuple[str, str], Finding]:
    return told(examine_machine(of, SimulatedClock(1_900_000_000.0), root=root))


def test_a_machine_that_is_well(tmp_path: Path, root: Path) -> None:
    found = machine(site(tmp_path), root)
    assert {check for check, _ in found} == {"cpu", "memory", "clock", "stack", "files", "disk"}
    assert found["memory", "machine"].message == "7812 MiB are free"


def test_a_processor_that_lacks_something(tmp_path: Path, root: Path) -> None:
    (root / "proc/cpuinfo").write_text("flags : ssse3 sse4_1\nFeatures : asimd\n")
    (finding,) = [one for one in machine(site(tmp_path), root).values() if one.check == "cpu"]
    assert finding.status is Status.WARN
    (root / "proc/cpuinfo").write_text("flags : fpu\nFeatures : fp\n")
    (finding,) = [one for one in machine(site(tmp_path), root).values() if one.check == "cpu"]
    assert finding.status is Status.FAIL
    assert bad([finding])


def test_memory_that_is_short(tmp_path: Path, root: Path) -> None:
    wants = site(tmp_path, node="memory_mb = 10000")
    assert "the node may want 10000" in machine(wants, root)["memory", "machine"].message


GROUPS = {
    "2, in a container": ("0::/\n", "", "memory.max memory.current"),
    "2, of a unit": (
        "0::/system.slice/littoral.service\n",
        "system.slice/littoral.service",
        "memory.max memory.current",
    ),
    "2, of what is above": ("0::/system.slice/littoral.service\n", "system.slice", "memory.max memory.current"),
    "1": (
        "5:cpu,cpuacct:/other\n4:memory:/shop/node\n1:name=systemd:/\n0::/\n",
        "memory/shop/node",
        "memory.limit_in_bytes memory.usage_in_bytes",
    ),
    "1, of what is above": ("4:memory:/shop/node\n", "memory", "memory.limit_in_bytes memory.usage_in_bytes"),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_memory_that_is_bounded_by_a_control_group(tmp_path: Path, root: Path, kind: str) -> None:
    """Folders as the kernel shows them, of both versions: a machine has one of them."""
    told_as, folder, names = GROUPS[kind]
    (root / "proc/self").mkdir()
    (root / "proc/self/cgroup").write_text(told_as)
    group = root / "sys/fs/cgroup" / folder
    group.mkdir(parents=True, exist_ok=True)
    bound, used = (group / name for name in names.split())
    bound.write_text("300000000\n")
    used.write_text("200000000\n")
    finding = machine(site(tmp_path), root)["memory", "machine"]
    assert (finding.status, finding.message) == (Status.WARN, "95 MiB are free, the node may want 256")
    bound.write_text("9223372036854771712\n" if "limit" in bound.name else "max\n")
    assert machine(site(tmp_path), root)["memory", "machine"].status is Status.OK


def test_a_clock_that_is_behind(tmp_path: Path, root: Path) -> None:
    of = site(tmp_path)
    (of.data / "collections").mkdir(parents=True)
    late = told(examine_machine(of, SimulatedClock(1_767_300_000.0), root=root))["clock", "machine"]
    assert late.status is Status.WARN
    assert "days later than it is now" in late.message
    assert told(examine_machine(of, SimulatedClock(0.0), root=root))["clock", "machine"].status is Status.FAIL


def test_a_disk_that_is_full(tmp_path: Path, root: Path) -> None:
    free_mb = shutil.disk_usage(tmp_path).free >> 20
    with settings.override(LITTORAL_DISK_RESERVE_MB=str(10 * free_mb)):
        finding = machine(site(tmp_path), root)["disk", str(tmp_path / "data")]
    assert finding.status is Status.FAIL
    assert "shards refuse writes below" in finding.message


def test_limits_that_the_engine_cannot_live_with(tmp_path: Path) -> None:
    site(tmp_path)

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (64 << 30, 64 << 30))
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    arguments = command("doctor", tmp_path / "site.toml")
    done = subprocess.run(arguments, capture_output=True, text=True, preexec_fn=bounded, env=environment(), timeout=240)
    assert done.returncode == 1, done.stderr
    assert "fail  stack        address space: the address space is limited" in done.stdout
    assert "hint: no `ulimit -v`, no LimitAS in its unit" in done.stdout
    assert "warn  files        machine: at most 200 may be open" in done.stdout


def test_ports_that_somebody_else_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        of = site(tmp_path, node=f'grpc = "127.0.0.1:{port}"')
        found = told(examine_ports(of, None))
        assert found["port", "http 127.0.0.1:0"].message == "any that is free"
        finding = found["port", f"grpc 127.0.0.1:{port}"]
        assert finding.status is Status.FAIL
        assert finding.hint == "end what uses it, or listen at another port"


def test_services_that_are_away(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        tables = f'[mqtt]\nbroker = "mqtt://127.0.0.1:{port}"\n'
        assert [one.status for one in examine_services(site(tmp_path, tables))] == [Status.OK]
    with receiver(free_port()) as collector:
        more = f'{tables}[telemetry.traces]\nendpoint = "{collector.url}"\n'
        broker, traces = examine_services(site(tmp_path, more))
    assert (broker.status, traces.status) == (Status.FAIL, Status.OK)
    assert bad([broker])
    (traces,) = examine_services(site(tmp_path, f'[telemetry.traces]\nendpoint = "{collector.url}"\n'))
    assert traces.status is Status.WARN
    secured = f'[mqtt]\nbroker = "mqtts://127.0.0.1:{port}"\nca = "nothing.pem"\n'
    (broker,) = examine_services(site(tmp_path, secured))
    assert "certificates cannot be read" in broker.message


# --- a node ---


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with short_folder() as folder:
        port = free_port()
        file = write_site(folder, (SITE + DOUBLE).replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        with node_in_thread(folder, site=file, port=port) as found:
            points = [{"id": i, "vector": [1.0 * i, *[0.5] * 191]} for i in range(8)]
            written = send_json(found.address, "PUT", "/collections/frames/points?wait=true", {"points": points})
            assert written.status == 200
            yield found


def own_site(served: Served) -> Site:
    return read_site(served.node.data.parent / "site.toml")


def test_a_node_that_runs_is_asked(served: Served) -> None:
    of = own_site(served)
    running = running_node(of)
    assert running is not None
    assert [one.message for one in examine_ports(of, running.address)] == ["the node answers"]
    (shard,) = examine_shards(of, running.told)
    assert (shard.status, shard.message) == (Status.OK, "8 points, 0 vectors in an index")
    with settings.override(LITTORAL_OPTIMIZE_POINTS="5"):
        (shard,) = examine_shards(of, running.told)
    assert shard.status is Status.WARN
    assert shard.message.startswith("8 of 8 points are in no index")
    running.told["frames"]["status"] = "collection `frames`: no answer"
    assert bad(examine_shards(of, running.told))[0].status is Status.FAIL


def test_a_node_that_listens_elsewhere_is_found_and_forgotten(tmp_path: Path) -> None:
    file = write_site(tmp_path, (SITE + DOUBLE).replace("127.0.0.1:0", f"127.0.0.1:{free_port()}"))
    of = read_site(file)
    with beside(file, listen="127.0.0.1:0") as node:
        found = told(examine_ports(of, (running := running_node(of)) and running.address))
        words = f"the node answers at {node.address}, as `littoral up --listen` said"
        assert found["port", f"http {of.listen}"] == Finding("port", f"http {of.listen}", Status.OK, words)
        findings = {one["check"]: one for one in cli("doctor", file, "--json").json["findings"]}
        assert findings["shard"]["message"] == "0 points, 0 vectors in an index"
        note = (of.data / ".address").read_text()
    assert noted_address(of.data) is None
    for left in (note, "", "no address", "x" * 5000, "\udcff", "127.0.0.1:0\n"):
        (of.data / ".address").write_bytes(left.encode(errors="surrogateescape"))
        assert running_node(of) is None


def test_shards_on_disk(served: Served, tmp_path: Path) -> None:
    (shard,) = examine_shards(own_site(served), None)
    assert shard.status is Status.WARN
    assert "is held by process" in shard.message
    copy = site(tmp_path)
    ours, theirs = (of.data / "collections/frames" for of in (own_site(served), copy))
    (shard_folder,) = ours.glob("*/edge")
    folder = theirs / shard_folder.relative_to(ours)
    folder.mkdir(parents=True)
    (folder.parent / ".owner.lock").touch()
    shutil.copy(ours / "collection.json", theirs)
    assert [one.message for one in examine_shards(copy, None)] == ["1 on disk, nobody holds them"]
    with (folder.parent / ".owner.lock").open("rb") as lock:  # it was looked at, and left free
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    shutil.rmtree(folder)
    assert "has no store" in bad(examine_shards(copy, None))[0].message
    (theirs / "collection.json").write_text("{")
    (shard,) = bad(examine_shards(copy, None))
    assert "recover it from a snapshot" in str(shard.hint)


def test_files_with_another_digest(served: Served) -> None:
    of = own_site(served)
    assert bad(examine_digests(of)) == []
    file = served.node.data.parent / "pinned.toml"
    text = of.file.read_text().replace('path = "plain.wasm"', f'path = "plain.wasm"\nsha256 = "{"0" * 64}"')
    file.write_text(text.replace("embedder.wasm", "gone.wasm"))
    first, second = bad(examine_digests(read_site(file)))
    assert (first.subject, second.subject) == ("models.embedder", "models.plain")
    assert "the site file says 0000" in second.message


def test_the_verb_tells_all_of_it(served: Served) -> None:
    done = cli("doctor", own_site(served).file, "--json")
    findings = done.json["findings"]
    assert (done.code, done.json["ok"]) == (0, True), findings
    assert {one["check"] for one in findings} == {
        "cpu", "memory", "clock", "stack", "files", "disk", "port", "digest", "shard", "cache",
        "encryption", "audit",
    }  # fmt: skip
