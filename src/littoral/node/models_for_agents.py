"""The node's models as agents may open them: by name, always the version that is served now."""

from collections.abc import Iterator, Mapping

from littoral.node.node import ServedModel
from littoral.runtime.wasi_nn import OfferedModel

__all__ = ["ModelsForAgents"]


class ModelsForAgents(Mapping[str, OfferedModel]):
    """A view of the served models; each agent gets an instance of its own."""

    def __init__(self, served: Mapping[str, ServedModel]) -> None:
        self._served = served

    def __getitem__(self, name: str) -> OfferedModel:
        session = self._served[name].pool.first
        return OfferedModel(session.digest, session.another)

    def __iter__(self) -> Iterator[str]:
        return iter(self._served)

    def __len__(self) -> int:
        return len(self._served)
