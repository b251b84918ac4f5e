"""Sizes of a sealed file, for those that do not open it: `sealed` says what stands where."""

from littoral.vault.keys import KEY_ID_BYTES

__all__ = ["CHUNK_BYTES", "HEAD_BYTES", "MAGIC", "SALT_BYTES", "SEALED_CHUNK_BYTES", "TAG_BYTES", "plain_bytes"]

MAGIC = b"LITTORAL-SEALED-1\n"
SALT_BYTES = 32
HEAD_BYTES = len(MAGIC) + KEY_ID_BYTES + SALT_BYTES
CHUNK_BYTES = 1 << 16
TAG_BYTES = 16
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES


def plain_bytes(sealed_bytes: int) -> int:
    """How much is in a sealed file of this size, if it is whole."""
    body = max(0, sealed_bytes - HEAD_BYTES)
    return max(0, body - -(-body // SEALED_CHUNK_BYTES) * TAG_BYTES)
