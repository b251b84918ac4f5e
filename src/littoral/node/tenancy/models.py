"""Models of a node as one tenant sees them: those that it may ask, with counts and sequences of its own.

The pools are the node's: an instance computes for one after the other.
"""

from collections.abc import Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

from littoral.node.node import ServedModel, ServedVersion

__all__ = ["TenantModels"]


class TenantModels(Mapping[str, ServedModel]):
    """shared: the node's; what takes over there, or leaves, is seen here at once."""

    def __init__(self, shared: Mapping[str, ServedModel], names: Sequence[str]) -> None:
        self._shared = shared
        self.have(names)
        self._own: dict[str, ServedModel] = {}
        self._versions: WeakKeyDictionary[ServedVersion, ServedVersion] = WeakKeyDictionary()

    def have(self, names: Sequence[str]) -> None:
        """These from now on; counts and sequences of those that stay go on."""
        self._names = tuple(name for name in names if name in self._shared)

    def __getitem__(self, name: str) -> ServedModel:
        if name not in self._names:
            raise KeyError(name)
        shared = self._shared[name]
        serving = self._version(shared.serving)
        versions = {number: self._version(version) for number, version in shared.versions.items()}
        if (own := self._own.get(name)) is None:
            sequences = shared.sequences.another()
            own = ServedModel(name, serving, shared.instances, versions, sequences, is_shared=True)
            self._own[name] = own
        own.serving, own.versions = serving, versions
        return own

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name in self._shared)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _version(self, shared: ServedVersion) -> ServedVersion:
        if (own := self._versions.get(shared)) is None:
            own = self._versions[shared] = ServedVersion(shared.number, shared.model, shared.pool)
        return own
