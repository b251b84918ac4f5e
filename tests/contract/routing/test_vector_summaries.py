"""Summaries of several vectors: each has its own balls, all of them the room of one, and later points are in them."""

import msgspec
import numpy as np
import pytest

from littoral.vectors.records import CollectionConfig, VectorParams
from littoral.vectors.routing.certificate import can_improve
from littoral.vectors.routing.summary import BYTES_MAX, ShardSummary, summarize
from littoral.vectors.routing.table import SummaryTable
from littoral.vectors.routing.vector_summaries import are_inside, summarize_all, summed, widened_all
from littoral.vectors.tuning import MultiVector

RNG = np.random.default_rng(4)
PARAMS = {"image": VectorParams(24, "Euclid"), "text": VectorParams(300, "Cosine"), "voice": VectorParams(8, "Dot")}
ROWS = {name: RNG.standard_normal((700, one.size)).astype("<f4") for name, one in PARAMS.items()}
ROWS["voice"] = ROWS["voice"][:9]
SUMMARY = summarize_all(ROWS, PARAMS, shard=3, epoch=5)


def part(summary: ShardSummary, name: str) -> ShardSummary:
    found = summary.of(name)
    assert found is not None
    return found


def test_dense_vectors_that_are_kept_as_they_are_have_balls() -> None:
    named = PARAMS | {
        "patches": VectorParams(4, "Cosine", multivector_config=MultiVector("max_sim")),
        "small": VectorParams(4, "Cosine", datatype="float16"),
    }
    assert list(summed(CollectionConfig(VectorParams(2, "Dot"), named))) == ["", "image", "text", "voice"]


def test_each_vector_is_summed_up_as_if_it_were_alone() -> None:
    assert (SUMMARY.shard, SUMMARY.epoch, SUMMARY.of("smell")) == (3, 5, None)
    for name, params in PARAMS.items():
        own = part(SUMMARY, name)
        assert (own.size, own.distance, own.count) == (params.size, params.distance, len(ROWS[name]))
        assert are_inside(SUMMARY, {name: ROWS[name]})
        assert not are_inside(SUMMARY, {name: ROWS[name] * 90}) or params.distance == "Cosine"


def test_all_of_them_have_the_room_of_one() -> None:
    many = {f"v{at}": VectorParams(384, "Cosine") for at in range(9)}
    rows = {name: RNG.standard_normal((900, 384)).astype("<f4") for name in many}
    assert summarize_all(rows, many, shard=0, epoch=1).bytes <= BYTES_MAX
    assert summarize_all({"": rows["v0"]}, {"": many["v0"]}, shard=0, epoch=1) == summarize(
        rows["v0"], "Cosine", shard=0, epoch=1, size=384
    )


def test_what_is_written_later_lies_in_balls_of_its_own_vector() -> None:
    later = {"image": ROWS["image"][:5] * 40, "text": ROWS["text"][:0]}
    assert not are_inside(SUMMARY, later)
    wide = widened_all(SUMMARY, later, epoch=6)
    assert are_inside(wide, later)
    assert (wide.epoch, part(wide, "image").count) == (6, 705)
    for name in ("text", "voice"):
        assert part(wide, name).centroids == part(SUMMARY, name).centroids
    assert widened_all(SUMMARY, {}, epoch=6) == msgspec.structs.replace(SUMMARY, epoch=6)


@pytest.mark.parametrize(("name", "limit"), [("image", 0.5), ("text", 0.5), ("voice", 0.0)])
def test_a_shard_is_ruled_out_by_the_balls_of_the_vector_that_is_searched(name: str, limit: float) -> None:
    """It has points on one side of the origin, by one of its vectors; who looks on the other side need not ask it."""
    side = np.ones(PARAMS[name].size, "<f4")
    rows = ROWS | {name: (side + 0.01 * RNG.standard_normal((200, side.size))).astype("<f4")}
    own = part(summarize_all(rows, PARAMS, shard=3, epoch=1), name)
    table = SummaryTable([3], {3: own}, own.distance, own.size)
    assert can_improve(table, table.see(side[None]), np.array([limit]))[0, 0]
    assert not can_improve(table, table.see(-side[None]), np.array([limit]))[0, 0]


def test_it_travels_and_one_of_an_earlier_version_is_read() -> None:
    told = msgspec.msgpack.encode(SUMMARY)
    assert msgspec.msgpack.decode(told, type=ShardSummary) == SUMMARY
    plain = summarize(ROWS["image"], "Euclid", shard=1, epoch=2, size=24)
    earlier = msgspec.msgpack.decode(msgspec.msgpack.encode(plain))[:-2]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(earlier), type=ShardSummary) == plain
