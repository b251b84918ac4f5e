"""What was observed of an entry with who said so: one author decides over an eighth of it at most.

Beside the pairs of `Observations` lie four bytes each, of the author's digest; zeros are a judge of this node.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

from littoral.answers.observations import OBSERVATIONS_MAX, PAIR, Observations
from littoral.errors import ArtifactError

__all__ = ["AUTHOR_LABELS_MAX", "FIELDS", "Labels"]

AUTHOR_LABELS_MAX = OBSERVATIONS_MAX // 8
AUTHOR_BYTES = 4
NOBODY = bytes(AUTHOR_BYTES)
FIELDS = ("observations", "authors")


class Labels(NamedTuple):
    """authors: four bytes for each observation."""

    observations: Observations = Observations()
    authors: bytes = b""

    @classmethod
    def of(cls, payload: Mapping[str, Any] | None) -> "Labels":
        """Of an entry's payload; none where there is none. Raises ArtifactError."""
        try:
            pairs, authors = (base64.b64decode((payload or {}).get(name) or "", validate=True) for name in FIELDS)
        except (binascii.Error, TypeError, ValueError) as error:
            raise ArtifactError("observations of an answer are no base64") from error
        observations = Observations.unpack(pairs)
        if len(authors) != AUTHOR_BYTES * len(observations):
            authors = NOBODY * len(observations)
        return cls(observations, authors)

    def told(self) -> dict[str, str]:
        """As the payload holds them."""
        packed = (self.observations.pack(), self.authors)
        return {name: base64.b64encode(data).decode() for name, data in zip(FIELDS, packed, strict=True)}

    def added(self, similarity: float, is_correct: bool, author: bytes = b"") -> "Labels":
        """With one more; an author who has `AUTHOR_LABELS_MAX` loses the oldest, as everybody does at the very end."""
        who = author[:AUTHOR_BYTES].ljust(AUTHOR_BYTES, b"\0")
        left = self._without_oldest_of(who) if who != NOBODY and self._count_of(who) >= AUTHOR_LABELS_MAX else self
        observations = left.observations.added(similarity, is_correct)
        authors = (left.authors + who)[-AUTHOR_BYTES * len(observations) :]
        return Labels(observations, authors)

    def _rows_of(self, who: bytes) -> list[int]:
        starts = range(0, len(self.authors), AUTHOR_BYTES)
        return [at for at, start in enumerate(starts) if self.authors[start : start + AUTHOR_BYTES] == who]

    def _count_of(self, who: bytes) -> int:
        return len(self._rows_of(who))

    def _without_oldest_of(self, who: bytes) -> "Labels":
        row = self._rows_of(who)[0]
        packed = self.observations.pack()
        return Labels(
            Observations(packed[: row * PAIR.size] + packed[(row + 1) * PAIR.size :]),
            self.authors[: row * AUTHOR_BYTES] + self.authors[(row + 1) * AUTHOR_BYTES :],
        )
