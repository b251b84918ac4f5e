"""The list `tenants` of a site file: read, and held against the rest of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from littoral.node.encryption_tables import check_encrypted
from littoral.node.migrate_tables import check_models
from littoral.node.site_problems import Place, nearest_hint
from littoral.node.site_tables import (
    CollectionTable,
    ForEachStepTable,
    SearchStepTable,
    StepTable,
    TenantTable,
    UpsertStepTable,
)
from littoral.node.tenant_hosts import TENANTS

if TYPE_CHECKING:
    from littoral.node.site import Site

__all__ = ["TENANTS_MAX", "check_tenants", "collections_of", "read_tenants", "site_of"]

TENANTS_MAX = 32
COLLECTIONS_OF_ALL_MAX = 64
"""Each has a process."""

KIND = "collections"

Read = Callable[[Mapping[str, Any], Place], dict[str, CollectionTable]]
Inner = Callable[[ForEachStepTable], Sequence[StepTable]]


def read_tenants(entries: Any, place: Place, collections: Read) -> tuple[TenantTable, ...]:
    """collections: reads tables of them by name. Raises SettingError."""
    if not isinstance(entries, list):
        raise place.wrong(entries, "a list of tables, such as `[[tenants]]`")
    if len(entries) > TENANTS_MAX:
        raise place.about(f"{len(entries)} entries, at most {TENANTS_MAX}")
    return tuple(_tenant(entry, place / index, collections) for index, entry in enumerate(entries))


def _tenant(entry: Any, place: Place, collections: Read) -> TenantTable:
    own = collections(entry, place) if isinstance(entry, dict) else {}
    others = {key: value for key, value in entry.items() if key != KIND} if isinstance(entry, dict) else entry
    try:
        return msgspec.structs.replace(msgspec.convert(others, TenantTable), collections=own)
    except msgspec.ValidationError as error:
        raise place.refused(error, entry, TenantTable) from error


def check_tenants(site: "Site", place: Place, inner: Inner) -> None:
    """What can be known from the file alone. inner: the steps of a `for_each`. Raises SettingError."""
    if not site.tenants:
        return
    if site.auth is None:
        raise place.about("needs the table `auth`: a tenant is known by its tokens")
    if not site.auth.metrics:
        raise place.about("and `auth.metrics = false` are given: metrics tell of all tenants, so they need a token")
    names = [table.name for table in site.tenants]
    for index, table in enumerate(site.tenants):
        at = place / index
        if names.count(table.name) > 1:
            raise (at / "name").wrong(table.name, "another than that of every other tenant")
        _check_granted(table.models, site.models, "a model of this file", at / "models")
        _check_granted(table.pipelines, site.pipelines, "a pipeline of this file", at / "pipelines")
        _check_collections(table, site, at, inner)
    count = sum(table.quota.collections_max for table in site.tenants)
    if count > COLLECTIONS_OF_ALL_MAX:
        raise place.about(
            f"quotas `collections_max` of all tenants are {count} together, at most {COLLECTIONS_OF_ALL_MAX}",
            hint="each collection has a process of its own: give tenants fewer",
        )


def _check_granted(given: Sequence[str], known: Mapping[str, object], what: str, place: Place) -> None:
    for index, name in enumerate(given):
        if name not in known:
            raise (place / index).wrong(name, what, hint=nearest_hint(name, known))


def _check_collections(table: TenantTable, site: "Site", at: Place, inner: Inner) -> None:
    for name, collection in table.collections.items():
        for key in ("spread", "migrate"):
            if getattr(collection, key) is not None:
                raise (at / "collections" / name / key).about(
                    "is not offered for a tenant", hint="a tenant's collections lie on one node, as one shard each"
                )
        here = at / "collections" / name / "encrypted"
        check_encrypted(collection.encrypted, site.encryption, here)
    declared = collections_of(table, site, inner)
    check_models(declared, site.models, site.pipelines, site.agents, at)
    for name in table.pipelines:
        for named in sorted(set(_named(site.pipelines[name], inner)) - table.collections.keys()):
            if site.collections[named].spread is not None:
                raise (at / "pipelines").about(
                    f"pipeline `{name}` names collection `{named}`, which is spread over nodes",
                    hint=f"give the tenant one of its own: `[tenants.collections.{named}]`",
                )
    if len(declared) > table.quota.collections_max:
        raise (at / "quota" / "collections_max").wrong(
            table.quota.collections_max, f"at least {len(declared)}, as many as it has from this file"
        )


def collections_of(table: TenantTable, site: "Site", inner: Inner) -> dict[str, CollectionTable]:
    """Those that it declares, and those that its pipelines name, made as the file's own of that name."""
    named = {name for pipeline in table.pipelines for name in _named(site.pipelines[pipeline], inner)}
    own = {
        name: msgspec.structs.replace(site.collections[name], spread=None, migrate=None)
        for name in sorted(named & site.collections.keys())
    }
    return own | table.collections


def _named(steps: Iterable[StepTable], inner: Inner) -> Iterator[str]:
    for step in steps:
        match step:
            case SearchStepTable():
                yield step.search
            case UpsertStepTable():
                yield step.upsert
            case ForEachStepTable():
                yield from _named(inner(step), inner)


def site_of(site: "Site", table: TenantTable, inner: Inner) -> "Site":
    """As if the file were the tenant's: its collections and pipelines, in a folder of its own.

    Models and agents stay, as its pipelines are bound to them; what it may ask by name is for `Node`.
    """
    data = str(PurePosixPath(site.node.data) / TENANTS / table.name)
    return site._replace(
        node=msgspec.structs.replace(site.node, data=data),
        collections=collections_of(table, site, inner),
        pipelines={name: site.pipelines[name] for name in table.pipelines},
        mqtt=None,
        mesh=None,
        placement=None,
        tenants=(),
    )
