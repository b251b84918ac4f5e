"""How fields may be called that lie sealed, for those that only read a site file."""

__all__ = ["FIELD_NAME", "SUFFIX"]

FIELD_NAME = r"^[A-Za-z0-9_-]{1,64}$"
SUFFIX = "__sealed"
"""Behind the name of a field: where its sealed value lies."""
