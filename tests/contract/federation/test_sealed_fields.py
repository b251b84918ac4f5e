"""Sealed fields of spread collections: plain to whoever asks a node, sealed wherever anything lies or is sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from canaries import on_disk
from littoral.errors import InputError, TrustError, UnavailableError
from littoral.mesh.shard_map import Sealing
from littoral.node.encryption_tables import EncryptedTable
from littoral.node.federation.messages import WRITE
from littoral.node.federation.moving.wishes import Asked, ToSpread
from littoral.node.mesh_view import view
from littoral.node.site_tables import CollectionTable
from littoral.vault import KeyRing
from littoral.vault.keys import Key, new_key
from littoral.vectors.filters import Filter, parse_filter
from littoral.vectors.queries import PayloadChange
from moving import are_at, writer_of
from recorded_wires import RecordedWires
from spread_nodes import SpreadNode, are_alike, settled, spread_node, spread_table
from waiting import until_async

SIZE, COUNT = 4, 12
NAMES = ("a", "b", "c")
SECRET, OPEN = "canary-Zq7#", "open-canary-Xk2"
ROWS = np.random.default_rng(7).standard_normal((COUNT, SIZE)).astype("<f4")
FIRST, SECOND, OTHER = (new_key()[0] for _ in range(3))

Nodes = dict[str, SpreadNode]


def sealed_table(*fields: str, **spread: Any) -> CollectionTable:
    return replace(spread_table(SIZE, **spread), encrypted=EncryptedTable(fields=list(fields)))


TABLES = {"points": sealed_table("customer", "plate", shards=3, replicas=2)}


def rings(**keys: list[Key]) -> dict[str, KeyRing]:
    return {name: KeyRing(some) for name, some in keys.items()}


ALIKE = rings(a=[FIRST], b=[FIRST], c=[FIRST])


def matching(key: str, **match: Any) -> Filter | None:
    return parse_filter({"must": [{"key": key, "match": match}]})


async def found(node: SpreadNode, key: str, **match: Any) -> list[int]:
    records, _ = await node["points"].scroll(limit=100, matching=matching(key, **match))
    return sorted(int(record.id) for record in records)


async def payloads(node: SpreadNode) -> dict[Any, Any]:
    records, _ = await node["points"].scroll(limit=100)
    return {record.id: record.payload for record in records}


PLAIN = {at: {"customer": f"{SECRET}{at % 3}", "note": OPEN} for at in range(COUNT)}


async def fill(node: SpreadNode) -> None:
    await node["points"].upsert(range(COUNT), ROWS, [dict(one) for one in PLAIN.values()])


class Site:
    """Nodes that come and go, each with its keys and tables of the time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wires = folder, RecordedWires()
        self.nodes: Nodes = {}
        self._running: dict[str, contextlib.AsyncExitStack] = {}

    async def start(
        self, keys: Mapping[str, KeyRing], tables: Mapping[str, CollectionTable] = TABLES, *names: str
    ) -> None:
        for name in names or NAMES:
            self.wires.dead.discard(name)
            stack = self._running[name] = contextlib.AsyncExitStack()
            node = spread_node(self.folder, name, NAMES, tables, self.wires, site_keys=keys.get(name))
            self.nodes[name] = await stack.enter_async_context(node)
        await settled(self.nodes)

    async def stop(self, *names: str) -> None:
        for name in names or tuple(self.nodes):
            self.wires.kill(name)
            del self.nodes[name]
            await self._running.pop(name).aclose()

    def sealing(self) -> Sealing | None:
        return writer_of(self.nodes).federation.map.spreads["points"].sealing

    async def until_all_go_by(self, key: Key, *, is_settled: bool = True) -> None:
        def holds() -> bool:
            told = [node.federation.map.spreads["points"].sealing for node in self.nodes.values()]
            return all(one is not None and one.key == key.id.hex() and one.is_settled == is_settled for one in told)

        await until_async(holds)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    found = Site(tmp_path)
    yield found
    await found.stop()


def sent(site: Site) -> bytes:
    return site.wires.between(NAMES, NAMES)


async def test_every_node_answers_plain_and_nothing_plain_lies_or_goes_anywhere(site: Site) -> None:
    """Written at one node, changed at another in every way, asked at all, and again after all were away."""
    await site.start(ALIKE)
    await fill(site.nodes["a"])
    points = site.nodes["b"]["points"]
    await points.change_payload(PayloadChange("merge", ids=[1, 2], payload={"plate": [f"{SECRET}p", 7]}))
    changed = PayloadChange("merge", filter=matching("customer", value=f"{SECRET}0"), payload={"plate": f"{SECRET}q"})
    await points.change_payload(changed)
    await points.change_payload(PayloadChange("replace", ids=[5], payload={"customer": {"name": SECRET}}))
    await points.create_index("customer", "keyword")
    expected: dict[int, Any] = {at: dict(one) for at, one in PLAIN.items()}
    for at in (1, 2):
        expected[at]["plate"] = [f"{SECRET}p", 7]
    for at in range(0, COUNT, 3):
        expected[at]["plate"] = f"{SECRET}q"
    expected[5] = {"customer": {"name": SECRET}}
    for round_ in range(2):
        for node in site.nodes.values():
            assert await payloads(node) == expected
            assert await found(node, "customer", value=f"{SECRET}0") == [0, 3, 6, 9]
            assert await found(node, "plate", any=[f"{SECRET}p", f"{SECRET}q"]) == [0, 1, 2, 3, 6, 9]
            assert await found(node, "plate", value=7) == [1, 2]
            assert await found(node, "customer", **{"except": [f"{SECRET}0", f"{SECRET}1"]}) == [2, 5, 8, 11]
            hits = await node["points"].search(ROWS[4], limit=1, filter=matching("customer", value=f"{SECRET}1"))
            assert [(hit.id, hit.payload) for hit in hits] == [(4, expected[4])]
            with pytest.raises(InputError, match="`customer` of collection `points` is encrypted: no facets"):
                await node["points"].facet("customer")
        await until_async(lambda: are_alike(site.nodes))
        if not round_:
            await site.stop()
            await site.start(ALIKE)
    assert SECRET.encode() not in sent(site)
    assert OPEN.encode() in sent(site)
    await site.stop()
    assert on_disk(site.folder, SECRET) == []
    assert on_disk(site.folder, OPEN)


async def test_replicas_are_alike_byte_for_byte(site: Site) -> None:
    """Sealed once, by the node that was asked: what a random nonce makes of a value is the same on all holders."""
    await site.start(ALIKE)
    for name in NAMES:
        await site.nodes[name]["points"].upsert([NAMES.index(name)], ROWS[:1], [{"customer": SECRET}])
    await until_async(lambda: are_alike(site.nodes))
    lying: dict[Any, list[Any]] = {}
    for node in site.nodes.values():
        for part in node.collections.parts():
            shard = node.collections.part(part)
            assert shard is not None
            for record in (await shard.scroll(limit=10))[0]:
                lying.setdefault(record.id, []).append(record.payload)
    assert sorted(lying) == [0, 1, 2]
    for held in lying.values():
        assert len(held) == 2
        assert held[0] == held[1]
        assert set(held[0]) == {"customer", "customer__sealed"}


async def test_a_newer_key_seals_once_all_have_it_and_the_older_one_can_go(site: Site) -> None:
    await site.start(ALIKE)
    await fill(site.nodes["a"])
    await site.stop()
    newer = KeyRing([SECOND, FIRST])
    await site.start({"a": newer, "b": newer, "c": KeyRing([FIRST])})
    await site.until_all_go_by(FIRST)
    writer = writer_of(site.nodes)
    told = lambda: [p.message for p in view(writer.federation, now_s=0).problems if p.check == "keys"]  # noqa: E731
    await until_async(lambda: any("lacks it: `c`" in one for one in told()))
    assert await found(site.nodes["c"], "customer", value=f"{SECRET}0") == [0, 3, 6, 9]

    await site.stop("c")
    await site.start({"c": KeyRing([SECOND, FIRST])}, TABLES, "c")
    await site.until_all_go_by(SECOND)
    await until_async(lambda: told() == [])
    for node in site.nodes.values():
        assert await payloads(node) == PLAIN
        assert await found(node, "customer", value=f"{SECRET}0") == [0, 3, 6, 9]
    await until_async(lambda: are_alike(site.nodes))
    await site.stop()
    only = KeyRing([SECOND])
    await site.start({"a": only, "b": only, "c": only})
    for node in site.nodes.values():
        assert await payloads(node) == PLAIN
        assert await found(node, "customer", value=f"{SECRET}1") == [1, 4, 7, 10]


async def test_the_older_key_stays_until_what_was_being_written_by_it_has_arrived(site: Site) -> None:
    """A write that is on its way when the map says another key arrives sealed by the one before."""
    await site.start(ALIKE)
    await fill(site.nodes["a"])
    await site.stop("a", "b")
    newer = KeyRing([SECOND, FIRST])
    await site.start({"a": newer, "b": newer}, TABLES, "a", "b")
    await site.until_all_go_by(FIRST)
    held = site.wires.hold("b", WRITE)
    late = {"customer": f"{SECRET}late", "note": OPEN}
    points = site.nodes["b"]["points"]
    writing = asyncio.create_task(points.upsert(range(100, 112), ROWS, [late] * COUNT, deadline_s=120.0))
    await held.reached.wait()
    await site.stop("c")
    await site.start({"c": newer}, TABLES, "c")
    await site.until_all_go_by(SECOND, is_settled=False)

    writer = writer_of(site.nodes)
    facts = writer.federation.facts.all()
    await until_async(lambda: "points" in facts["b"].fact.sealing)
    begun = {name: known.fact.counter for name, known in facts.items()}
    await until_async(lambda: all(known.fact.counter > begun[name] + 1 for name, known in facts.items()))
    assert (sealing := site.sealing()) is not None
    assert sealing.older == [FIRST.id.hex()]
    held.release()
    assert await writing >= 0
    await site.until_all_go_by(SECOND)
    await until_async(lambda: are_alike(site.nodes))
    await site.stop()
    only = KeyRing([SECOND])
    await site.start({"a": only, "b": only, "c": only})
    assert await found(site.nodes["c"], "customer", value=f"{SECRET}late") == list(range(100, 112))


DIFFERENT: dict[str, tuple[KeyRing | None, CollectionTable, str]] = {
    "another key": (KeyRing([OTHER]), TABLES["points"], f"sealed by key {FIRST.id.hex()} of the site, this node has"),
    "another field": (
        KeyRing([FIRST]),
        sealed_table("customer", "note", shards=3, replicas=2),
        "seals `customer`, `plate`, this node's site file `customer`, `note`",
    ),
    "nothing": (
        None,
        spread_table(SIZE, shards=3, replicas=2),
        f"key {FIRST.id.hex()} of the site, this node has none",
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
async def test_a_node_with_something_else_refuses_the_collection_and_others_go_on(site: Site, what: str) -> None:
    """It holds its shards all the same: nobody lacks them."""
    ring, table, words = DIFFERENT[what]
    await site.start(ALIKE, TABLES, "a", "b")
    await site.start({} if ring is None else {"c": ring}, {"points": table}, "c")
    await fill(site.nodes["a"])
    for ask in (payloads, lambda node: found(node, "customer", value=f"{SECRET}0"), fill):
        with pytest.raises(UnavailableError, match=words):
            await ask(site.nodes["c"])
    for name in "ab":
        assert await payloads(site.nodes[name]) == PLAIN
        assert await found(site.nodes[name], "customer", value=f"{SECRET}0") == [0, 3, 6, 9]
    federation = site.nodes["b"].federation

    def is_told() -> bool:
        problems = [one for one in view(federation, now_s=0).problems if one.check == "sealed"]
        return any(one.subject == "collection `points` on `c`" and words in one.message for one in problems)

    await until_async(is_told)


async def test_a_layout_is_changed_over_sealed_points(site: Site) -> None:
    await site.start(ALIKE)
    await fill(site.nodes["a"])
    asked = Asked(ToSpread("points", strategy="hash", shards=5, replicas=1), is_applied=True)
    plan = await site.nodes["b"].federation.changes.ask(asked)
    assert plan.is_begun, plan.why
    await until_async(lambda: are_at(site.nodes, "points", plan.coming))
    for node in site.nodes.values():
        assert await payloads(node) == PLAIN
        assert await found(node, "customer", any=[f"{SECRET}0", f"{SECRET}2"]) == [0, 2, 3, 5, 6, 8, 9, 11]
    assert SECRET.encode() not in sent(site)


async def test_points_that_were_plain_are_sealed_once_the_field_is_named(site: Site) -> None:
    await site.start({}, {"points": spread_table(SIZE, shards=3, replicas=2)})
    await fill(site.nodes["a"])
    await site.stop()
    await site.start(ALIKE)
    await site.until_all_go_by(FIRST)
    for node in site.nodes.values():
        assert await payloads(node) == PLAIN
        assert await found(node, "customer", value=f"{SECRET}0") == [0, 3, 6, 9]


FEWER = {"points": sealed_table("plate", shards=3, replicas=2)}
NONE = {"points": spread_table(SIZE, shards=3, replicas=2)}


async def lying(site: Site) -> dict[Any, list[Any]]:
    """What each replica has of each point."""
    found: dict[Any, list[Any]] = {}
    for node in site.nodes.values():
        for part in node.collections.parts():
            shard = node.collections.part(part)
            assert shard is not None
            for record in (await shard.scroll(limit=1000))[0]:
                found.setdefault(record.id, []).append(record.payload)
    return found


class Asker:
    """Goes on writing and asking at every node, and holds each answer against what was written."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.wanted: dict[int, Any] = {at: dict(one) for at, one in PLAIN.items()}
        self.steps: set[tuple[str, str]] = set()
        self.rounds = 0

    async def round(self) -> None:
        at, name = self.rounds % COUNT, sorted(self.site.nodes)[self.rounds % len(self.site.nodes)]
        points = self.site.nodes[name]["points"]
        if self.rounds % 3:
            self.wanted[at] = {"customer": [f"{SECRET}{self.rounds % 4}", self.rounds], "note": OPEN}
            await points.upsert([at], ROWS[at : at + 1], [dict(self.wanted[at])])
        else:
            self.wanted[at] |= {"customer": f"{SECRET}{self.rounds % 3}"}
            change = PayloadChange("merge", ids=[at], payload={"customer": self.wanted[at]["customer"]})
            await points.change_payload(change)
        self.rounds += 1
        for asked in list(self.site.nodes):
            node = self.site.nodes[asked]
            for value in (f"{SECRET}0", f"{SECRET}1", self.rounds - 1):
                has = lambda one, value=value: value in (one if isinstance(one, list) else [one])  # noqa: E731
                expected = [at for at, one in sorted(self.wanted.items()) if has(one["customer"])]
                assert await found(node, "customer", value=value) == expected, (asked, value, self.sealed())
            assert await payloads(node) == self.wanted, (asked, self.sealed())

    def sealed(self) -> dict[str, Any]:
        return {name: node.federation.map.spreads["points"].sealing for name, node in self.site.nodes.items()}

    async def until(self, is_so: Callable[[], bool]) -> None:
        await self.round()
        while not is_so():
            for name, sealing in self.sealed().items():
                self.steps.add((name, "" if sealing is None else sealing.step))
            await self.round()


def have_left(site: Site, fields: list[str] | None) -> Callable[[], bool]:
    """All go by a map in which these are the sealed fields, and none leaves."""

    def is_so() -> bool:
        told = [node.federation.map.spreads["points"].sealing for node in site.nodes.values()]
        return all(
            (one is None) if fields is None else (one is not None and one.fields == fields) for one in told
        ) and not any(one is not None and one.leaving for one in told)

    return is_so


async def test_a_field_leaves_the_sealed_ones_while_everybody_reads_and_writes(site: Site) -> None:
    """One node after the other gets another site file; each answers in between, and nothing of it lies sealed then."""
    await site.start(ALIKE)
    await fill(site.nodes["a"])
    await site.nodes["a"]["points"].create_index("customer", "keyword")
    asker = Asker(site)
    for name in NAMES:
        await site.stop(name)
        await site.start(ALIKE, FEWER, name)
        await until_async(lambda: are_alike(site.nodes))
        await asker.round()
    await asker.until(have_left(site, ["plate"]))
    assert {step for _, step in asker.steps} >= {"announced", "opening", "clearing"}
    await asker.round()
    await until_async(lambda: are_alike(site.nodes))
    for held in (await lying(site)).values():
        assert all(set(one) == {"customer", "note"} for one in held)
    node = site.nodes["b"]
    assert {hit.value for hit in await node["points"].facet("customer")} >= {f"{SECRET}0"}
    await node["points"].upsert([99], ROWS[:1], [{"customer": "x", "plate": SECRET}])
    assert await found(node, "plate", value=SECRET) == [99]
    with pytest.raises(InputError, match="`plate` of collection `points` is encrypted: no facets"):
        await node["points"].facet("plate")


async def test_all_fields_leave_and_keys_can_go(site: Site) -> None:
    await site.start(ALIKE)
    await fill(site.nodes["a"])
    await site.stop()
    await site.start(ALIKE, NONE)
    asker = Asker(site)
    await asker.until(have_left(site, None))
    await site.stop()
    await site.start({}, NONE)
    await asker.round()


async def test_a_field_stays_sealed_while_one_site_file_names_it_and_the_status_says_whose(site: Site) -> None:
    await site.start(ALIKE)
    await fill(site.nodes["a"])
    for name in "ab":
        await site.stop(name)
        await site.start(ALIKE, FEWER, name)
    federation = site.nodes["a"].federation

    def told() -> list[str]:
        return [one.message for one in view(federation, now_s=0).problems if one.check == "sealed"]

    await until_async(lambda: any("others may, `c`" in one for one in told()))
    asker = Asker(site)
    await asker.round()
    assert (sealing := site.sealing()) is not None
    assert sealing.fields == ["customer", "plate"]
    await site.stop("c")
    await site.start(ALIKE, FEWER, "c")
    await asker.until(have_left(site, ["plate"]))
    await until_async(lambda: told() == [])


@pytest.mark.parametrize("step", ["announced", "opening", "clearing"])
async def test_a_node_that_was_away_while_a_field_leaves_catches_up(site: Site, step: str) -> None:
    """Each node in turn, the one that writes the map among them."""
    await site.start(ALIKE)
    await fill(site.nodes["a"])
    await site.stop()
    await site.start(ALIKE, FEWER)
    asker = Asker(site)
    is_at = lambda: getattr(site.sealing(), "step", "") in (step, "")  # noqa: E731
    await until_async(lambda: site.sealing() is None or site.sealing().leaving != [] or have_left(site, ["plate"])())  # type: ignore[union-attr]
    await asker.until(is_at)
    for name in NAMES:
        await site.stop(name)
        await asker.round()
        await site.start(ALIKE, FEWER, name)
        await until_async(lambda: are_alike(site.nodes))
        await asker.round()
    await asker.until(have_left(site, ["plate"]))
    await until_async(lambda: are_alike(site.nodes))
    for held in (await lying(site)).values():
        assert all(set(one) == {"customer", "note"} for one in held)


async def test_a_field_that_is_named_again_on_its_way_out_is_sealed_again(site: Site) -> None:
    await site.start(ALIKE)
    await fill(site.nodes["a"])
    await site.stop()
    await site.start(ALIKE, FEWER)
    asker = Asker(site)
    await asker.until(lambda: getattr(site.sealing(), "step", "") == "opening")
    await site.stop()
    await site.start(ALIKE)
    await site.until_all_go_by(FIRST)
    await asker.round()
    await until_async(lambda: are_alike(site.nodes))
    for held in (await lying(site)).values():
        assert all("customer__sealed" in one for one in held)


async def test_a_value_opens_at_its_own_point_and_in_its_own_collection_only(site: Site) -> None:
    """Somebody who has a node's disk puts the value of one point at another."""
    await site.start(ALIKE, {"points": sealed_table("customer", shards=1, replicas=1)})
    node = site.nodes["a"]
    await node["points"].upsert([1, 2], ROWS[:2], [{"customer": "Ann"}, {"customer": "Bob"}])
    holder = next(one for one in site.nodes.values() if one.collections.part("points.0") is not None)
    part = holder.collections.part("points.0")
    assert part is not None
    records = {record.id: record.payload for record in (await part.scroll(limit=10))[0]}
    await part.change_payload(PayloadChange("merge", ids=[1], payload=records[2]))
    with pytest.raises(TrustError, match="`customer` of point `1` in collection `points` is not as it was sealed"):
        await payloads(node)
