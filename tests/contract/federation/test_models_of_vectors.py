"""Vectors of a spread collection are of several models: each is held against its own, on and between all nodes."""

from pathlib import Path

import numpy as np
import pytest

from littoral.errors import ConflictError
from littoral.node.federation.generations import is_of
from littoral.node.site_tables import VectorTable
from littoral.vectors.model_version import ModelVersion, told_by_vector
from littoral.vectors.queries import SearchParams
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from spread_nodes import named_table, spread_nodes

CLIP, ENCODER = ModelVersion("clip", "c1" * 32), ModelVersion("encoder", "e1" * 32)
VECTORS = {"image": VectorTable(size=4, distance="Euclid"), "text": VectorTable(size=6, distance="Euclid")}
TOLD = told_by_vector({"image": (CLIP,), "text": (ENCODER,)})
COUNT = 12


def rows(size: int) -> np.ndarray:
    return np.random.default_rng(size).standard_normal((COUNT, size)).astype("<f4")


async def test_writes_and_queries_meet_only_vectors_of_their_own_model(tmp_path: Path) -> None:
    tables = {"goods": named_table(VECTORS, shards=2, replicas=1, model=TOLD)}
    async with spread_nodes(tmp_path, ("a", "b"), tables) as nodes:
        for node in nodes.values():
            goods = node["goods"]
            assert goods.config.models_of("text")[0].is_same(ENCODER)
            assert goods.of_all({"image": CLIP, "text": ENCODER}) is goods
            with pytest.raises(ConflictError, match=r"vector `text`, holds embeddings of `encoder:.* are of `clip:"):
                goods.of_all({"image": CLIP, "text": CLIP})
        images, texts = rows(4), rows(6)
        points = [{"image": image.tobytes(), "text": text.tobytes()} for image, text in zip(images, texts, strict=True)]
        await nodes["a"]["goods"].upsert_points(PointBatch(list(range(COUNT)), [*points]))
        exact = SearchParams(exact=True)
        for name, own in (("image", images), ("text", texts)):
            hits = await nodes["b"]["goods"].search(own[3], limit=1, using=name, params=exact)
            assert [hit.id for hit in hits] == [3]


async def test_a_node_whose_file_has_another_model_for_one_vector_is_refused(tmp_path: Path) -> None:
    others = told_by_vector({"image": (CLIP,), "text": (CLIP,)})
    tables = {"goods": named_table(VECTORS, shards=2, replicas=1, model=TOLD)}
    own = {"b": {"goods": named_table(VECTORS, shards=2, replicas=1, model=others)}}
    async with spread_nodes(tmp_path, ("a", "b"), tables, own_tables=own) as nodes:
        for name in nodes:
            with pytest.raises(ConflictError, match="two models never mix|this node's are of"):
                await nodes[name]["goods"].search(rows(4)[0], using="image")


def test_points_are_handed_on_as_they_are_only_to_vectors_of_the_same_models() -> None:
    params = VectorParams(4, "Dot")
    named = {"image": (CLIP,), "text": (ENCODER,)}
    config = CollectionConfig(None, {"image": params, "text": params}, named_models=named)
    assert is_of(config, TOLD)
    assert is_of(config, "")
    assert not is_of(config, told_by_vector({"image": (CLIP,), "text": (CLIP,)}))
