"""The layout of a collection by another model: the same strategy on the same nodes, in shards with new numbers."""

from collections.abc import Mapping

import msgspec

from littoral.errors import ConflictError
from littoral.mesh.shard_map import Generation, Layout, Spread
from littoral.node.federation.layout import laid_out
from littoral.node.federation.moving.planning import fitted_anew
from littoral.node.federation.placing import strategy_of
from littoral.node.mesh_tables import SpreadTable
from littoral.vectors.partition.points import Vectors
from littoral.vectors.partition.strategy import Geographic, Hash, Strategy, encode_strategy, renumbered
from littoral.vectors.records import CollectionConfig

__all__ = ["goes_by_vectors", "layout_of"]


def goes_by_vectors(spread: Spread) -> bool:
    """Whether there are cells, of `spread.vector`."""
    return not all(isinstance(part, Hash) for part in _parts(strategy_of(spread)))


def _parts(strategy: Strategy) -> list[Strategy]:
    return list(strategy.regions.values()) if isinstance(strategy, Geographic) else [strategy]


def layout_of(
    name: str,
    spread: Spread,
    generation: Generation,
    table: SpreadTable,
    config: CollectionConfig,
    regions: Mapping[str, str],
    sample: Vectors | None,
) -> Layout:
    """config: by the other model. regions: of each node of the site. sample: float32[n, size], of the other model,
    where cells are of a vector that goes to it; None: cells stay as they are. Raises ConflictError, InputError for
    vectors that do not fit.
    """
    if sample is None:
        numbers = {shard: spread.first_free + at for at, shard in enumerate(spread.shards)}
        places = {numbers[shard]: nodes for shard, nodes in spread.places.items()}
        parameters = encode_strategy(renumbered(strategy_of(spread), numbers))
        return Layout(spread.strategy, places, parameters, generation)
    if spread.strategy == "geographic" and table.strategy != "geographic":
        raise ConflictError(f"collection `{name}`: `spread` does not say what its regions are")
    replicas = max(len(nodes) for nodes in spread.places.values())
    fresh = msgspec.structs.replace(
        table,
        strategy=spread.strategy,
        shards=len(spread.places),
        replicas=replicas,
        model=generation.model,
        by=spread.vector,
    )
    layout = fitted_anew(spread, laid_out(name, fresh, config, regions, sample))
    return msgspec.structs.replace(layout, generation=generation)
