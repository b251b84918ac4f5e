"""Topics of MQTT: filters and what their wildcards catch, templates of topics, and what may not stand in either."""

import re
from collections.abc import Mapping, Sequence

from littoral.errors import InputError

__all__ = ["caught", "check_filter", "check_template", "check_topic", "filled", "shared", "wildcard_count"]

TOPIC_BYTES_MAX = 1024
SHARE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PLACE = re.compile(r"\{([^{}]*)\}")


def check_filter(text: str) -> None:
    """Raises InputError for what is no topic filter: `+` and `#` stand alone in a level, `#` at the end."""
    _check_text(text, "topic filter")
    if text.startswith("$share/"):
        raise InputError("a shared subscription is asked for by `share`", hint='share = "GROUP" beside `topic`')
    levels = text.split("/")
    for index, level in enumerate(levels):
        if ("+" in level or "#" in level) and len(level) != 1:
            raise InputError(f"level `{level[:40]}`: a wildcard stands alone in its level")
        if level == "#" and index != len(levels) - 1:
            raise InputError("`#` stands only at the end")


def wildcard_count(topic_filter: str) -> int:
    """How many levels are caught: each `+`, and `#` as one."""
    return sum(level in ("+", "#") for level in topic_filter.split("/"))


def shared(topic_filter: str, group: str | None) -> str:
    """What to subscribe to. Raises InputError for a group of a wrong name."""
    if group is None:
        return topic_filter
    if not SHARE.fullmatch(group):
        raise InputError("must be 1 to 64 of a-z, A-Z, 0-9, `_`, `-` and `.`")
    return f"$share/{group}/{topic_filter}"


def caught(topic_filter: str, topic: str) -> tuple[str, ...] | None:
    """What the wildcards stand for in this topic, in order; None where the filter does not match."""
    if topic.startswith("$") and topic_filter[:1] in ("+", "#"):
        return None
    wanted, given = topic_filter.split("/"), topic.split("/")
    found: list[str] = []
    for index, level in enumerate(wanted):
        if level == "#":
            return (*found, "/".join(given[index:]))
        if index == len(given) or level not in ("+", given[index]):
            return None
        if level == "+":
            found.append(given[index])
    return tuple(found) if len(wanted) == len(given) else None


def check_template(template: str, topic_filter: str, names: Sequence[str] = ()) -> None:
    """A topic with `{1}`, `{2}` … for what the filter's wildcards catch, and these names.

    Raises InputError for other places, for wildcards, and for a topic that the filter would catch again.
    """
    _check_text(template, "topic")
    known = [str(index + 1) for index in range(wildcard_count(topic_filter))] + list(names)
    for name in _PLACE.findall(template):
        if name not in known:
            raise InputError(f"`{{{name}}}` is unknown here, known: {', '.join(f'`{{{k}}}`' for k in known) or 'none'}")
    sample = filled(template, ("x",) * wildcard_count(topic_filter), dict.fromkeys(names, "x"))
    if caught(topic_filter, sample) is not None:
        raise InputError(f"is caught by the route's own topic `{topic_filter}`: messages would go round for ever")


def filled(template: str, wildcards: Sequence[str], values: Mapping[str, str]) -> str:
    """The topic. Raises InputError where a value brings a character that no topic has, or too many."""
    known = {str(index + 1): text for index, text in enumerate(wildcards)} | dict(values)
    topic = _PLACE.sub(lambda place: known[place[1]], template)
    check_topic(topic)
    return topic


def check_topic(topic: str) -> None:
    """Raises InputError for what is no topic to publish to."""
    _check_text(topic, "topic")
    if "+" in topic or "#" in topic:
        raise InputError(f"topic `{topic[:80]}` has a wildcard")


def _check_text(text: str, what: str) -> None:
    if not text or len(text.encode(errors="replace")) > TOPIC_BYTES_MAX:
        raise InputError(f"{what} has {len(text)} characters, must be 1..{TOPIC_BYTES_MAX} bytes")
    if not text.isprintable():
        raise InputError(f"{what} has a character that cannot be printed")
