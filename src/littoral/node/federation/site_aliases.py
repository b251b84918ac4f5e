"""Aliases of a site: what is spread has them on all nodes, in the shard map, and what lies on one node has them there.

A wish says what an alias meant when it was made, so that of two at once one is told to look again.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from littoral.errors import ConflictError, NotFoundError, TooLargeError
from littoral.mesh.shard_map import ALIAS_COUNT_MAX
from littoral.vectors.aliases import AliasChange, changed

__all__ = ["AliasWish", "Wanted", "following", "wanted"]

CHANGED_AT_ONCE_MAX = 64
Table = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=255)],
        Annotated[str, Meta(min_length=1, max_length=64)],
    ],
    Meta(max_length=CHANGED_AT_ONCE_MAX),
]


class AliasWish(msgspec.Struct, frozen=True, array_like=True, tag="alias"):
    """Of the site: the collections that these aliases meant, and are to mean. One that is missing is none."""

    was: Table
    wanted: Table


class Wanted(NamedTuple):
    """own: all aliases of the node after it. wish: for the others; None where nothing changes there."""

    own: dict[str, str]
    wish: AliasWish | None


def wanted(
    own: Mapping[str, str],
    of_site: Mapping[str, str],
    changes: Sequence[AliasChange],
    names: Collection[str],
    spread: Collection[str],
) -> Wanted:
    """own, of_site: aliases now. names: of collections that this node knows. spread: of those that are on all nodes.

    Raises NotFoundError, ConflictError, InputError, TooLargeError.
    """
    after = changed({**of_site, **own}, changes, {*names, *spread})
    said = {change.alias for change in changes}
    kept = {a: name for a, name in own.items() if after.get(a) == name and not (a in said and name in spread)}
    site = {alias: name for alias, name in after.items() if name in spread and alias not in kept}
    site |= {alias: name for alias, name in of_site.items() if alias in kept}
    touched = [alias for alias in {*of_site, *site} if of_site.get(alias) != site.get(alias)]
    if len(touched) > CHANGED_AT_ONCE_MAX:
        raise TooLargeError(f"{len(touched)} aliases of spread collections, at most {CHANGED_AT_ONCE_MAX} at once")
    own_after = {alias: name for alias, name in after.items() if alias not in site or alias in kept}
    if not touched:
        return Wanted(own_after, None)
    return Wanted(own_after, AliasWish(_only(of_site, touched), _only(site, touched)))


def following(aliases: Mapping[str, str], wish: AliasWish, spread: Collection[str]) -> dict[str, str]:
    """The site's after a wish. Raises ConflictError where they are not what the wish goes by, NotFoundError."""
    touched = {*wish.was, *wish.wanted}
    if (now := _only(aliases, touched)) != wish.was:
        other = min(alias for alias in touched if now.get(alias) != wish.was.get(alias))
        raise ConflictError(f"alias `{other}` was changed by somebody else meanwhile", hint="look, and try again")
    for alias, name in wish.wanted.items():
        if name not in spread:
            raise NotFoundError(f"collection `{name}` does not exist")
        if alias in spread:
            raise ConflictError(f"alias `{alias}`: a collection has this name")
    left = {alias: name for alias, name in aliases.items() if alias not in touched}
    if len(left) + len(wish.wanted) > ALIAS_COUNT_MAX:
        raise TooLargeError(f"{len(left) + len(wish.wanted)} aliases of the site, at most {ALIAS_COUNT_MAX}")
    return {**left, **wish.wanted}


def _only(aliases: Mapping[str, str], touched: Collection[str]) -> dict[str, str]:
    return {alias: aliases[alias] for alias in sorted(touched) if alias in aliases}
