"""How far a spread collection is on its way to another model, as the shard map and facts tell. Pure."""

from collections.abc import Iterable, Mapping

from littoral.mesh.facts import Fact
from littoral.mesh.shard_map import Spread
from littoral.node.federation.generations import going as vectors_going
from littoral.node.federation.generations import holding
from littoral.node.federation.moving.steps import going
from littoral.node.migration.migration import Embeddings, Progress, State, Told
from littoral.vectors.model_version import ModelVersion
from littoral.vectors.records import CollectionConfig

__all__ = ["OPENING", "told"]

OPENING = "its models are being opened"

STATES: Mapping[str, State] = {"making": "building", "copying": "building", "flipping": "flipping", "kept": "flipped"}


def told(name: str, spread: Spread, facts: Mapping[str, Fact], config: CollectionConfig) -> Told:
    """Of a collection with two generations. facts: of the nodes that are here. config: of the collection."""
    change = spread.change
    assert change is not None
    assert change.other.generation is not None
    points = left = 0
    for shard in going(spread):
        of = [facts[node] for node in spread.all_places[shard] if node in facts]
        counts = [fact.points.get(name, {}).get(shard, 0) for fact in of]
        points += max(counts, default=0)
        owed = [fact.owed.get(name, {}).get(shard, max(counts)) for fact in of]
        left += min(owed, default=0) if change.step != "making" else max(counts, default=0)
    whys = [
        f"node `{node}`: {why}"
        for node, fact in sorted(facts.items())
        if (why := fact.unready.get(name) or fact.stuck.get(name))
    ]
    is_stuck = any((fact.unready.get(name) or OPENING) != OPENING or name in fact.stuck for fact in facts.values())
    vectors = vectors_going(spread, config)
    progress = Progress(
        current=_embeddings(vectors, config, spread.model),
        other=_embeddings(vectors, config, change.other.generation.model),
        state="stuck" if is_stuck and not change.is_flipped else STATES[change.step],
        points=points,
        done=max(0, points - left),
        embedded=max(0, points - left),
        why="; ".join(whys),
        is_whole=change.is_flipped or (change.step == "copying" and not left),
    )
    return Told(progress, left, sum(name in fact.stuck for fact in facts.values()))


def _embeddings(vectors: Iterable[str], config: CollectionConfig, told: str) -> Embeddings:
    models = {vector: holding(config, told).models_of(vector) for vector in vectors}
    return Embeddings({vector: of[0] if of else ModelVersion(told, "0" * 16) for vector, of in models.items()})
