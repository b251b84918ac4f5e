"""The node's collections and its tenants' in one backup: `NAME`, and `TENANT@NAME`, as none can be called."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from littoral.node.backup.contents import KeptFile, LeftOut
from littoral.node.backup.sending import Packed
from littoral.node.tenant_hosts import TENANTS
from littoral.vectors.layout import COLLECTIONS

__all__ = ["AT", "Together", "data_of", "folder_of", "named"]

AT = "@"


class Together:
    """owners: by tenant; '' = the node's own."""

    def __init__(self, owners: Mapping[str, Packed]) -> None:
        self._owners = owners

    def names(self) -> list[str]:
        return [named(owner, name) for owner, packed in self._owners.items() for name in packed.names()]

    def left_out(self) -> Iterator[LeftOut]:
        for owner, packed in self._owners.items():
            for left in packed.left_out():
                yield left._replace(what=f"{left.what} of tenant {owner}") if owner else left

    async def pack(self, name: str, target: Path) -> list[KeptFile]:
        owner, _, own = name.rpartition(AT)
        return await self._owners[owner].pack(own, target)


def named(owner: str, name: str) -> str:
    """A collection, as a backup calls it."""
    return f"{owner}{AT}{name}" if owner else name


def data_of(data: Path, tenant: str) -> Path:
    """The folder that a tenant has below the node's."""
    return data / TENANTS / tenant if tenant else data


def folder_of(data: Path, name: str) -> Path:
    """Where a collection of that name in a backup lies."""
    owner, _, own = name.rpartition(AT)
    return data_of(data, owner) / COLLECTIONS / own
