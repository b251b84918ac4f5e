"""Collections and aliases in Qdrant's REST API: made, described, changed."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from littoral.errors import InputError, NotOfferedError
from littoral.node.mesh_tables import SpreadTable
from littoral.node.qdrant_bodies import Body
from littoral.vectors.aliases import AliasChange
from littoral.vectors.records import CollectionConfig, Payload, ShardInfo, VectorParams
from littoral.vectors.tuning import HnswTuning, OptimizerTuning, Placement, Quantization, SparseParams

__all__ = [
    "AliasesBody",
    "CreateBody",
    "NewVectorBody",
    "UpdateBody",
    "alias_changes",
    "changed_config",
    "changed_spread",
    "check_plain",
    "config_of",
    "description",
    "new_vector",
    "spread_of",
]

VECTOR_COUNT_MAX = 64
NAME_CHARACTERS_MAX = 255
NOT_OFFERED = ("sharding_method", "wal_config", "init_from", "strict_mode_config")
OPTIMIZER_NOT_OFFERED = ("memmap_threshold", "flush_interval_sec", "max_optimization_threads")
_COUNTS = {"shards": "shard_number", "replicas": "replication_factor", "holders": "write_consistency_factor"}
"""Of a collection that is spread; of any other they are 1."""

_T = TypeVar("_T", bound=msgspec.Struct)


class CreateBody(Body):
    """`PUT /collections/{c}`."""

    vectors: dict[str, Any] | None = None
    sparse_vectors: dict[str, SparseParams] | None = None
    hnsw_config: HnswTuning | None = None
    optimizers_config: dict[str, Any] | None = None
    quantization_config: Quantization | None = None
    on_disk_payload: bool | None = None
    payload: Placement | None = None
    id_tracker: Placement | None = None
    metadata: Payload | None = None
    shard_number: int | None = None
    replication_factor: int | None = None
    write_consistency_factor: int | None = None
    sharding_method: Any = None
    wal_config: Any = None
    init_from: Any = None
    strict_mode_config: Any = None


class VectorChange(Body):
    hnsw_config: HnswTuning | None = None
    quantization_config: Any = None
    on_disk: bool | None = None
    memory: Any = None


class ParamsChange(Body):
    replication_factor: int | None = None
    write_consistency_factor: int | None = None
    read_fan_out_factor: int | None = None
    read_fan_out_delay_ms: int | None = None
    on_disk_payload: bool | None = None
    payload: Placement | None = None
    id_tracker: Placement | None = None


class UpdateBody(Body):
    """`PATCH /collections/{c}`. A quantization of `Disabled` takes it away."""

    vectors: dict[str, VectorChange] | None = None
    sparse_vectors: dict[str, SparseParams] | None = None
    hnsw_config: HnswTuning | None = None
    optimizers_config: dict[str, Any] | None = None
    quantization_config: Any = None
    params: ParamsChange | None = None
    metadata: Payload | None = None
    strict_mode_config: Any = None


class _NewDense(Body):
    size: int
    distance: str
    multivector_config: Any = None
    datatype: str | None = None


class _NewSparse(Body):
    modifier: str | None = None
    datatype: str | None = None


class NewVectorBody(Body):
    """`PUT /collections/{c}/vectors/{name}`: exactly one of dense, sparse."""

    dense: _NewDense | None = None
    sparse: _NewSparse | None = None


class _CreateAlias(Body):
    collection_name: str
    alias_name: str


class _DeleteAlias(Body):
    alias_name: str


class _RenameAlias(Body):
    old_alias_name: str
    new_alias_name: str


class _AliasAction(Body):
    create_alias: _CreateAlias | None = None
    delete_alias: _DeleteAlias | None = None
    rename_alias: _RenameAlias | None = None


class AliasesBody(Body):
    actions: list[_AliasAction]


def alias_changes(body: AliasesBody) -> list[AliasChange]:
    """Raises InputError where an action is not exactly one."""
    changes = []
    for i, action in enumerate(body.actions):
        match (action.create_alias, action.delete_alias, action.rename_alias):
            case (_CreateAlias() as made, None, None):
                changes.append(AliasChange(alias=made.alias_name, collection=made.collection_name))
            case (None, _DeleteAlias() as doomed, None):
                changes.append(AliasChange(former=doomed.alias_name))
            case (None, None, _RenameAlias() as renamed):
                changes.append(AliasChange(alias=renamed.new_alias_name, former=renamed.old_alias_name))
            case _:
                raise InputError(f"actions[{i}]: needs exactly one of create_alias, delete_alias, rename_alias")
    return changes


def check_plain(body: CreateBody) -> None:
    """On a node that is in no mesh. Raises NotOfferedError for a collection that is to be spread, as `config_of`."""
    config_of(body)
    if _told_spread(body) not in (None, False):
        raise NotOfferedError(
            "metadata.littoral.spread: this node is in no mesh", hint="the table `mesh` of its site file makes it one"
        )


def _told_spread(body: CreateBody) -> Any:
    own = (body.metadata or {}).get("littoral")
    return own.get("spread") if isinstance(own, dict) else None


def spread_of(body: CreateBody, default: SpreadTable | None = None) -> SpreadTable | None:
    """How a new collection is to lie on the nodes of a site; None = on the node that is asked. What `metadata` says in
    `littoral.spread` has the keys of a site file, or is false: on this node. default: where nothing is said.
    Raises InputError.
    """
    counts = {key: count for key, name in _COUNTS.items() if (count := getattr(body, name)) is not None}
    told, is_one = _told_spread(body), counts.get("shards", 1) == 1 and counts.get("replicas", 1) == 1
    if told is False and not is_one:
        raise InputError("metadata.littoral.spread: is false, and there are to be several shards or replicas")
    if told is False or (told is None and default is None and is_one):
        return None
    told = {} if told is None else told
    if not isinstance(told, dict):
        raise InputError("metadata.littoral.spread: must be an object with the keys of `spread`, or false")
    if twice := sorted(counts.keys() & told.keys()):
        raise InputError(f"metadata.littoral.spread: `{twice[0]}` is said by `{_COUNTS[twice[0]]}` already")
    base = {} if default is None else {"replicas": default.replicas}
    return _converted({**base, **told, **counts}, SpreadTable, "metadata.littoral.spread")


def config_of(body: CreateBody, spread: SpreadTable | None = None) -> CollectionConfig:
    """What a new collection is made with. Raises InputError, NotOfferedError for a part that we lack."""
    for name in NOT_OFFERED:
        if getattr(body, name):
            raise NotOfferedError(f"body: `{name}` is not offered")
    for name in _COUNTS.values() if spread is None else ():
        if getattr(body, name) not in (None, 1):
            raise NotOfferedError(f"body: `{name}` is {getattr(body, name)}, only 1 is offered")
    unnamed, named = _dense(body.vectors or {})
    sparse = body.sparse_vectors or {}
    _check_names([*named, *sparse])
    if unnamed is None and not named and not sparse:
        raise InputError("vectors: a collection needs at least one")
    return CollectionConfig(
        vectors=unnamed,
        named=named,
        sparse=sparse,
        hnsw=body.hnsw_config,
        optimizers=_optimizers(body.optimizers_config),
        quantization=_checked_quantization(body.quantization_config),
        payload=_placement(body.payload, body.on_disk_payload),
        id_tracker=body.id_tracker,
        metadata=body.metadata,
    )


def _dense(json: Mapping[str, Any]) -> tuple[VectorParams | None, dict[str, VectorParams]]:
    """One without a name, or an object of names ("" is that of none)."""
    if "size" in json and not isinstance(json["size"], dict):
        return _params(json, "vectors"), {}
    named = {name: _params(params, f"vectors.{name[:80]}") for name, params in json.items()}
    return named.pop("", None), named


def _params(json: Any, what: str) -> VectorParams:
    params = _converted(json, VectorParams, what)
    _checked_quantization(params.quantization_config)
    return params


def _checked_quantization(given: Quantization | None) -> Quantization | None:
    if given is not None and len(msgspec.to_builtins(given)) != 1:
        raise InputError("quantization_config: needs exactly one of scalar, product, binary, turbo")
    return given


def _check_names(names: list[str]) -> None:
    if len(names) > VECTOR_COUNT_MAX:
        raise InputError(f"vectors: {len(names)}, at most {VECTOR_COUNT_MAX}")
    for name in names:
        if len(name) > NAME_CHARACTERS_MAX or not name or "/" in name or not name.isprintable():
            raise InputError(f"vectors: name `{name[:80]}` must be 1..{NAME_CHARACTERS_MAX} characters without `/`")
        if names.count(name) > 1:
            raise InputError(f"vectors: `{name}` is both dense and sparse")


def _optimizers(json: Mapping[str, Any] | None) -> OptimizerTuning | None:
    if json is None:
        return None
    given = {name: value for name, value in json.items() if value is not None}
    for name in OPTIMIZER_NOT_OFFERED:
        if name in given:
            raise NotOfferedError(f"optimizers_config: `{name}` is not offered")
    return _converted(given, OptimizerTuning, "optimizers_config")


def _placement(given: Placement | None, on_disk: bool | None) -> Placement | None:
    if given is not None or on_disk is None:
        return given
    return Placement(memory="cold" if on_disk else "cached")


def _converted(json: Any, kind: type[_T], what: str) -> _T:
    try:
        return msgspec.convert(json, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{what}: {error}") from error


def new_vector(name: str, body: NewVectorBody) -> VectorParams | SparseParams:
    """Raises InputError."""
    _check_names([name])
    if (body.dense is None) == (body.sparse is None):
        raise InputError("body: needs exactly one of dense, sparse")
    if body.dense is not None:
        return _params({k: v for k, v in msgspec.to_builtins(body.dense).items() if v is not None}, "dense")
    sparse = body.sparse or _NewSparse()
    index = None if sparse.datatype is None else {"datatype": sparse.datatype}
    return _converted({"modifier": sparse.modifier, "index": index}, SparseParams, "sparse")


def changed_config(config: CollectionConfig, body: UpdateBody) -> CollectionConfig:
    """The configuration with what the body says. Raises InputError, NotOfferedError."""
    if body.strict_mode_config:
        raise NotOfferedError("body: `strict_mode_config` is not offered")
    params = body.params or ParamsChange()
    for name in ("replication_factor", "write_consistency_factor"):
        if getattr(params, name) not in (None, 1):
            raise NotOfferedError(f"params: `{name}` is {getattr(params, name)}, only 1 is offered")
    if params.read_fan_out_factor or params.read_fan_out_delay_ms:
        raise NotOfferedError("params: `read_fan_out_factor` is not offered")
    dense = dict(config.dense)
    for name, change in (body.vectors or {}).items():
        if name not in dense:
            raise InputError(f"vectors: the collection has no vector `{name[:80]}`")
        dense[name] = _changed_vector(dense[name], change)
    for name in body.sparse_vectors or {}:
        if name not in config.sparse:
            raise InputError(f"sparse_vectors: the collection has no vector `{name[:80]}`")
    return msgspec.structs.replace(
        config,
        vectors=dense.pop("", None),
        named=dense,
        sparse={name: (body.sparse_vectors or {}).get(name, kept) for name, kept in config.sparse.items()},
        hnsw=_merged(config.hnsw, body.hnsw_config),
        optimizers=_merged(config.optimizers, _optimizers(body.optimizers_config)),
        quantization=_changed_quantization(config.quantization, body.quantization_config),
        payload=_placement(params.payload, params.on_disk_payload) or config.payload,
        id_tracker=params.id_tracker or config.id_tracker,
        metadata=config.metadata if body.metadata is None else {**(config.metadata or {}), **body.metadata},
    )


def changed_spread(config: CollectionConfig, body: UpdateBody) -> CollectionConfig:
    """As `changed_config`, of a collection that is spread: where its shards lie is changed in another way."""
    params = body.params or ParamsChange()
    counted = params.replication_factor is not None or params.write_consistency_factor is not None
    if counted or "littoral" in (body.metadata or {}):
        raise NotOfferedError(
            "body: where shards lie is not changed with options",
            hint="`littoral mesh spread`, or POST /api/mesh/changes",
        )
    return changed_config(config, body)


def _changed_vector(params: VectorParams, change: VectorChange) -> VectorParams:
    memory = params.memory if change.memory is None else change.memory
    changed = msgspec.structs.replace(
        params,
        hnsw_config=_merged(params.hnsw_config, change.hnsw_config),
        quantization_config=_changed_quantization(params.quantization_config, change.quantization_config),
        on_disk=params.on_disk if change.on_disk is None else change.on_disk,
        memory=memory,
    )
    return _params(msgspec.to_builtins(changed), "vectors")


def _changed_quantization(kept: Quantization | None, change: Any) -> Quantization | None:
    if change is None:
        return kept
    return (
        None if change == "Disabled" else _checked_quantization(_converted(change, Quantization, "quantization_config"))
    )


def _merged(kept: _T | None, change: _T | None) -> _T | None:
    if kept is None or change is None:
        return kept if change is None else change
    given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not None}
    return msgspec.structs.replace(kept, **given)


HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, "max_indexing_threads": 0, "on_disk": False}
OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "indexing_threshold": 20_000,
    "flush_interval_sec": 5,
}


def description(config: CollectionConfig, info: ShardInfo, spread: Mapping[str, object]) -> object:
    """What `GET /collections/{c}` says; options that were not given are told as the store's defaults. spread: of one
    that lies on several nodes.
    """
    dense = msgspec.to_builtins(config.dense)
    params = {
        "vectors": dense[""] if list(dense) == [""] else dense,
        "shard_number": 1,
        "replication_factor": 1,
        "write_consistency_factor": 1,
        "on_disk_payload": config.payload is None or config.payload.memory == "cold",
    } | dict(spread)
    if config.sparse:
        params["sparse_vectors"] = msgspec.to_builtins(config.sparse)
    told = {
        "params": params,
        "hnsw_config": HNSW | (msgspec.to_builtins(config.hnsw) if config.hnsw else {}),
        "optimizer_config": OPTIMIZERS | (msgspec.to_builtins(config.optimizers) if config.optimizers else {}),
        "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
        "quantization_config": None if config.quantization is None else msgspec.to_builtins(config.quantization),
    }
    if config.metadata is not None:
        told["metadata"] = config.metadata
    return {
        "status": "yellow" if info.is_optimizing else "green",
        "optimizer_status": "ok",
        "points_count": info.points_count,
        "indexed_vectors_count": info.indexed_vectors_count,
        "segments_count": info.segments_count,
        "config": told,
        "payload_schema": info.payload_schema,
    }
