"""What was observed of an entry, and whose question each observation came from.

Thresholds are learned from these. So nobody's questions outnumber those of all others, and an entry's own author
teaches nobody else. Beside the pairs of `Observations` lie four bytes each, of a digest of the author; zeros are
nobody.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from littoral.answers.observations import OBSERVATIONS_MAX, PAIR, Observations
from littoral.errors import ArtifactError

__all__ = ["FIELDS", "Labels"]

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
        """With one more. Where there are too many, the oldest of whoever has the most goes: who asks often displaces
        itself. What goes does not depend on what was found.
        """
        who = _mark(author)
        left = self if len(self.observations) < OBSERVATIONS_MAX else self._kept(self._is_spared(who))
        return Labels(left.observations.added(similarity, is_correct), left.authors + who)

    def heard(
        self, *, without: bytes | None = None, of_one_max: int = OBSERVATIONS_MAX, free: bytes = b""
    ) -> Observations:
        """What somebody learns from: all but those of the author `without`, of each other author the newest
        `of_one_max`, of the author `free` all.
        """
        marks = self._marks()
        is_heard = np.ones(len(marks), bool)
        for mark in np.unique(marks):
            of_one = np.flatnonzero(marks == mark)
            if without is not None and mark == _number(without):
                is_heard[of_one] = False
            elif mark != _number(free):
                is_heard[of_one[: max(len(of_one) - of_one_max, 0)]] = False
        return self.observations if is_heard.all() else self._kept(is_heard).observations

    def confirmed_by(self, *, without: bytes) -> int:
        """How many other authors' questions it was found right for, at least once each."""
        marks = self._marks()[self.observations.are_correct]
        return len(np.unique(marks[marks != _number(without)]))

    def _marks(self) -> NDArray[np.uint32]:
        return np.frombuffer(self.authors, "<u4")

    def _is_spared(self, who: bytes) -> NDArray[np.bool_]:
        """All but the oldest of whoever has the most, the new one counted."""
        marks = self._marks()
        found, counts = np.unique(np.append(marks, _number(who)), return_counts=True)
        of_most = np.isin(marks, found[counts == counts.max()])
        is_spared = np.ones(len(marks), bool)
        is_spared[int(np.argmax(of_most))] = False
        return is_spared

    def _kept(self, is_kept: NDArray[np.bool_]) -> "Labels":
        pairs = np.frombuffer(self.observations.pack(), f"V{PAIR.size}")[is_kept]
        return Labels(Observations(pairs.tobytes()), self._marks()[is_kept].tobytes())


def _mark(author: bytes) -> bytes:
    return hashlib.sha256(author).digest()[:AUTHOR_BYTES] if author else NOBODY


def _number(author: bytes) -> int:
    return int.from_bytes(_mark(author), "little")
