"""What a node takes at most of what it is sent."""

from typing import NamedTuple

__all__ = ["BOUNDS", "Bounds"]


class Bounds(NamedTuple):
    """version_jump_max: how far a version may be ahead of the one before, so that none can be the last there is.

    target_bytes_max: of one artifact. attempts_max: of one file, in a row without progress; bytes_per_s_min: over a
    whole file, looked at after `slow_after_s`; metadata_bytes_per_s_min: what a node's own cap leaves metadata, however
    low it is; pause_s: before the second attempt, doubled by each and made uneven.
    """

    root_bytes_max: int = 512_000
    timestamp_bytes_max: int = 16_384
    snapshot_bytes_max: int = 2_000_000
    targets_bytes_max: int = 5_000_000
    rotations_max: int = 64
    delegations_max: int = 8
    version_jump_max: int = 10_000_000
    target_bytes_max: int = 2 << 30
    block_list_bytes_max: int = 16 << 20
    attempts_max: int = 8
    bytes_per_s_min: float = 100.0
    metadata_bytes_per_s_min: float = 16_384.0
    slow_after_s: float = 60.0
    pause_s: float = 0.5
    pause_s_max: float = 60.0

    def bytes_of(self, role: str) -> int:
        """Of a role's metadata; delegated roles are targets."""
        most = {
            "root": self.root_bytes_max,
            "timestamp": self.timestamp_bytes_max,
            "snapshot": self.snapshot_bytes_max,
        }
        return most.get(role, self.targets_bytes_max)


BOUNDS = Bounds()
