"""What differs between two site files, by key, and what each difference needs. Pure."""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import msgspec

from littoral.errors import SettingError
from littoral.node.site import Site
from littoral.node.site_tables import TABLES

__all__ = ["Change", "Needs", "changes", "check_changes", "is_hot"]


class Needs(enum.Enum):
    """hot: counts while the node serves. restart: of the node, its shard hosts go on. refused: data would be lost."""

    HOT = "hot"
    RESTART = "restart"
    REFUSED = "refused"


class Change(NamedTuple):
    """key: its path in the file, such as `limits.body_s`. before, after: None where it was, or is, not there.

    why: what somebody should know of it, or ''.
    """

    key: str
    before: Any
    after: Any
    needs: Needs
    why: str = ""


class _Rule(NamedTuple):
    """pattern: of key paths. holds: for which values, before and after."""

    pattern: str
    needs: Needs
    why: str = ""
    holds: Callable[[Any, Any], bool] = lambda _before, _after: True


def _is_gone(before: Any, after: Any) -> bool:
    return before is not None and after is None


def _is_less(before: Any, after: Any) -> bool:
    return _is_gone(before, after) or (before is not None and after < before)


def _is_tenant(before: Any, after: Any) -> bool:
    """It comes as a whole."""
    return before is None and isinstance(after, Mapping) and "quota" in after


def _was_tenant(before: Any, after: Any) -> bool:
    """It goes as a whole."""
    return _is_tenant(after, before)


def _is_whole(before: Any, after: Any) -> bool:
    return None in (before, after)


def _is_whole_table(before: Any, after: Any) -> bool:
    whole = before if after is None else after
    return None in (before, after) and isinstance(whole, Mapping) and "path" in whole


def _is_list(before: Any, after: Any) -> bool:
    return isinstance(before, list) and isinstance(after, list)


def _is_plain_collection(before: Any, after: Any) -> bool:
    """It comes or goes as a whole, on this node alone, and nothing in it is to be sealed or embedded anew."""
    whole = before if after is None else after
    is_whole = None in (before, after) and isinstance(whole, Mapping) and "vectors" in whole
    return is_whole and not any(whole[key] for key in ("spread", "migrate", "encrypted"))


def _was_plain_collection(before: Any, after: Any) -> bool:
    return after is None and _is_plain_collection(before, after)


_STAY = "its points stay, and are asked for over HTTP"
_KEPT = "a collection never changes it: name another, or delete this one"
_LOST = "points would be looked for where they are not: `littoral mesh` changes a layout while it serves"

RULES = (
    _Rule("node.data", Needs.REFUSED, "what the folder holds would stay behind: stop the node and move the folder"),
    _Rule("collections.*.vectors.*", Needs.REFUSED, _KEPT),
    _Rule("collections.*.named", Needs.REFUSED, _KEPT),
    _Rule("collections.*.named.*", Needs.REFUSED, _KEPT),
    _Rule("collections.*.sparse", Needs.REFUSED, _KEPT),
    _Rule("collections.*.spread", Needs.REFUSED, _LOST),
    _Rule("collections.*.spread.strategy", Needs.REFUSED, _LOST),
    _Rule("collections.*.spread.by", Needs.REFUSED, _LOST),
    _Rule("collections.*.spread.shards", Needs.REFUSED, _LOST),
    _Rule("collections.*.spread.replicas", Needs.REFUSED, _LOST),
    _Rule("encryption", Needs.REFUSED, "what is sealed could not be opened: remove the snapshots first", _is_gone),
    _Rule("collections.?*", Needs.HOT, _STAY, _was_plain_collection),
    _Rule("collections.?*", Needs.HOT, "", _is_plain_collection),
    _Rule("collections.?*", Needs.RESTART, _STAY, _is_gone),
    _Rule("cache.disk_mb", Needs.RESTART, "what no longer fits on disk is computed again", _is_less),
    _Rule("audit", Needs.RESTART, "what is done is told no more", _is_gone),
    _Rule("auth", Needs.RESTART, "every caller may do everything then", _is_gone),
    _Rule("tls", Needs.RESTART, "callers are answered in the clear then", _is_gone),
    _Rule("tenants.*.collections.*.vectors.*", Needs.REFUSED, _KEPT),
    _Rule("tenants.*.quota.cache_mb", Needs.HOT, "what no longer fits is computed again", _is_less),
    _Rule("tenants.*.quota.*", Needs.HOT, "what is there stays"),
    _Rule("tenants.*.models", Needs.HOT, "", _is_list),
    _Rule("tenants.*.pipelines", Needs.HOT, "", _is_list),
    _Rule("tenants.*.gateway", Needs.HOT),
    _Rule("tenants.*.gateway.*", Needs.HOT),
    _Rule("tenants.*.collections.?*", Needs.HOT, _STAY, _was_plain_collection),
    _Rule("tenants.*.collections.?*", Needs.HOT, "", _is_plain_collection),
    _Rule("tenants.?*", Needs.HOT, "", _is_tenant),
    _Rule(
        "tenants.?*", Needs.HOT, "what it asks ends; its data stays, in `tenants/NAME` of the data folder", _was_tenant
    ),
    _Rule("limits.*", Needs.HOT, "for connections that begin after it"),
    _Rule("telemetry.logs.*", Needs.HOT),
    _Rule("telemetry.traces.ratio", Needs.HOT),
    _Rule("models.?*", Needs.HOT, "", _is_whole_table),
    _Rule("models.*.path", Needs.HOT),
    _Rule("models.*.versions", Needs.HOT),
    _Rule("models.*.sha256", Needs.HOT),
    _Rule("models.*.warm", Needs.HOT),
    _Rule("agents.?*", Needs.HOT, "", _is_whole_table),
    _Rule("agents.*.path", Needs.HOT),
    _Rule("agents.*.sha256", Needs.HOT),
    _Rule("agents.*.config", Needs.HOT),
    _Rule("agents.*.config.*", Needs.HOT),
    _Rule("agents.*.files.*", Needs.HOT),
    _Rule("agents.*.memory_mb", Needs.HOT),
    _Rule("agents.*.deadline_ms", Needs.HOT),
    _Rule("agents.*.grants", Needs.HOT),
    _Rule("agents.*.instances.*", Needs.HOT),
    _Rule("agents.*.quarantine.*", Needs.HOT),
    _Rule("agents.*.compile.*", Needs.HOT),
    _Rule("pipelines.?*", Needs.HOT, "", _is_whole),
    _Rule("pipelines.?*", Needs.HOT, "what is under way ends by the steps of before"),
    _Rule("*", Needs.RESTART),
)
"""The first that fits says what a change needs."""


def changes(before: Site, after: Site) -> list[Change]:
    """In the order of the tables; a default that is written out is no change."""
    found = [
        _judged(*found) for name in TABLES for found in _differences(_plain(before, name), _plain(after, name), name)
    ]
    return [change if _is_free(change, before, after) else change._replace(needs=Needs.RESTART) for change in found]


def is_hot(found: Sequence[Change]) -> bool:
    """Whether the node need not be started anew."""
    return all(change.needs is Needs.HOT for change in found)


def check_changes(found: Sequence[Change], file: object) -> None:
    """Raises SettingError, naming the keys, where data would be lost."""
    if refused := [change for change in found if change.needs is Needs.REFUSED]:
        told = "; ".join(f"`{change.key}`: {change.why}" for change in refused)
        raise SettingError(f"{file}: {told}", hint="`littoral config diff` tells what each change needs")


def _is_free(change: Change, *sites: Site) -> bool:
    """Whether nothing else of a site goes by a pipeline that comes or goes, or has other steps: a migration. A pipeline
    with other steps is named nowhere else, either.
    """
    table, _, name = change.key.partition(".")
    if table != "pipelines":
        return True
    is_whole = None in (change.before, change.after)
    return not any(
        any(collection.migrate is not None for collection in site.collections.values())
        or not (is_whole or name not in _texts({one: _plain(site, one) for one in TABLES if one != table}))
        for site in sites
    )


def _texts(plain: Any) -> Iterator[str]:
    """All values that are texts."""
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, Mapping):
        for value in plain.values():
            yield from _texts(value)
    elif isinstance(plain, Sequence):
        for value in plain:
            yield from _texts(value)


def _plain(site: Site, name: str) -> Any:
    plain = msgspec.to_builtins(getattr(site, name))
    return {tenant["name"]: tenant for tenant in plain} if name == "tenants" else plain


def _differences(before: Any, after: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        if before != after:
            yield key, before, after
        return
    for name in dict.fromkeys((*before, *after)):
        yield from _differences(before.get(name), after.get(name), f"{key}.{name}")


def _judged(key: str, before: Any, after: Any) -> Change:
    rule = next(rule for rule in RULES if fnmatchcase(key, rule.pattern) and rule.holds(before, after))
    return Change(key, before, after, rule.needs, rule.why.replace("NAME", key.rpartition(".")[2]))
