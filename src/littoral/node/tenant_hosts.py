"""Shard hosts of several data folders, asked for as one: the supervisor is told of all that are wanted."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from littoral.vectors.collections import ShardHosts

__all__ = ["TENANTS", "SharedHosts"]

TENANTS = "tenants"
"""Folder below a node's data: one folder a tenant, with what a node's data folder has."""


class SharedHosts:
    """One supervisor for the node's collections and those of its tenants."""

    def __init__(self, hosts: "ShardHosts") -> None:
        self._hosts = hosts
        self._wanted: dict[str, tuple[str, ...]] = {}

    def of(self, tenant: str) -> "ShardHosts":
        """Those of one tenant; '' = the node's own. Folders are relative to its own data folder."""
        return _Part(self, f"{TENANTS}/{tenant}/" if tenant else "")

    async def forget(self, tenant: str) -> None:
        """None of its hosts is to run any more; what they wrote stays."""
        if self._wanted.pop(f"{TENANTS}/{tenant}/", None):
            await self._tell()

    async def want(self, prefix: str, shard_folders: Iterable[str]) -> None:
        self._wanted[prefix] = tuple(f"{prefix}{folder}" for folder in shard_folders)
        await self._tell()

    async def _tell(self) -> None:
        await self._hosts.want(folder for folders in self._wanted.values() for folder in folders)

    @property
    def hosts(self) -> "ShardHosts":
        return self._hosts

    @property
    def wanted(self) -> Mapping[str, tuple[str, ...]]:
        """By the folder of their data."""
        return self._wanted


class _Part:
    def __init__(self, shared: SharedHosts, prefix: str) -> None:
        self._shared = shared
        self._prefix = prefix

    async def want(self, shard_folders: Iterable[str]) -> None:
        await self._shared.want(self._prefix, shard_folders)

    def state_of(self, shard_folder: str) -> str:
        return self._shared.hosts.state_of(f"{self._prefix}{shard_folder}")

    def restart_count(self, shard_folder: str) -> int:
        return self._shared.hosts.restart_count(f"{self._prefix}{shard_folder}")
