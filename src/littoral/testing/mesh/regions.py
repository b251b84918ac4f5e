"""Regions of a simulated site, of which some keep what is theirs: whoever elsewhere gets a word of it breaks a promise.

Vectors of points that are pinned end in bytes that nothing else has, and texts of which vectors are made begin so, so
that every message to a node elsewhere, and every store there, can be looked through for them.
"""

from collections.abc import Mapping

from littoral.vectors.records import PointId

__all__ = ["MARK", "REGION", "TEXT_MARK", "is_marked", "marked", "region_of"]

REGION = "region"
"""Key of the payload that names a point's region."""

MARK = bytes.fromhex("5bd1e33e")
"""Ends the vector of a point that is pinned: 0.445 as float32."""

TEXT_MARK = MARK.hex().encode()
"""Begins the text of a point that is pinned, and every vector of that text is marked."""


def marked(vector: bytes) -> bytes:
    """As the vector of a point that is pinned."""
    return vector[: -len(MARK)] + MARK


def is_marked(body: bytes) -> bool:
    """Whether there is a vector or a text of a pinned point in it."""
    return MARK in body or TEXT_MARK in body


def region_of(point: PointId, regions: Mapping[str, str]) -> str:
    """Of a client's point; it never changes. regions: by node."""
    names = sorted({region for region in regions.values() if region})
    return names[int(point) % len(names)] if names else ""
