"""The collections of a site file: made where they are missing, held against what is there where they are not."""

import contextlib
from collections.abc import Callable, Container, Mapping, Sequence

import msgspec

from littoral.errors import ConflictError, NotFoundError, SettingError
from littoral.node.declared_models import declared_config, resolved
from littoral.node.federation.spread_collection import SpreadCollection
from littoral.node.site import Site
from littoral.node.site_tables import CollectionTable, VectorTable
from littoral.node.vector_makers import in_its_place
from littoral.vectors.collections import Collections
from littoral.vectors.layout import COLLECTIONS, CollectionFile, read_collection_file
from littoral.vectors.model_version import ModelVersion, listed
from littoral.vectors.records import CollectionConfig, VectorParams

__all__ = ["as_it_is", "as_on_disk", "declared", "ensure_collections", "heard_here", "leave_only", "read_files"]

Say = Callable[[str], None]


async def ensure_collections(collections: Collections, site: Site, say: Say) -> Site:
    """The site with the vectors that its collections have; a migration may have given them others than the file says.

    Raises SettingError where the file says something else than what is there, and what making one raises.
    """
    for name, table in site.collections.items():
        if table.spread is None:
            await _ensure(collections, site, name, table, say)
        else:
            spread = collections.get(name)
            spread.config = heard_here(site, table, spread.config)
        collection = collections.get(name)
        for one in filter(None, (collection, collection.other)):
            one.is_strict = table.is_strict
    return as_it_is(site, collections)


async def leave_only(collections: Collections, names: Container[str]) -> None:
    """Without those that were made since it had these."""
    for name in collections.names():
        if name not in names:
            await collections.delete(name)


def heard_here(site: Site, table: CollectionTable, config: CollectionConfig) -> CollectionConfig:
    """With the models that the map tells as they are here, or those of the file where it tells none."""
    if not config.models and not config.named_models:
        found = declared_config(site, table)
        return msgspec.structs.replace(config, models=found.models, named_models=found.named_models)
    models = tuple(_here(site, table, one) for one in config.models)
    named = {
        name: tuple(_here(site, table, one, name) for one in listed) for name, listed in config.named_models.items()
    }
    return msgspec.structs.replace(config, models=models, named_models=named)


def _here(site: Site, table: CollectionTable, model: ModelVersion, vector: str = "") -> ModelVersion:
    """What the other nodes call so, as it is here."""
    found = resolved(site, model) or model
    if table.migrate is None or (way := table.migrate.ways.get(vector)) is None:
        return found
    pipeline = way.pipeline
    with contextlib.suppress(ConflictError):
        found = in_its_place(found, pipeline, site.pipelines[pipeline])
    return found


def read_files(site: Site) -> dict[str, CollectionFile]:
    """What lies on disk, where no node runs. Raises SettingError as `ensure_collections`."""
    found: dict[str, CollectionFile] = {}
    for name in site.collections:
        with contextlib.suppress(NotFoundError):
            found[name] = read_collection_file(site.data / COLLECTIONS / name)
    for name, file in found.items():
        _check(site, name, site.collections[name], file)
    return found


def as_it_is(site: Site, collections: Collections) -> Site:
    """`as_on_disk`, by what lies there now."""
    there = [name for name in site.collections if name in collections]
    return as_on_disk(site, {name: CollectionFile(collections.get(name).config, []) for name in there})


def as_on_disk(site: Site, files: Mapping[str, CollectionFile]) -> Site:
    """The site with the vectors that these collections have."""
    tables = dict(site.collections)
    for name, file in files.items():
        there = file.config.dense
        found = {vector: _as_made(table, there.get(vector)) for vector, table in tables[name].dense.items()}
        plain = found.pop("", None)
        tables[name] = msgspec.structs.replace(tables[name], vectors=plain, named=found)
    return site._replace(collections=tables)


def _as_made(table: VectorTable, params: VectorParams | None) -> VectorTable:
    if params is None:
        return table
    is_multi = params.multivector_config is not None
    return msgspec.structs.replace(table, size=params.size, distance=params.distance, is_multi=is_multi)


def declared(table: CollectionTable) -> str:
    """What the file says of vectors and models, as it is remembered at a flip."""
    said = [
        (f"`{vector}` " if vector else "own " if vector is not None else "") + ", ".join(models)
        for vector, models in table.declared_models.items()
    ]
    return f"{_vectors(table.config())} {', '.join(said)}".strip()


async def _ensure(collections: Collections, site: Site, name: str, table: CollectionTable, say: Say) -> None:
    if name in collections.damaged:
        raise collections.damaged[name]
    if name not in collections:
        config = declared_config(site, table)
        await collections.create(name, config)
        say(f"collection `{name}`: made, {_vectors(config)}")
        return
    if isinstance(there := collections.get(name), SpreadCollection):
        raise SettingError(
            f"{site.file}: `collections.{name}`: a request has made one of this name that is spread over nodes",
            hint="name another, or delete that one first",
        )
    file = collections.file_of(there.name)
    _check(site, name, table, file)
    if not _is_past(table, file):
        wanted = declared_config(site, table)
        for vector in wanted.dense:
            if vector in file.config.dense and not file.config.models_of(vector):
                await collections.claim(name, wanted.models_of(vector), vector)
    say(f"collection `{name}`: {_vectors(file.config)}")


def _check(site: Site, name: str, table: CollectionTable, file: CollectionFile) -> None:
    if _is_past(table, file):
        return
    wanted, found = declared_config(site, table), file.config
    others = [
        vector
        for vector in wanted.dense
        if found.models_of(vector) and not _same(wanted.models_of(vector), found.models_of(vector))
    ]
    ways = {} if table.migrate is None else table.migrate.ways
    _check_config(site, name, wanted, found, leave=[vector for vector in others if vector in ways])
    for vector in others:
        if vector not in ways:  # the others are to be taken to what the file says
            key = f"named.{vector}." if vector in table.declared_models and vector else ""
            raise SettingError(
                f"{site.file}: `collections.{name}.{key}model` is {listed(wanted.models_of(vector))}, it holds "
                f"embeddings of {listed(found.models_of(vector))}",
                hint=f"two models never mix in a collection: with `collections.{name}.migrate` it is embedded anew",
            )


def _is_past(table: CollectionTable, file: CollectionFile) -> bool:
    """Whether the file still says what it said before a migration changed what is there."""
    return bool(file.declared) and declared(table) == file.declared


def _same(wanted: tuple[ModelVersion, ...], holds: tuple[ModelVersion, ...]) -> bool:
    """A model without a number is any of its versions."""
    return all(any(one.is_same(other) for other in holds) for one in wanted)


def _check_config(
    site: Site, name: str, config: CollectionConfig, found: CollectionConfig, leave: Sequence[str]
) -> None:
    """leave: vectors that may be others."""
    there = {name: _kind(params) for name, params in found.dense.items()}
    is_alike = all(there.get(name) == _kind(params) for name, params in config.dense.items() if name not in leave)
    if not is_alike or not config.sparse.keys() <= found.sparse.keys():
        raise SettingError(
            f"{site.file}: `collections.{name}` is {_vectors(config)}, on disk it has {_vectors(found)}",
            hint="a collection never changes these: name another, or delete this one first",
        )


def _kind(params: VectorParams) -> tuple[object, ...]:
    return params.size, params.distance, params.multivector_config is not None


def _vectors(config: CollectionConfig) -> str:
    told = [f"{f'`{name}` ' if name else ''}{params.size} × {params.distance}" for name, params in config.dense.items()]
    return ", ".join((*told, *(f"`{name}` sparse" for name in config.sparse)))
