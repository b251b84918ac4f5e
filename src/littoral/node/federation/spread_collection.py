"""A collection whose points lie on several nodes, with all methods of one whose points lie here."""

from collections.abc import Callable

from littoral.errors import LittoralError
from littoral.mesh.shard_map import Spread
from littoral.vectors.collection import Collection, ShardAnswers
from littoral.vectors.doubt import Doubt
from littoral.vectors.records import CollectionConfig

__all__ = ["SpreadCollection"]


class SpreadCollection(Collection):
    """No cache of the node's holds its answers: a write on another node is one that this node may not hear of. What may
    be told again all the same, `kept_answers` has. model: whose embeddings it holds, as nodes tell it each other.
    """

    def __init__(
        self,
        name: str,
        config: CollectionConfig,
        shard: ShardAnswers,
        model: str = "",
        find: Callable[[], Spread] | None = None,
    ) -> None:
        """find: where its points lie now; raises LittoralError while nobody has told."""
        super().__init__(name, config, shard)
        self.model = model
        self._find = find
        self.doubt = _AlwaysInDoubt()

    def told(self) -> dict[str, object]:
        """Where its points lie, in Qdrant's words and ours. by: the vector that cells are of, or would be; "" = the
        one without a name. Empty while that is not known.
        """
        try:
            spread = None if self._find is None else self._find()
        except LittoralError:
            spread = None
        if spread is None:
            return {}
        return {
            "shard_number": len(spread.places),
            "replication_factor": max(map(len, spread.places.values()), default=0),
            "spread": {"strategy": spread.strategy, "by": spread.vector},
        }


class _AlwaysInDoubt(Doubt):
    @property
    def is_settled(self) -> bool:
        return False
