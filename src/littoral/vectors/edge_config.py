"""Our configurations of collections and indexes as the classes of Qdrant Edge."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import qdrant_edge as edge

from littoral.errors import InputError
from littoral.vectors.indexes import OPTIONS, IndexParams, Stemmer, Stopwords
from littoral.vectors.records import CollectionConfig, FieldSchema, IndexInfo, VectorParams
from littoral.vectors.tuning import HnswTuning, OptimizerTuning, Quantization, SparseIndex, SparseParams

__all__ = ["config", "dense_vector", "index", "index_info", "sparse_vector", "vector_creation"]

HNSW_M = 16
HNSW_EF_CONSTRUCT = 100
HNSW_FULL_SCAN_KB = 10_000


def config(own: CollectionConfig) -> Any:
    """One search thread: the other cores are for inference."""
    return edge.EdgeConfig(
        vectors={name: dense_vector(params) for name, params in own.dense.items()},
        sparse_vectors={name: sparse_vector(params) for name, params in own.sparse.items()},
        hnsw_config=_hnsw(own.hnsw),
        quantization_config=_quantization(own.quantization),
        optimizers=_optimizers(own.optimizers),
        payload_memory=_memory(own.payload.memory if own.payload else None),
        id_tracker_memory=_memory(own.id_tracker.memory if own.id_tracker else None),
        max_search_threads=1,
    )


def dense_vector(own: VectorParams) -> Any:
    return edge.EdgeVectorParams(
        size=own.size,
        distance=getattr(edge.Distance, own.distance),
        on_disk=own.on_disk,
        multivector_config=_multivector(own),
        datatype=own.datatype and getattr(edge.VectorStorageDatatype, own.datatype.capitalize()),
        quantization_config=_quantization(own.quantization_config),
        hnsw_config=_hnsw(own.hnsw_config),
        memory=_memory(own.memory),
    )


def sparse_vector(own: SparseParams) -> Any:
    index = own.index or SparseIndex()
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=index.full_scan_threshold,
        on_disk=index.on_disk,
        modifier=edge.Modifier.Idf if own.modifier == "idf" else None,
        datatype=index.datatype and getattr(edge.VectorStorageDatatype, index.datatype.capitalize()),
        memory=_memory(index.memory),
    )


def _multivector(own: VectorParams) -> Any:
    return None if own.multivector_config is None else edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)


def vector_creation(name: str, own: VectorParams | SparseParams) -> Any:
    """The operation that adds a vector to points that are there already."""
    made = dense_vector(own) if isinstance(own, VectorParams) else sparse_vector(own)
    if isinstance(own, VectorParams):
        return edge.UpdateOperation.create_dense_vector(
            name, own.size, made.distance, made.multivector_config, made.datatype
        )
    return edge.UpdateOperation.create_sparse_vector(name, made.modifier, made.datatype)


def _memory(own: str | None) -> Any:
    return None if own is None else getattr(edge.Memory, own.capitalize())


def _hnsw(own: HnswTuning | None) -> Any:
    if own is None:
        return None
    return edge.HnswIndexConfig(
        m=HNSW_M if own.m is None else own.m,
        ef_construct=own.ef_construct or HNSW_EF_CONSTRUCT,
        full_scan_threshold=HNSW_FULL_SCAN_KB if own.full_scan_threshold is None else own.full_scan_threshold,
        max_indexing_threads=own.max_indexing_threads or 0,
        on_disk=own.on_disk,
        payload_m=own.payload_m,
        inline_storage=own.inline_storage,
        memory=_memory(own.memory),
    )


def _optimizers(own: OptimizerTuning | None) -> Any:
    return None if own is None else edge.EdgeOptimizersConfig(**_given(own))


def _quantization(own: Quantization | None) -> Any:
    if own is None:
        return None
    if (scalar := own.scalar) is not None:
        return edge.ScalarQuantizationConfig(
            type=edge.ScalarType.Int8,
            quantile=scalar.quantile,
            always_ram=scalar.always_ram,
            memory=_memory(scalar.memory),
        )
    if (product := own.product) is not None:
        return edge.ProductQuantizationConfig(
            compression=getattr(edge.CompressionRatio, product.compression.upper()),
            always_ram=product.always_ram,
            memory=_memory(product.memory),
        )
    if (binary := own.binary) is not None:
        return edge.BinaryQuantizationConfig(
            always_ram=binary.always_ram,
            memory=_memory(binary.memory),
            encoding=_named(edge.BinaryQuantizationEncoding, binary.encoding),
            query_encoding=_named(edge.BinaryQuantizationQueryEncoding, binary.query_encoding),
        )
    if (turbo := own.turbo) is not None:
        return edge.TurboQuantQuantizationConfig(
            always_ram=turbo.always_ram,
            memory=_memory(turbo.memory),
            bits=turbo.bits and getattr(edge.TurboQuantBitSize, turbo.bits.capitalize()),
        )
    raise InputError("quantization_config: needs exactly one of scalar, product, binary, turbo")


def _named(kind: Any, own: str | None) -> Any:
    """`one_and_half_bits` is `OneAndHalfBits` there."""
    return None if own is None else getattr(kind, "".join(word.capitalize() for word in own.split("_")))


def index(own: FieldSchema | IndexParams) -> Any:
    """What the store makes an index with. Raises InputError for a language it does not know."""
    if isinstance(own, str):
        return getattr(edge.PayloadSchemaType, own.capitalize())
    options = {name: _OPTIONS.get(name, _as_is)(value) for name, value in _given(own).items() if name != "type"}
    return getattr(edge, f"{own.type.capitalize()}IndexParams")(**options)


def _as_is(value: Any) -> Any:
    return value


def _stopwords(own: str | Stopwords) -> Any:
    if isinstance(own, str):
        return _language(edge.Language, own)
    languages = None if own.languages is None else {_language(edge.Language, name) for name in own.languages}
    return edge.StopwordsSet(languages, None if own.custom is None else set(own.custom))


def _stemmer(own: Stemmer) -> Any:
    if own.type == "none":
        return edge.DisabledStemmer()
    return edge.SnowballParams(_language(edge.SnowballLanguage, own.language or ""))


def _language(kind: Any, name: str) -> Any:
    if not name.isalpha() or (found := getattr(kind, name.capitalize(), None)) is None:
        raise InputError(f"field_schema: language `{name[:40]}` is unknown")
    return found


_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "memory": _memory,
    "tokenizer": lambda name: getattr(edge.TokenizerType, name.capitalize()),
    "stopwords": _stopwords,
    "stemmer": _stemmer,
    "scoring": bool,
}


def index_info(found: Any) -> IndexInfo:
    """`PayloadSchemaType.Integer` is no Python enum: its name is only in its text."""
    schema: FieldSchema = _name_of(found.data_type)  # type: ignore[assignment]
    if found.params is None:
        return IndexInfo(schema, found.points)
    told = {name: _told(value) for name in OPTIONS[schema] if (value := getattr(found.params, name)) is not None}
    return IndexInfo(schema, found.points, {"type": schema, **dict(sorted(told.items()))})


def _told(value: Any) -> Any:
    match value:
        case bool() | int() | str():
            return value
        case edge.StopwordsSet():
            languages = None if value.languages is None else sorted(map(_name_of, value.languages))
            return {"languages": languages, "custom": None if value.custom is None else sorted(value.custom)}
        case edge.SnowballParams():
            return {"type": "snowball", "language": _name_of(value.language)}
        case edge.DisabledStemmer():
            return {"type": "none"}
        case edge.TextScoringParams():
            return {"type": _name_of(value.type)}
    return _name_of(value)


def _name_of(value: Any) -> str:
    return str(value).rpartition(".")[2].lower()


def _given(own: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name in own.__struct_fields__ if (value := getattr(own, name)) is not None}
