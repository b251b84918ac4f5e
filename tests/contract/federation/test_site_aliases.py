"""Aliases of spread collections: changed at any node, known on all, through nodes that are away and changes at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from littoral.errors import ConflictError, InputError, NotFoundError, PeerError, TooLargeError
from littoral.mesh.shard_map import ShardMap, decode_map, encode_map
from littoral.node.federation.messages import encode
from littoral.node.federation.site_aliases import AliasWish, Wanted, wanted
from littoral.vectors.aliases import AliasChange
from made_site import CONFIG as PLAIN
from made_site import COUNT, DEADLINE_S, NAMES, ROWS, Site, delete, make
from spread_nodes import SpreadNode
from waiting import until_async


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    found = Site(tmp_path)
    await found.start(*NAMES)
    yield found
    await found.stop(*list(found.nodes))


async def change(node: SpreadNode, *changes: AliasChange) -> None:
    names = [*node.collections.names(), *node.collections.damaged]
    await node.federation.making.change_aliases(changes, names, deadline_s=DEADLINE_S)


def aliases(node: SpreadNode) -> dict[str, str]:
    return node.collections.alias_table.all()


async def test_an_alias_means_the_same_on_every_node(site: Site) -> None:
    """Also after one is exchanged: at no moment is there none."""
    await make(site.nodes["a"])
    await make(site.nodes["a"], "later")
    await change(site.nodes["c"], AliasChange(alias="memos", collection="notes"))
    await site.nodes["b"]["memos"].upsert(range(COUNT), ROWS)
    for node in site.nodes.values():
        assert aliases(node) == {"memos": "notes"}
        assert await node["memos"].count() == COUNT
        assert "memos" in node.collections
    await change(site.nodes["b"], AliasChange(former="memos"), AliasChange(alias="memos", collection="later"))
    for node in site.nodes.values():
        assert await node["memos"].count() == 0
    await change(site.nodes["a"], AliasChange(alias="words", former="memos"))
    for node in site.nodes.values():
        assert aliases(node) == {"words": "later"}
        with pytest.raises(NotFoundError):
            node["memos"]
    await delete(site.nodes["b"], "later")
    assert [aliases(node) for node in site.nodes.values()] == [{}, {}, {}]


async def test_who_was_away_learns_of_it_and_what_was_changed_meanwhile_does_not_return(site: Site) -> None:
    await make(site.nodes["a"])
    await change(site.nodes["a"], AliasChange(alias="old", collection="notes"))
    await site.stop("c")
    await change(site.nodes["b"], AliasChange(alias="new", former="old"))
    await site.start("c")
    await until_async(lambda: aliases(site.nodes["c"]) == {"new": "notes"})
    await site.stop(*NAMES)
    await site.start(*NAMES)
    for node in site.nodes.values():
        assert aliases(node) == {"new": "notes"}


async def test_without_the_writer_of_the_map_nothing_changes(site: Site) -> None:
    await make(site.nodes["a"])
    await site.nodes["b"].collections.create("mine", PLAIN)
    await site.stop("a")
    both = [AliasChange(alias="my", collection="mine"), AliasChange(alias="our", collection="notes")]
    with pytest.raises(PeerError):
        await change(site.nodes["b"], *both)
    assert aliases(site.nodes["b"]) == {}
    await change(site.nodes["b"], both[0])
    await site.start("a")
    await change(site.nodes["b"], *both)
    assert aliases(site.nodes["b"]) == {"my": "mine", "our": "notes"}
    assert aliases(site.nodes["c"]) == {"our": "notes"}


async def test_an_alias_goes_from_a_node_s_own_collection_to_a_spread_one_and_back(site: Site) -> None:
    await make(site.nodes["a"])
    b = site.nodes["b"]
    await b.collections.create("mine", PLAIN)
    await change(b, AliasChange(alias="data", collection="mine"))
    assert aliases(site.nodes["c"]) == {}
    await change(b, AliasChange(alias="data", collection="notes"))
    assert b.collections.alias_table.own() == {}
    for node in site.nodes.values():
        assert aliases(node) == {"data": "notes"}
    await change(b, AliasChange(alias="data", collection="mine"))
    assert aliases(b) == {"data": "mine"}
    assert aliases(site.nodes["c"]) == {}


async def test_names_that_somebody_has_are_taken(site: Site) -> None:
    await make(site.nodes["a"])
    await site.nodes["c"].collections.create("mine", PLAIN)
    await change(site.nodes["c"], AliasChange(alias="my", collection="mine"))
    for name in ("mine", "my"):
        for node in ("a", "b"):
            with pytest.raises(ConflictError, match=rf"`{name}`.* exists already on `c`"):
                await change(site.nodes[node], AliasChange(alias=name, collection="notes"))
    with pytest.raises(ConflictError, match="a collection has this name"):
        await change(site.nodes["b"], AliasChange(alias="notes", collection="notes"))
    with pytest.raises(NotFoundError, match="`absent` does not exist"):
        await change(site.nodes["b"], AliasChange(alias="x", collection="absent"))
    with pytest.raises(InputError, match="collection name"):
        await change(site.nodes["b"], AliasChange(alias="a.b", collection="notes"))
    await change(site.nodes["b"], AliasChange(alias="memos", collection="notes"))
    with pytest.raises(ConflictError, match="exists already"):
        await make(site.nodes["c"], "memos")
    with pytest.raises(ConflictError, match="exists already"):
        await site.nodes["a"].collections.create("memos", PLAIN)
    many = [AliasChange(alias=f"alias-{i}", collection="notes") for i in range(65)]
    with pytest.raises(TooLargeError, match="at most 64 at once"):
        await change(site.nodes["b"], *many)
    assert aliases(site.nodes["b"]) == {"memos": "notes"}


async def test_a_collection_that_a_node_made_while_it_was_away_keeps_its_name_there(site: Site) -> None:
    await make(site.nodes["a"])
    await site.stop("c")
    await change(site.nodes["b"], AliasChange(alias="memos", collection="notes"))
    site.wires.dead.update(("a", "b"))
    await site.start("c")
    c = site.nodes["c"]
    await c.collections.create("memos", PLAIN)
    site.wires.dead.difference_update(("a", "b"))
    await until_async(lambda: c.federation.map.aliases == {"memos": "notes"})
    assert c["memos"].name == "memos"
    assert aliases(c) == {}
    await c.collections.delete("memos")
    assert c["memos"].name == "notes"


async def test_of_many_at_once_none_is_lost(site: Site) -> None:
    """Each at another node; those of one name end with one of them, on all nodes the same."""
    await make(site.nodes["a"])
    await make(site.nodes["a"], "later")
    nodes = list(site.nodes.values())
    own = [change(nodes[i % 3], AliasChange(alias=f"alias-{i}", collection="notes")) for i in range(12)]
    same = [change(node, AliasChange(alias="same", collection=name)) for node in nodes for name in ("notes", "later")]
    ended = await asyncio.gather(*own, *same, return_exceptions=True)
    assert all(error is None or isinstance(error, ConflictError) for error in ended)
    assert ended[: len(own)] == [None] * len(own)
    assert None in ended[len(own) :]
    found = aliases(nodes[0])
    assert [aliases(node) for node in nodes] == [found] * 3
    assert found.pop("same") in ("notes", "later")
    assert found == {f"alias-{i}": "notes" for i in range(12)}


async def test_a_wish_that_goes_by_what_is_not_so_changes_nothing(site: Site) -> None:
    await make(site.nodes["a"])
    end = site.wires.ends["b"]
    for was, to in (({"x": "notes"}, {}), ({}, {"x": "absent"})):
        with pytest.raises((ConflictError, NotFoundError)):
            await end.request("a", "collection-wish", encode(AliasWish(was, to)), deadline_s=5)
    assert site.nodes["a"].federation.map.aliases == {}


def test_what_a_node_has_for_itself_stays_what_it_was() -> None:
    """An alias of a spread collection that lies in the file of one node, as before sites had aliases."""
    own, site, spread = {"old": "notes", "my": "mine"}, {"our": "notes"}, ["notes"]
    made = [AliasChange(alias="new", collection="notes")]
    assert wanted(own, site, made, ["mine"], spread) == Wanted(own, AliasWish({}, {"new": "notes"}))
    again = [AliasChange(alias="old", collection="notes")]
    assert wanted(own, site, again, ["mine"], spread) == Wanted({"my": "mine"}, AliasWish({}, {"old": "notes"}))
    gone = [AliasChange(former="old"), AliasChange(former="our")]
    assert wanted(own, site, gone, ["mine"], spread) == Wanted({"my": "mine"}, AliasWish({"our": "notes"}, {}))
    nothing = [AliasChange(alias="my", collection="mine")]
    assert wanted(own, site, nothing, ["mine"], spread) == Wanted(own, None)


def test_a_map_without_aliases_is_as_before_and_one_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    assert b"aliases" not in encode_map(ShardMap(3))
    with pytest.raises(InputError, match="alias `a` of `b`"):
        decode_map(encode_map(ShardMap(3, aliases={"a": "b"})))
