"""Embeddings by what they were made of: the same model, the same preprocessing and the same content give the same bits.

There is no error budget here: a key is a digest of everything that an embedding depends on, and of the tenant, so that
nobody learns from an answer's speed what another has asked.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from littoral.vectors.byte_lru import ByteLru, CacheStatistics
from littoral.vectors.cache_journal import CacheJournal

__all__ = ["Embedding", "EmbeddingCache", "embedding_key"]

TOKENS_BYTES = 4


class Embedding(NamedTuple):
    """vector: float32 bytes. tokens: of the content, as it was cut for the model."""

    vector: bytes
    tokens: int


def embedding_key(tenant: str, source: bytes, content: bytes) -> bytes:
    """source: digest of the model, its preprocessing and how they are joined. content: the text or its ids."""
    key = hashlib.blake2b(source, digest_size=32)
    name = tenant.encode()
    key.update(len(name).to_bytes(4, "little") + name)
    key.update(content)
    return key.digest()


class EmbeddingCache:
    """bytes_max: in memory. journal: keeps on disk what memory holds; what it has is there from the start.

    For one event loop.
    """

    def __init__(self, bytes_max: int, journal: CacheJournal | None = None) -> None:
        self._entries: ByteLru[bytes, Embedding] = ByteLru(bytes_max)
        self._journal = journal
        if journal is not None:
            self._take(journal.read())

    def find(self, key: bytes) -> Embedding | None:
        return self._entries.find(key)

    def keep(self, key: bytes, embedding: Embedding) -> None:
        """On disk a moment later, if there is a journal."""
        if not self._put(key, embedding) or self._journal is None:
            return
        self._journal.add(key, _packed(embedding))
        if self._journal.is_full:
            self._write_anew(self._journal)

    @property
    def is_on_disk(self) -> bool:
        """Whether there is a journal."""
        return self._journal is not None

    def limit(self, bytes_max: int, disk_bytes_max: int) -> None:
        """From now on; what was not asked for the longest leaves, there on the disk a moment later."""
        self._entries.limit(bytes_max)
        if self._journal is not None and self._journal.limit(disk_bytes_max):
            self._write_anew(self._journal)

    def keep_on(self, journal: CacheJournal, read: Iterable[tuple[bytes, bytes]]) -> None:
        """From now on, with what was read of it; nothing was on disk before."""
        held = list(self._entries.items())
        self._journal = journal
        self._take(read)
        for key, embedding in held:
            self.keep(key, embedding)

    def clear(self) -> None:
        """Forgets every embedding, on disk too, there a moment later."""
        self._entries.clear()
        if self._journal is not None:
            self._journal.replace([])

    @property
    def bytes_max(self) -> int:
        """In memory."""
        return self._entries.bytes_max

    def statistics(self) -> CacheStatistics:
        return self._entries.statistics()

    def close(self) -> None:
        """Writes what is not on disk yet."""
        if self._journal is not None:
            self._journal.close()

    def _write_anew(self, journal: CacheJournal) -> None:
        journal.replace([(kept, _packed(value)) for kept, value in self._entries.items()])

    def _take(self, read: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in read:
            self._put(key, Embedding(value[TOKENS_BYTES:], int.from_bytes(value[:TOKENS_BYTES], "little")))

    def _put(self, key: bytes, embedding: Embedding) -> bool:
        return self._entries.keep(key, embedding, len(key) + len(embedding.vector))


def _packed(embedding: Embedding) -> bytes:
    return embedding.tokens.to_bytes(TOKENS_BYTES, "little") + embedding.vector
