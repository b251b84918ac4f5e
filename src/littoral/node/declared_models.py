"""Which version of a model the site file means by `encoder` or `encoder@2`, and how a version is told from another.

Two versions are the same where they compute the same: their manifests name the same source, and the same integers, if
they are in integers. Compiling a model again, for another machine or by another release, makes no other version of it.
"""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from littoral.artifact import Model
from littoral.artifact.manifest import Manifest
from littoral.errors import LittoralError, NotFoundError, SettingError
from littoral.mesh.shard_map import MODEL_CHARACTERS_MAX
from littoral.node.migrate_tables import MigrateTable
from littoral.node.model_files import Policy, find_versions
from littoral.node.site import Site
from littoral.node.site_tables import CollectionTable
from littoral.runtime.file_identity import FileIdentity
from littoral.vectors.model_version import ModelVersion, told_by_vector, told_over_the_mesh
from littoral.vectors.records import CollectionConfig

__all__ = [
    "Wanted",
    "agents_with",
    "declared_config",
    "declared_versions",
    "file_of",
    "number_of",
    "parse_wanted",
    "read_version",
    "resolved",
    "version_of",
    "with_spread_models",
]

Wanted = tuple[str, int]
"""A model of the site file, and its number; 0 = the one that serves."""


def version_of(name: str, number: int, manifest: Manifest) -> ModelVersion:
    """What vectors of this model are known by."""
    told = [manifest.source_sha256, manifest.int8]
    return ModelVersion(name, hashlib.sha256(msgspec.json.encode(told, order="deterministic")).hexdigest(), number)


def parse_wanted(text: str, site: Site) -> Wanted:
    """`NAME` or `NAME@NUMBER`. Raises SettingError."""
    name, at, number = text.partition("@")
    is_number = number.isascii() and number.isdecimal() and 0 < len(number) <= 9
    if (at and not is_number) or name not in site.models:
        known = ", ".join(f"`{known}`" for known in site.models) or "none"
        raise SettingError(
            f"`{text[:80]}` is no model of the site file, or no `NAME@NUMBER` of its versions; models: {known}"
        )
    return name, int(number or 0)


def declared_config(site: Site, table: CollectionTable) -> CollectionConfig:
    """What a collection is to be made with, the models that it names read from their files.

    Raises SettingError and what the files raise.
    """
    declared = table.declared_models
    read = {
        vector: tuple(read_version(site, parse_wanted(text, site)) for text in texts)
        for vector, texts in declared.items()
    }
    config = table.config()
    if config.is_single:
        return msgspec.structs.replace(config, models=read.get("", read.get(None, ())))
    named = {vector: models for vector, models in read.items() if vector is not None}
    return msgspec.structs.replace(config, models=read.get(None, ()), named_models=named)


def declared_versions(site: Site, table: CollectionTable, vector: str = "") -> tuple[ModelVersion, ...]:
    """As `declared_config`, of one vector."""
    return declared_config(site, table).models_of(vector)


def with_spread_models(site: Site) -> Site:
    """Collections that are spread and name models tell the other nodes their digests, so that all have the same."""
    tables = dict(site.collections)
    for name, table in site.collections.items():
        if table.spread is not None and table.declared_models:
            config = declared_config(site, table)
            words = [table.spread.model, told_over_the_mesh(config.models), told_by_vector(config.named_models)]
            if len(told := " ".join(filter(None, words))) > MODEL_CHARACTERS_MAX:
                raise SettingError(
                    f"{site.file}: `collections.{name}`: its models take {len(told)} characters where nodes tell them "
                    f"each other, at most {MODEL_CHARACTERS_MAX}",
                    hint="say `model` of the collection for most vectors, and only of the others their own",
                )
            spread = msgspec.structs.replace(table.spread, model=told)
            tables[name] = msgspec.structs.replace(table, spread=spread)
    return site._replace(collections=tables)


def file_of(site: Site, wanted: Wanted) -> tuple[int, Path]:
    """The number and the file of a version. Raises NotFoundError."""
    name, number = wanted
    table = site.models[name]
    files = find_versions(site.path_of(table.path))
    number = number or max(Policy.of(table.versions).choose(files, f"model `{name}`"))
    if number not in files:
        raise NotFoundError(
            f"model `{name}`: no version {number}, there is {_numbers(sorted(files))}",
            hint="put it at `NUMBER/model.wasm` below the model's folder",
        )
    return number, files[number]


def read_version(site: Site, wanted: Wanted) -> ModelVersion:
    """What its file says of a version. Raises NotFoundError, ArtifactError."""
    number, file = file_of(site, wanted)
    return version_of(wanted[0], number, _manifest(file, FileIdentity.of(file.stat())))


def number_of(site: Site, model: ModelVersion) -> int | None:
    """Of the version with its digest: first where it was, then in any that is there; None where it is not."""
    with contextlib.suppress(LittoralError, KeyError):
        found = find_versions(site.path_of(site.models[model.name].path))
        for number in sorted(found, key=lambda one: (one != model.number, one)):
            with contextlib.suppress(LittoralError):
                if read_version(site, (model.name, number)).is_same(model):
                    return number
    return None


def agents_with(site: Site, table: MigrateTable, model: ModelVersion) -> Mapping[str, str]:
    """Of a pipeline that embeds by this model: agents in whose place others stand. What is said of a version goes
    before what is said of the model.
    """
    found: dict[str, str] = {}
    for text in sorted(table.agents, key=lambda one: "@" in one):
        name, number = parse_wanted(text, site)
        with contextlib.suppress(LittoralError):
            if name == model.name and (not number or read_version(site, (name, number)).is_same(model)):
                found |= table.agents[text]
    return found


def resolved(site: Site, model: ModelVersion) -> ModelVersion | None:
    """With its whole digest, and the number that it has here; None where it is not."""
    number = number_of(site, model)
    return None if number is None else read_version(site, (model.name, number))


@lru_cache(16)
def _manifest(file: Path, _identity: FileIdentity) -> Manifest:
    return Model.open(file).manifest


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
