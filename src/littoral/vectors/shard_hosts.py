"""Who runs the shard hosts of collections, as collections see it."""

from collections.abc import Iterable
from typing import Protocol

__all__ = ["ShardHosts"]


class ShardHosts(Protocol):
    """Who runs the shard hosts: the supervisor. Folders are relative to the data folder."""

    async def want(self, shard_folders: Iterable[str]) -> None:
        """From now on these hosts are to run, and no others."""
        ...

    def state_of(self, shard_folder: str) -> str:
        """One line for people: running, restarting, why it ended."""
        ...

    def restart_count(self, shard_folder: str) -> int:
        """How often it was started again."""
        ...
