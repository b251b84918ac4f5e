"""Payload indexes that were made, changed or dropped while a holder was away, or had another disk."""

from pathlib import Path

import pytest

from littoral.node.federation.indexes import PayloadIndexes
from littoral.vectors import frames
from littoral.vectors.replication.stamps import LateError
from seeded_site import PART, SeededSite, seeded_site
from waiting import until_true


async def schema_of(site: SeededSite, name: str) -> dict[str, str]:
    """Fields with an index in the shard that lies there, and their types."""
    part = site.nodes[name].collections.part(PART)
    assert part is not None
    return {field: index.data_type for field, index in (await part.info()).payload_schema.items()}


async def test_a_holder_that_was_away_gets_what_was_made_and_dropped(tmp_path: Path) -> None:
    async with seeded_site(tmp_path) as site:
        await site.start("a", "b")
        points = site.nodes["a"]["points"]
        for field in ("old", "changed", "kept"):
            await points.create_index(field, "keyword")
        assert (await schema_of(site, "b")).keys() == {"old", "changed", "kept"}
        await site.stop("b")
        await points.delete_index("old")
        await points.create_index("new", "integer")
        await points.delete_index("changed")
        await points.create_index("changed", "float")
        wanted = {"new": "integer", "changed": "float", "kept": "keyword"}
        assert await schema_of(site, "a") == wanted
        await site.start("b")

        async def is_alike() -> bool:
            return await schema_of(site, "b") == wanted

        await until_true(is_alike)


async def test_a_holder_that_lost_its_shard_gets_them(tmp_path: Path) -> None:
    async with seeded_site(tmp_path) as site:
        await site.start("a", "b")
        await site.nodes["b"]["points"].create_index("n", "integer")
        await site.stop("b")
        site.lose_shard("b")
        (site.folder / "b" / "mesh" / "indexes.json").unlink()
        await site.start("b")

        async def has_it() -> bool:
            return await schema_of(site, "b") == {"n": "integer"}

        await until_true(has_it)


async def test_of_two_requests_the_later_wins_in_any_order(tmp_path: Path) -> None:
    made, dropped = frames.CreateIndex(call=0, field="n", schema="integer"), frames.DeleteIndex(call=0, field="n")
    first, second = [PayloadIndexes(tmp_path / name) for name in "ab"]
    for one in (tmp_path / "a", tmp_path / "b"):
        one.mkdir()
    await first.note("points", made, 7)
    await second.note("points", dropped, 9)
    for one, other in ((first, second), (second, first)):
        await one.heard(other.told())
        assert one.told() == {"points": {"n": (9, b"")}}
    assert PayloadIndexes(tmp_path / "a").told() == first.told()
    with pytest.raises(LateError, match="hybrid time 9"):
        first.check("points", "n", 8)


async def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    indexes = PayloadIndexes(tmp_path)
    await indexes.heard({"points": {"a": (1, b'"no such type"'), "b": (-1, b'"bool"'), "c": (1, b'"bool"')}})
    assert indexes.told() == {"points": {"c": (1, b'"bool"')}}
