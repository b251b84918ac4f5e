"""Each quota of a tenant: what is within it goes through, what is over it is refused in its protocol's words."""

import asyncio
import http.client
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from littoral.errors import QuotaError, TooOftenError
from littoral.node.caches import Caches
from littoral.node.request_rate import Rate
from littoral.node.site_tables import CacheTable
from littoral.node.tenancy.opening import cache_table
from littoral.runtime.call import Call
from littoral.runtime.gate import Gate
from littoral.testing import SimulatedClock
from littoral.vectors import frames
from littoral.vectors.quota import LOOK_AGAIN_S, Bounds, StoreQuota
from littoral.vectors.records import PointBatch
from raw_http import Reply
from tenants_site import ACME, BOLT, OPERATOR, Tenanted, points, tenanted_node
from waiting import until, until_async

COIL, DUNE = "coil", "dune"
TENANTS = """
[[tenants]]
name = "acme"
models = ["sums"]
pipelines = ["sentences", "find", "keep"]
quota = { requests_per_s = 100000.0, collections_max = 3, points_max = 5, disk_mb = 64, cache_mb = 1 }

[tenants.collections.frames]
vectors = { size = 4, distance = "Dot" }

[[tenants]]
name = "bolt"
pipelines = ["sentences"]
quota = { requests_per_s = 0.01, cache_mb = 0 }
[[tenants]]
name = "coil"
quota = { requests_per_s = 100000.0, disk_mb = 4 }

[tenants.collections.frames]
vectors = { size = 4, distance = "Dot" }

[[tenants]]
name = "dune"
pipelines = ["sentences"]
quota = { requests_per_s = 0.01 }
"""
"""A request in a hundred seconds is one within any test, however slow its machine."""


@pytest.fixture(scope="module")
def node() -> Iterator[Tenanted]:
    with tenanted_node(TENANTS) as found:
        yield found


def write(node: Tenanted, count: int, first: int) -> Reply:
    return node.ask(ACME, "PUT", "/collections/frames/points?wait=true", points(count, of=ACME, first=first))


def count(node: Tenanted) -> int:
    found = node.ask(ACME, "POST", "/collections/frames/points/count", {"exact": True}).json["result"]["count"]
    assert isinstance(found, int)
    return found


def told_of(node: Tenanted) -> dict[str, Any]:
    (found,) = node.ask(ACME, "GET", "/api/tenants").json
    assert isinstance(found, dict)
    return found


def test_points_are_counted_as_they_are(node: Tenanted) -> None:
    """Written again they are the same; what is too much is refused as a whole; what is deleted makes room."""
    assert write(node, 4, 1).status == 200
    over = write(node, 2, 5)
    told = "tenant `acme`: quota `points_max`: 4 points are stored, 2 more are wanted, at most 5"
    assert (over.status, over.json["status"]["error"].partition(" ·")[0]) == (403, told)
    assert count(node) == 4
    assert write(node, 4, 1).status == 200
    assert write(node, 4, 2).status == 200  # three of these are there
    assert count(node) == 5
    assert node.ask(ACME, "POST", "/pipelines/keep", b"one more").status == 403
    assert node.ask(ACME, "POST", "/collections/frames/points/delete?wait=true", {"points": [1, 2]}).status == 200
    assert node.ask(ACME, "POST", "/pipelines/keep", b"one more").status == 200
    assert write(node, 2, 70).status == 403
    assert write(node, 1, 70).status == 200
    until(lambda: told_of(node)["points"] == {"count": 5, "max": 5})
    assert told_of(node)["refused"]["store"] == 3
    assert node.ask(OPERATOR, "PUT", "/collections/books/points?wait=true", points(9, of="")).status == 200


def test_collections_are_bounded(node: Tenanted) -> None:
    body = {"vectors": {"size": 4, "distance": "Dot"}}
    assert node.ask(ACME, "PUT", "/collections/one", body).status == 200
    full = node.ask(ACME, "PUT", "/collections/two", body)
    assert (full.status, "3 collections are there, which is the most" in full.json["status"]["error"]) == (413, True)
    assert node.ask(ACME, "DELETE", "/collections/one").status == 200
    assert node.ask(ACME, "PUT", "/collections/two", body).status == 200


def test_what_would_not_fit_on_disk_is_not_written(node: Tenanted) -> None:
    """A request as a whole, or not at all: what is there are whole requests, no more than the quota has room for."""
    at, text, found = "/collections/frames/points", "x" * 50_000, list[Reply]()
    while len(found) < 8 and (not found or found[-1].status == 200):
        rows = [{"id": 20 * len(found) + n, "vector": [1.0, 0, 0, 0], "payload": {"text": text}} for n in range(20)]
        found.append(node.ask(COIL, "PUT", f"{at}?wait=true", {"points": rows}))
    assert found[-1].status == 403
    assert "quota `disk_mb`" in found[-1].json["status"]["error"]
    there = node.ask(COIL, "POST", f"{at}/count", {"exact": True}).json["result"]["count"]
    assert there == 20 * (len(found) - 1) > 0
    assert node.ask(COIL, "POST", f"{at}/scroll", {"limit": 1}).status == 200
    assert node.ask(COIL, "DELETE", "/collections/frames").status == 200
    body = {"vectors": {"size": 4, "distance": "Dot"}}
    assert node.ask(COIL, "PUT", "/collections/frames", body).status == 200
    assert node.ask(COIL, "PUT", f"{at}?wait=true", points(1, of=COIL)).status == 200


def test_caches_stay_within_their_quota(node: Tenanted) -> None:
    texts = [f"text number {number}" for number in range(3000)]
    for first in range(0, len(texts), 1500):
        body = {"model": "sentences", "input": texts[first : first + 1500]}
        assert node.ask(ACME, "POST", "/v1/embeddings", body).status == 200
    used = told_of(node)["cache"]
    assert 0 < used["bytes"] <= used["bytes_max"] == 1 << 20


def test_requests_over_the_rate_are_refused_in_each_protocols_words(node: Tenanted) -> None:
    """One is within it, whichever; the next are not, for a hundred seconds."""
    assert node.ask(BOLT, "GET", "/collections").status == 200
    told = "tenant `bolt`: quota `requests_per_s`: more than 0.01 a second"
    replies = {
        "qdrant": node.ask(BOLT, "GET", "/collections"),
        "openai": node.ask(BOLT, "POST", "/v1/embeddings", {"model": "sentences", "input": "a"}),
        "oip": node.ask(BOLT, "GET", "/v2/models/sentences"),
        "pipeline": node.ask(BOLT, "POST", "/pipelines/sentences", b"a"),
    }
    assert {reply.status for reply in replies.values()} == {429}
    assert all(0 < int(reply.headers["retry-after"]) <= 100 for reply in replies.values())
    said: dict[str, Any] = {name: reply.json for name, reply in replies.items()}
    assert said["qdrant"]["status"]["error"].startswith(told)
    assert (said["openai"]["error"]["type"], said["openai"]["error"]["code"]) == (
        "rate_limit_error",
        "rate_limit_exceeded",
    )
    assert said["openai"]["error"]["message"].startswith(told)
    assert said["oip"]["error"].startswith(told)
    assert said["pipeline"]["status"]["error"].startswith(told)
    with triton.InferenceServerClient(node.served.grpc) as client, pytest.raises(InferenceServerException) as caught:
        client.get_model_metadata("sentences", headers={"authorization": f"Bearer {node.tokens[BOLT]}"})
    assert "RESOURCE_EXHAUSTED" in caught.value.status()
    assert node.ask(ACME, "GET", "/collections").status == 200
    scraped = node.ask(OPERATOR, "GET", "/metrics").body.decode()
    assert 'littoral_tenant_refused_total{quota="requests_per_s",tenant="bolt"} 5' in scraped
    assert 'littoral_tenant_requests_total{tenant="bolt"} 1' in scraped


def test_each_frame_of_a_stream_is_a_request(node: Tenanted) -> None:
    """The one that begins it was the last within the quota."""
    body = b"".join(len(frame).to_bytes(4, "little") + frame for frame in (b"one", b"two"))
    headers = {"authorization": f"Bearer {node.tokens[DUNE]}", "content-type": "application/x-littoral-frames"}
    connection = http.client.HTTPConnection(node.served.address, timeout=60)
    connection.request("POST", "/pipelines/sentences/stream", body, headers)
    lines = connection.getresponse().read().splitlines()
    connection.close()
    said = [msgspec.json.decode(line[6:]) for line in lines if line.startswith(b"data: ")]
    assert [event["code"] for event in said if "frame" in event] == [429, 429]
    assert said[-1] == {"answers": 0, "errors": 2}


def test_a_rate_is_refilled_with_time() -> None:
    clock = SimulatedClock()
    rate = Rate(BOLT, 10.0, clock)
    taken = 0
    for _ in range(100):
        clock.advance(0.01)
        try:
            rate.take()
        except TooOftenError:
            continue
        taken += 1
    assert 18 <= taken <= 21  # ten at once, and ten in that second


async def test_inferences_wait_for_their_own_and_are_bounded() -> None:
    gate, running, most = Gate(ACME, 2, waiting_max=3), 0, 0
    ends = asyncio.Event()

    async def infer() -> None:
        nonlocal running, most
        async with gate.entered(Call()):
            running += 1
            most = max(most, running)
            await ends.wait()
            running -= 1

    tasks = [asyncio.create_task(infer()) for _ in range(5)]
    await until_async(lambda: gate.statistics().waiting == 3)
    with pytest.raises(TooOftenError, match="quota `inferences_max`: 2 are under way and 3 wait, at most 2 at a time"):
        await infer()
    ends.set()
    await asyncio.gather(*tasks)
    assert (most, gate.statistics().entered, gate.statistics().refused) == (2, 5, 1)


async def test_another_bound_of_inferences_holds_at_once_and_for_what_waits() -> None:
    gate, running, most = Gate(ACME, 4), 0, 0
    ends = asyncio.Semaphore(0)

    async def infer() -> None:
        nonlocal running, most
        async with gate.entered(Call()):
            running += 1
            most = max(most, running)
            await ends.acquire()
            running -= 1

    await gate.limit(3)  # while nothing runs
    tasks = [asyncio.create_task(infer()) for _ in range(7)]
    await until_async(lambda: (running, gate.statistics().waiting) == (3, 4))
    await gate.limit(1)
    for left in (2, 1, 1, 1):
        ends.release()
        await until_async(lambda now=left: running == now and gate.statistics().busy == now)
    await until_async(lambda: gate.statistics().entered == 5)
    await gate.limit(2)
    await until_async(lambda: (running, gate.statistics().waiting) == (2, 1))
    for _ in tasks:
        ends.release()
    await asyncio.gather(*tasks)
    assert (most, gate.statistics().entered, gate.statistics().refused) == (3, 7, 0)


def test_caches_of_a_tenant_share_its_quota_as_the_nodes_do() -> None:
    table = CacheTable(embeddings_mb=32, results_mb=16, near_mb=16, disk_mb=128)
    own = cache_table(table, 8)
    assert (own.embeddings_mb, own.results_mb, own.near_mb, own.disk_mb) == (4, 2, 2, 16)
    none = cache_table(table, 0)
    assert (none.embeddings_mb, none.results_mb, none.near_mb, none.disk_mb) == (0, 0, 0, 0)
    assert Caches(none).embeddings.bytes_max == 0


class Stored:
    """Points that a quota is held against, and how often they were counted."""

    def __init__(self, folder: Path, *, points_max: int = 10, disk_bytes_max: int = 1 << 20) -> None:
        self.ids: set[Any] = set()
        self.counted = 0
        self.clock = SimulatedClock()
        self.quota = StoreQuota(
            "tenant `a`",
            Bounds(1, points_max, disk_bytes_max),
            count=self.count,
            folder=folder,
            clock=self.clock,
        )

    async def count(self) -> int:
        self.counted += 1
        return len(self.ids)

    async def known(self, ids: Sequence[Any]) -> int:
        return len(self.ids & set(ids))

    async def upsert(self, *ids: int, size: int = 4) -> None:
        request = frames.Upsert(call=0, points=PointBatch(list(ids), bytes(size)))
        async with self.quota.writing(request, self.known):
            await asyncio.sleep(0)
            self.ids |= set(ids)

    async def delete(self, *ids: int) -> None:
        async with self.quota.writing(frames.Delete(call=0, ids=list(ids)), self.known):
            self.ids -= set(ids)


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    found = Stored(tmp_path)
    yield found
    await found.quota.close()


async def test_writes_at_one_time_never_pass_the_quota(stored: Stored) -> None:
    found = await asyncio.gather(*(stored.upsert(number) for number in range(30)), return_exceptions=True)
    assert len(stored.ids) == 10
    assert sum(isinstance(one, QuotaError) for one in found) == 20


async def test_a_full_store_is_not_counted_at_each_request(stored: Stored) -> None:
    """Only after something has changed, or some seconds later."""
    for number in range(10):
        await stored.upsert(number)
    for _ in range(20):
        with pytest.raises(QuotaError):
            await stored.upsert(99)
    assert stored.counted == 2
    await stored.delete(3)
    await stored.upsert(99)
    stored.clock.advance(LOOK_AGAIN_S)
    with pytest.raises(QuotaError):
        await stored.upsert(98)


async def test_files_count_as_they_lie_on_disk(tmp_path: Path) -> None:
    stored = Stored(tmp_path, disk_bytes_max=1 << 20)
    await stored.upsert(1)
    (tmp_path / "index").write_bytes(bytes(range(256)) * (2 << 12))
    with (tmp_path / "index").open("rb") as stream:
        os.fsync(stream.fileno())
    await stored.quota.look()
    with pytest.raises(QuotaError, match="quota `disk_mb`"):
        await stored.upsert(2)
    with pytest.raises(QuotaError, match="quota `disk_mb`"):
        await stored.quota.check_room()
    (tmp_path / "index").unlink()
    await stored.delete(1)
    await stored.upsert(2)
    await stored.quota.close()


def test_a_request_alone_may_be_too_much(tmp_path: Path) -> None:
    async def try_it() -> None:
        stored = Stored(tmp_path, disk_bytes_max=1 << 16)
        with pytest.raises(QuotaError, match="0 bytes are stored"):
            await stored.upsert(1, size=1 << 17)
        assert not stored.ids
        await stored.quota.close()

    asyncio.run(try_it())


def test_what_is_told_of_quotas_is_json(node: Tenanted) -> None:
    told = msgspec.json.decode(node.ask(OPERATOR, "GET", "/api/tenants").body)
    assert [row["name"] for row in told] == [ACME, BOLT, COIL, DUNE]
    assert all(row.keys() == told[0].keys() for row in told)
