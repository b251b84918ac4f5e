"""A collection whose points lie on several nodes, with all methods of one whose points lie here."""

from littoral.vectors.collection import Collection, ShardAnswers
from littoral.vectors.doubt import Doubt
from littoral.vectors.records import CollectionConfig

__all__ = ["SpreadCollection"]


class SpreadCollection(Collection):
    """No cache of the node's holds its answers: a write on another node is one that this node may not hear of. What may
    be told again all the same, `kept_answers` has.
    """

    def __init__(self, name: str, config: CollectionConfig, shard: ShardAnswers) -> None:
        super().__init__(name, config, shard)
        self.doubt = _AlwaysInDoubt()


class _AlwaysInDoubt(Doubt):
    @property
    def is_settled(self) -> bool:
        return False
