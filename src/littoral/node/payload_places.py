"""What may stand in braces in the payload of an `upsert` step. For the site file, so without numpy."""

import re
from collections.abc import Mapping
from typing import Any

from littoral.errors import InputError

__all__ = ["PLACES", "check_payload_places"]

PLACES = ("id", "digest", "topic", "time", "input")
"""Beside `{1}` … `{9}` for what the wildcards of a topic caught."""


def check_payload_places(payload: Mapping[str, Any]) -> None:
    """Raises InputError for a text of the payload with a place that does not exist."""
    for key, value in payload.items():
        if not isinstance(value, str):
            continue
        for name in re.findall(r"\{([^{}]*)\}", value):
            if name not in PLACES and not re.fullmatch("[1-9]", name):
                known = ", ".join(f"`{{{place}}}`" for place in PLACES)
                raise InputError(f"`{key}`: `{{{name}}}` is unknown, known: {known}, `{{1}}` … `{{9}}`")
