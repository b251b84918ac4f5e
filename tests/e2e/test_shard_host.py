"""A shard host from outside: hostile bytes, slow and many clients, a second owner, a full disk, its end."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import filled_disk
from hosts import SIZE, Client, host_of, make_folder, upsert, vectors
from littoral.errors import InputError, ShardError, TooLargeError, UnavailableError
from littoral.vectors import frames
from littoral.vectors.clients import CONNECTION_COUNT_MAX
from littoral.vectors.queries import SearchQuery
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.shard import Shard
from littoral.vectors.shard_server import BACKLOG_COUNT_MAX
from needs import need
from waiting import until

pytestmark = pytest.mark.e2e

COUNT = frames.Count(call=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


def test_a_host_says_what_it_has_done(folder: Path) -> None:
    with host_of(folder) as host:
        client = host.connect()
        for call in range(3):
            client.ask(upsert([call], call=call, acknowledge="durable"))
        client.ask(COUNT)
        with pytest.raises(InputError):
            client.ask(frames.Delete(call=9))
        found = client.ask(frames.AskStatistics(call=10)).statistics
    assert found.request_count == {"upsert": 3, "count": 1, "delete": 1, "askstatistics": 1}
    assert (found.point_count, found.failure_count, found.refused_count) == (3, 1, 0)
    assert (found.flush_count, found.flush_acknowledged_max) == (3, 1)
    assert sum(found.service_count["upsert"]) == 3
    assert found.connection_count == 1


def test_many_durable_writes_share_a_flush(folder: Path) -> None:
    with host_of(folder) as host:
        client = host.connect()
        requests = [bytes(frames.encode(upsert([call], call=call, acknowledge="durable"))) for call in range(200)]
        with host.stopped():
            client.socket.sendall(b"".join(requests))
        assert sorted(client.answer().call for _ in range(200)) == list(range(200))
        found = client.ask(frames.AskStatistics(call=0)).statistics
    assert found.flush_acknowledged_max > 1
    assert found.flush_count < 200


def test_searches_that_wait_together_are_answered_together(folder: Path) -> None:
    with host_of(folder) as host:
        client = host.connect()
        rows = vectors(100)
        client.ask(upsert(range(100), rows=rows))
        asked = [frames.Search(call=call, queries=[SearchQuery(rows[call].tobytes(), limit=1)]) for call in range(50)]
        with host.stopped():
            client.socket.sendall(b"".join(bytes(frames.encode(request)) for request in asked))
        answers = {answer.call: answer for answer in (client.answer() for _ in range(50))}
        alone = [
            client.ask(frames.Search(call=c, queries=[SearchQuery(rows[c].tobytes(), limit=1)])) for c in range(50)
        ]
        found = client.ask(frames.AskStatistics(call=0)).statistics
    assert [answers[c].hits for c in range(50)] == [a.hits for a in alone]  # type: ignore[union-attr]
    assert found.query_batch_max > 1


def test_one_bad_query_among_many_spoils_only_itself(folder: Path) -> None:
    with host_of(folder) as host:
        client = host.connect()
        client.ask(upsert(range(10)))
        good, bad = vectors(1)[0].tobytes(), np.full(SIZE, np.nan, "<f4").tobytes()
        for call, vector in enumerate([good, bad, good]):
            client.send(frames.Search(call=call, queries=[SearchQuery(vector, limit=1)]))
        answers = {answer.call: answer for answer in (client.answer() for _ in range(3))}
    assert isinstance(answers[1], frames.Failure)
    assert answers[0].hits == answers[2].hits  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((1 << 30).to_bytes(4, "little"), "frame declares 1073741824 bytes, at most 16777216"),
        (b"\xff\xff\xff\xff", "frame declares 4294967295 bytes"),
        (b"GET / HTTP/1.1\r\n\r\n", "frame declares 542393671 bytes"),
        (b"\x00\x00\x00\x00", "message of 0 bytes"),
        (b"\x04\x00\x00\x00\xde\xad\xbe\xef", "message of 4 bytes"),
        (b"\x05\x00\x00\x00" + b"\x91" * 5, "message of 5 bytes"),
        (b"\x10\x27\x00\x00" + b"\x91" * 10_000, "message of 10000 bytes"),
        (b"\x09\x00\x00\x00\x92\xa4nope\xa1x\xc0", "message of 9 bytes"),
    ],
)
def test_nonsense_is_answered_and_hung_up_on_and_costs_nobody_else(folder: Path, data: bytes, said: str) -> None:
    with host_of(folder) as host:
        good, bad = host.connect(), host.connect()
        good.ask(upsert([1]))
        bad.socket.sendall(data)
        answer = bad.answer()
        assert isinstance(answer, frames.Failure)
        assert said in answer.message
        assert bad.is_hung_up()
        assert good.ask(COUNT).count == 1


def test_a_request_that_cannot_be_is_an_error_of_its_own_and_the_connection_lives(folder: Path) -> None:
    with host_of(folder) as host:
        client = host.connect()
        wrong = frames.CreateIndex(call=7, field="a", schema="colour")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="Invalid enum value 'colour'"):
            client.ask(wrong)
        with pytest.raises(InputError, match="Expected `int"):
            client.ask(frames.Scroll(call=8, limit="all"))  # type: ignore[arg-type]
        assert client.ask(COUNT).count == 0


def test_random_bytes_never_end_the_host(folder: Path) -> None:
    rng = np.random.default_rng(3)
    valid = bytes(frames.encode(upsert([1, 2, 3])))
    with host_of(folder) as host:
        good = host.connect()
        for turn in range(150):
            spoiled = bytearray(valid)
            for _ in range(rng.integers(1, 6)):
                spoiled[rng.integers(4, len(spoiled))] = rng.integers(256)
            bad = Client(host.folder)
            bad.socket.sendall(spoiled if turn % 2 else bytes(rng.integers(0, 256, 64, np.uint8)))
            bad.close()
        assert good.ask(COUNT).count <= 6
        assert host.process.poll() is None


def test_a_client_that_takes_no_answers_stops_nobody_else(folder: Path) -> None:
    with host_of(folder) as host:
        slow, good = host.connect(), host.connect()
        rows = np.ones((16, SIZE), "<f4")
        payloads = [{"pad": "x" * 500_000}] * 16
        good.ask(frames.Upsert(call=1, points=PointBatch(list(range(16)), rows.tobytes(), payloads)))
        big = frames.Scroll(call=2, limit=16)
        slow.socket.setblocking(False)
        for _ in range(60):  # 480 MB of answers, asked for and not taken
            try:
                slow.socket.send(frames.encode(big))
            except BlockingIOError:
                break
        for call in range(20):
            assert good.ask(frames.Count(call=call)).count == 16
        status = Path(f"/proc/{host.process.pid}/status").read_text()
        held_kb = int(status.partition("RssAnon:")[2].split()[0])
        assert held_kb < 150_000
        slow.close()
        until(lambda: good.ask(frames.AskStatistics(call=1)).statistics.connection_count == 1)


def test_a_full_backlog_is_refused_at_once_and_loses_nothing_acknowledged(folder: Path) -> None:
    with host_of(folder) as host:
        client, other = host.connect(), host.connect()
        requests = b"".join(bytes(frames.encode(frames.Count(call=call))) for call in range(2 * BACKLOG_COUNT_MAX))
        with host.stopped():
            client.socket.sendall(requests)
        answers = [client.answer() for _ in range(2 * BACKLOG_COUNT_MAX)]
        refused = [a for a in answers if isinstance(a, frames.Failure)]
        assert {(a.kind, a.message) for a in refused} == {
            ("UnavailableError", "shard host is busy, its backlog is full")
        }
        assert len({a.call for a in answers}) == 2 * BACKLOG_COUNT_MAX
        assert other.ask(frames.AskStatistics(call=1)).statistics.refused_count == len(refused) > 0


def waiting(client: Client, kind: str) -> int:
    """How many requests of this kind have arrived and are not answered."""
    found = client.ask(frames.AskStatistics(call=0)).statistics
    return found.request_count.get(kind, 0) - sum(found.service_count.get(kind, [0]))


def done(client: Client, kind: str) -> int:
    """How many requests of this kind are answered when the one that the client sent before is."""
    client.send(frames.AskStatistics(call=0))
    assert not isinstance(client.answer(), frames.Failure | frames.Measured)
    told = client.answer()
    assert isinstance(told, frames.Measured), told
    return sum(told.statistics.service_count.get(kind, [0]))


def test_a_search_gets_through_a_stream_of_writes(folder: Path) -> None:
    with host_of(folder) as host:
        busy, other = host.connect(), host.connect()
        rows = vectors(20_000)
        count = 60
        stream = b"".join(bytes(frames.encode(upsert(range(20_000), call=call, rows=rows))) for call in range(count))
        sending = threading.Thread(target=send_all, args=(busy.socket, stream))
        sending.start()
        until(lambda: waiting(other, "upsert") > 5)
        other.send(frames.Search(call=1, queries=[SearchQuery(rows[0].tobytes())]))
        assert done(other, "upsert") < count, "the search waited for all the writes"
        host.process.kill()
        sending.join()


def test_a_write_gets_through_a_stream_of_searches(folder: Path) -> None:
    with host_of(folder) as host:
        busy, other = host.connect(), host.connect()
        rows = vectors(20_000)
        other.ask(upsert(range(20_000), rows=rows))
        query = SearchQuery(rows[0].tobytes(), limit=300)
        stream = b"".join(bytes(frames.encode(frames.Search(call=call, queries=[query]))) for call in range(1000))
        busy.socket.sendall(stream)
        busy.answer()
        other.ask(upsert([1], acknowledge="durable"))
        with host.stopped():
            assert 1 + busy.arrived() < 1000, "the write waited for all the searches"


def send_all(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the host is killed when enough is seen
        client.sendall(data)


def test_more_clients_than_it_takes_are_hung_up_on(folder: Path) -> None:
    with host_of(folder) as host:
        clients = [host.connect() for _ in range(CONNECTION_COUNT_MAX)]
        clients[0].ask(COUNT)
        one_more = host.connect()
        assert one_more.is_hung_up()
        assert clients[-1].ask(COUNT).count == 0


def test_the_socket_is_for_this_user_only(folder: Path) -> None:
    with host_of(folder) as host:
        host.connect()
        assert stat.S_IMODE((folder / "host.sock").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_path_longer_than_a_socket_address_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    with host_of(make_folder(deep, "n" * 255)) as host:
        assert host.connect().ask(COUNT).count == 0


def test_a_second_owner_is_refused_and_the_first_goes_on_undamaged(folder: Path) -> None:
    with host_of(folder) as host:
        client = host.connect()
        client.ask(upsert([1], acknowledge="durable"))
        for _ in range(3):
            with pytest.raises(UnavailableError, match=f"is in use by process {host.process.pid}"):
                Shard.open(folder, CollectionConfig(VectorParams(SIZE, "Dot")))
        client.ask(upsert([2], acknowledge="durable"))
        assert client.ask(COUNT).count == 2


def test_a_host_waits_for_the_owner_before_it(folder: Path) -> None:
    shard = Shard.open(folder, CollectionConfig(VectorParams(SIZE, "Dot")), create=True)
    with host_of(folder) as host:
        shard.upsert(PointBatch([1], vectors(1).tobytes()))
        shard.close()
        assert host.connect().ask(COUNT).count == 1


def test_sigterm_flushes_and_ends_and_ctrl_c_does_nothing(folder: Path) -> None:
    with host_of(folder) as host:
        assert host.report() == "ready\n"
        client = host.connect()
        client.ask(upsert([1, 2, 3]))
        host.signal(signal.SIGINT)
        assert client.ask(COUNT).count == 3
        host.signal(signal.SIGTERM)
        assert host.wait() == (0, "")
    with Shard.open(folder, CollectionConfig(VectorParams(SIZE, "Dot"))) as shard:
        assert shard.count() == 3


def test_a_host_dies_with_its_supervisor_also_in_the_middle_of_a_long_call(folder: Path) -> None:
    with host_of(folder) as host:
        client = host.connect()
        for start in range(0, 40_000, 2000):
            client.ask(upsert(range(start, start + 2000)))
        client.send(frames.Optimize(call=1))  # seconds, with the interpreter locked
        host.abandon()
        assert host.process.wait(60) == -signal.SIGKILL
    with Shard.open(folder, CollectionConfig(VectorParams(SIZE, "Dot"))) as shard:
        assert shard.count() == 40_000


def test_what_is_wrong_with_a_shard_is_said(folder: Path, tmp_path: Path) -> None:
    wrong = CollectionConfig(VectorParams(SIZE + 1, "Dot"))
    Shard.open(folder, wrong, create=True).close()
    with host_of(folder) as host:
        assert host.report().startswith("failed `")
        code, errors = host.wait()
    assert code == 1
    assert "holds vectors of 9 Dot, configured are 8 Dot" in errors
    with host_of(tmp_path / "nowhere") as host:
        code, errors = host.wait()
    assert code == 1
    assert "collection.json`: No such file or directory" in errors


def test_a_disk_that_is_nearly_full_refuses_writes_and_goes_on_reading(folder: Path) -> None:
    free_mb = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize >> 20
    with host_of(folder) as host:
        host.connect().ask(upsert([1], acknowledge="durable"))
        host.signal(signal.SIGTERM)
        host.wait()
    with host_of(folder, LITTORAL_DISK_RESERVE_MB=str(2 * free_mb)) as host:
        client = host.connect()
        with pytest.raises(ShardError, match="MiB free, a write needs"):
            client.ask(upsert([2]))
        assert client.ask(COUNT).count == 1
        client.ask(frames.Delete(call=1, ids=[1]))  # a quarter of the reserve will do
        assert client.ask(COUNT).count == 0


TMPFS = """
import os, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", sys.argv[1]], check=True)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""

FILL = """
import sys
import threading
from pathlib import Path
import numpy as np
from littoral.errors import ShardError
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.shard import Shard

config = CollectionConfig(VectorParams(1280, "Dot"))
shard = Shard.open(Path(sys.argv[1]), config, create=True, disk_reserve_bytes=16 << 20)
rows, written = np.ones((100, 1280), "<f4").tobytes(), 0
while True:
    try:
        shard.upsert(PointBatch(list(range(written, written + 100)), rows))
    except ShardError as error:
        print(error.message)
        break
    written += 100
shard.flush()
assert shard.count() == written > 1000, written
shard.delete(list(range(written)))
shard.close()
with Shard.open(Path(sys.argv[1]), config) as shard:
    assert shard.count() == 0
"""


def test_a_small_disk_is_filled_to_its_reserve_and_no_process_dies(tmp_path: Path) -> None:
    can_mount = subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    need(can_mount, "user namespaces, to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["unshare", "-rm", sys.executable, "-c", TMPFS, str(disk), "-P", "-c", FILL, str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "MiB free, a write needs 16 MiB" in done.stdout


def test_without_a_free_byte_a_shard_is_flushed_closed_killed_and_opened(tmp_path: Path) -> None:
    """Somebody else fills the disk: by what the shard has kept for itself nothing is lost, and searches go on."""
    can_mount = subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    need(can_mount, "user namespaces, to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-P", filled_disk.__file__, disk],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [said for said, _, _ in filled_disk.STEPS]


def test_an_answer_too_large_for_a_frame_is_an_error_and_the_connection_lives(folder: Path) -> None:
    with host_of(folder) as host:
        client = host.connect()
        for start in range(0, 40, 10):
            payloads = [{"pad": "x" * 1_000_000}] * 10
            rows = np.ones((10, SIZE), "<f4").tobytes()
            client.ask(frames.Upsert(call=1, points=PointBatch(list(range(start, start + 10)), rows, payloads)))
        with pytest.raises(TooLargeError, match="at most 16777216"):
            client.ask(frames.Scroll(call=2, limit=40))
        assert len(client.ask(frames.Scroll(call=3, limit=40, with_payload=False)).records) == 40


def test_a_host_needs_no_large_library() -> None:
    code = (
        "import sys, littoral.vectors.shard_process\n"
        "heavy = {'numpy', 'asyncio', 'typer', 'rich', 'wasmtime', 'granian', 'prometheus_client', 'ctypes'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
