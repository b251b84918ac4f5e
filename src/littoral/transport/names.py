"""What nodes, services and topics may be called: the letters that a key on the wire has room for."""

import re
from functools import lru_cache

from littoral.errors import InputError

__all__ = ["checked_name", "checked_topic"]

NAME_CHARACTERS_MAX = 63
TOPIC_PARTS_MAX = 8
NAME_COUNT_MAX = 4096
_NAME = re.compile(rf"[a-z0-9-]{{1,{NAME_CHARACTERS_MAX}}}")


@lru_cache(maxsize=NAME_COUNT_MAX)
def checked_name(kind: str, name: str) -> str:
    """The name itself. kind: what it names, for the message. Raises InputError."""
    if _NAME.fullmatch(name):
        return name
    raise InputError(
        f"{kind} `{name}`: must be 1 to {NAME_CHARACTERS_MAX} of a-z, 0-9 and -", hint="use lower case, and - for _"
    )


def checked_topic(topic: str) -> str:
    """The topic itself: names between slashes. Raises InputError."""
    parts = topic.split("/")
    if len(parts) > TOPIC_PARTS_MAX:
        raise InputError(f"topic `{topic}`: has {len(parts)} parts, at most: {TOPIC_PARTS_MAX}")
    for part in parts:
        checked_name("part of a topic", part)
    return topic
