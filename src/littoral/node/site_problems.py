"""What is wrong in a site file, in words; as of every file of tables."""

from littoral.tables.problems import DIGEST_PATTERN, NAME_PATTERN, PATTERNS, Place, nearest_hint

__all__ = ["DIGEST_PATTERN", "NAME_PATTERN", "PATTERNS", "Place", "nearest_hint"]
