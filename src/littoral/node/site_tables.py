"""The tables of a site file, as structs: names, types, bounds and, for people, what each key means."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from littoral.errors import SettingError
from littoral.node.audit_tables import AuditTable
from littoral.node.encryption_tables import EncryptedTable, EncryptionTable
from littoral.node.gateway_tables import GatewayTable, TenantGatewayTable
from littoral.node.mesh_tables import MeshTable, SpreadTable
from littoral.node.migrate_tables import MODELS_MAX, MigrateTable
from littoral.node.model_files import NUMBER_MAX
from littoral.node.mqtt_tables import MqttTable
from littoral.node.placement_tables import PlacementTable
from littoral.node.quota_table import QuotaTable
from littoral.node.signature_tables import SignaturesTable
from littoral.node.site_problems import DIGEST_PATTERN, NAME_PATTERN, Place
from littoral.node.telemetry_tables import TelemetryTable
from littoral.node.updates_tables import UpdatesTable
from littoral.runtime.host.options import OPTIONS, HostOptions, PlacedTable
from littoral.runtime.quarantine import QuarantineLimits
from littoral.tables.serving import AuthTable, BeyondLoopback, TlsTable
from littoral.vectors.filters import parse_filter
from littoral.vectors.queries import RESULT_COUNT_MAX, parse_params, parse_selector
from littoral.vectors.records import VECTOR_SIZE_MAX, CollectionConfig, Distance, VectorParams
from littoral.vectors.tuning import MultiVector, SparseParams

if TYPE_CHECKING:
    from littoral.vectors.collection import QueryOptions

__all__ = [
    "ALL_STEP_TABLES",
    "ENTRIES_MAX",
    "STEPS_MAX",
    "STEP_TABLES",
    "TABLES",
    "AgentStepTable",
    "AgentTable",
    "BatchTable",
    "CacheTable",
    "CollectionTable",
    "ForEachStepTable",
    "InstancesTable",
    "LimitsTable",
    "ModelStepTable",
    "ModelTable",
    "NodeTable",
    "PipelineTable",
    "RepositoryTable",
    "SearchStepTable",
    "SequencesTable",
    "StepTable",
    "TenantTable",
    "UpsertStepTable",
    "VectorTable",
    "check_vectors",
]

ENTRIES_MAX = 64
VECTOR_COUNT_MAX = 64
STEPS_MAX = 16
INSTANCES_MAX = 64
DAY_MS = 24 * 3600 * 1000

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Digest = Annotated[str, Meta(pattern=DIGEST_PATTERN)]
NonEmpty = Annotated[str, Meta(min_length=1, max_length=4096)]
VersionNumber = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
InstanceCount = Annotated[int, Meta(ge=1, le=INSTANCES_MAX)]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of the tables: an unknown key is an error."""


class NodeTable(_Table, frozen=True):
    """The machine itself."""

    name: Annotated[Name, Meta(description="Name in every answer's `how`")] = "littoral"
    listen: Annotated[NonEmpty, Meta(description="Address and port of the HTTP interface; port 0 = any free one")] = (
        "127.0.0.1:8642"
    )
    grpc: Annotated[
        str | None, Meta(description="Address and port of the gRPC interface; default: none (extra `littoral[grpc]`)")
    ] = None
    data: Annotated[NonEmpty, Meta(description="Folder of the collections, made if missing")] = "data"
    origins: Annotated[
        list[str], Meta(max_length=ENTRIES_MAX, description="Of pages elsewhere that may ask this node")
    ] = []
    hosts: Annotated[
        list[Annotated[str, Meta(pattern=r"^[a-zA-Z0-9.-]{1,253}$")]],
        Meta(max_length=ENTRIES_MAX, description="Names, with a dot, that this node is asked by"),
    ] = []
    beyond_loopback: Annotated[
        BeyondLoopback, Meta(description="What may be lacking where others than this machine reach the node")
    ] = "with token and TLS"
    memory_mb: Annotated[
        int | None, Meta(description="That all instances of models and agents may take, in MiB; default: no bound")
    ] = None


class InstancesTable(_Table, frozen=True):
    """Warm instances: kept, and made at most."""

    min: Annotated[InstanceCount, Meta(description="Kept warm")] = 1
    max: Annotated[InstanceCount, Meta(description="Made at most, when calls come together")] = 1


class BatchTable(_Table, frozen=True):
    """Requests that meet, computed together; for models with variants of several batch sizes."""

    max: Annotated[int, Meta(ge=1, le=256, description="Items in one run; 1 = each request by itself")] = 1
    window_ms: Annotated[
        float, Meta(ge=0, le=1000, description="Longest wait for others, while others come; never when alone")
    ] = 2.0


class SequencesTable(_Table, frozen=True):
    """Bounds of the sequences whose state a model's node keeps."""

    max: Annotated[int, Meta(ge=1, le=65_536, description="Sequences open at a time")] = 256
    idle_s: Annotated[float, Meta(gt=0, le=86_400, description="A sequence is forgotten after this pause")] = 60.0


class ModelTable(_Table, frozen=True):
    """A compiled model."""

    path: Annotated[
        NonEmpty,
        Meta(description="File of `littoral build`, folder `1/model.wasm`, `2/…`, or `fleet:NAME`: of deployments"),
    ]
    versions: Annotated[
        Literal["latest", "all"] | list[VersionNumber],
        Meta(description="Of a folder, those that are open: `latest`, `all` or numbers"),
    ] = "latest"
    sha256: Annotated[Digest | None, Meta(description="Digest that the file must have")] = None
    warm: Annotated[bool, Meta(description="A version that replaces another is run on zeros first")] = True
    state: Annotated[
        dict[str, str], Meta(max_length=16, description="Input to output: what a sequence feeds back")
    ] = {}
    sequences: Annotated[SequencesTable, Meta(description="Bounds of the sequences")] = SequencesTable()
    instances: Annotated[InstancesTable, Meta(description="How many at once")] = InstancesTable()
    batch: Annotated[BatchTable, Meta(description="Requests computed together")] = BatchTable()
    pipeline: Annotated[
        bool, Meta(description="Whether `preprocess` in its manifest makes a pipeline of the model's name")
    ] = True
    quarantine: Annotated[QuarantineLimits, Meta(description="When it fails again and again")] = QuarantineLimits()


class CompileTable(_Table, frozen=True):
    """What making machine code of a module from elsewhere may take."""

    code_mb: Annotated[int, Meta(ge=1, le=64, description="Code of the module, in MiB")] = 16
    memory_mb: Annotated[int, Meta(ge=64, le=16384, description="Memory of its compiler, in MiB")] = 2048
    time_s: Annotated[int, Meta(ge=1, le=3600, description="Time of its compiler")] = 120


class AgentTable(_Table, frozen=True):
    """An agent in its sandbox."""

    path: Annotated[
        NonEmpty,
        Meta(description="File, `builtin:NAME` for one of the package, or `fleet:NAME`: what deployments bring"),
    ]
    sha256: Annotated[Digest | None, Meta(description="Digest that the file must have")] = None
    config: Annotated[dict[str, Any], Meta(description="What the agent's `init` gets, as JSON")] = {}
    files: Annotated[
        dict[Name, NonEmpty], Meta(max_length=16, description="Files that `init` gets beside `config`, by name")
    ] = {}
    memory_mb: Annotated[int | None, Meta(description="Memory cap, 1..1024; default: the agent's own")] = None
    deadline_ms: Annotated[int | None, Meta(description="Of one call; default: the agent's own")] = None
    grants: Annotated[list[str], Meta(max_length=16, description="Imports that it may have")] = []
    compile: Annotated[CompileTable, Meta(description="Bounds of its compilation")] = CompileTable()
    instances: Annotated[InstancesTable, Meta(description="How many at once")] = InstancesTable()
    quarantine: Annotated[QuarantineLimits, Meta(description="When it fails again and again")] = QuarantineLimits()


class AgentStepTable(PlacedTable, frozen=True, kw_only=True):
    """Asks an agent."""

    agent: Annotated[str, Meta(description="An agent of this file")]


class ModelStepTable(PlacedTable, frozen=True, kw_only=True):
    """Runs a model."""

    model: Annotated[str, Meta(description="A model of this file")]
    take: Annotated[str | list[str] | None, Meta(description="Outputs that go on; default: all")] = None


class ForEachStepTable(PlacedTable, frozen=True, kw_only=True):
    """Does the same for every row of what it is given."""

    for_each: Annotated[
        list[dict[str, Any]], Meta(min_length=1, max_length=STEPS_MAX, description="Steps, for one row")
    ]
    max: Annotated[int, Meta(ge=1, le=1024, description="Most rows; more are an error")] = 64
    parallel: Annotated[int, Meta(ge=1, le=64, description="Rows at one time")] = 4


class SearchStepTable(PlacedTable, frozen=True, kw_only=True):
    """Finds the nearest points of a collection."""

    search: Annotated[str, Meta(description="A collection of this file")]
    using: Annotated[str, Meta(description="The vector that is compared, by its name; default: the one without")] = ""
    limit: Annotated[int, Meta(ge=1, le=RESULT_COUNT_MAX, description="How many hits")] = 10
    with_payload: Annotated[
        bool | list[str] | dict[str, Any], Meta(description="All of it, none, or some keys, as in a query")
    ] = True
    score_threshold: Annotated[float | None, Meta(description="Hits beyond it are left out")] = None
    filter: Annotated[dict[str, Any] | None, Meta(description="As in a query")] = None
    recall: Annotated[
        Annotated[float, Meta(ge=0.5, le=1)] | None,
        Meta(description="That is enough, where the collection is spread; default: the collection's"),
    ] = None
    params: Annotated[dict[str, Any], Meta(description="As in a query; `exact` is true unless set")] = msgspec.field(
        default_factory=dict
    )

    def options(self) -> "QueryOptions":
        """What a query says beside its vector. Raises RequestError for what no query may say."""
        return {
            "limit": self.limit,
            "with_payload": parse_selector(self.with_payload),
            "score_threshold": self.score_threshold,
            "matching": parse_filter(self.filter),
            "params": parse_params({"exact": True} | self.params),
            "using": self.using,
        }


class UpsertStepTable(PlacedTable, frozen=True, kw_only=True):
    """Writes a point, durable before the answer."""

    upsert: Annotated[str, Meta(description="A collection of this file")]
    vector: Annotated[str, Meta(description="The vector that is written, by its name; default: the one without")] = ""
    id: Annotated[
        Literal["message", "digest"], Meta(description="Of the point: the message's, if it has one, or of its content")
    ] = "message"
    payload: Annotated[
        dict[str, Any],
        Meta(description="Of the point; may hold `{input}` (a text), `{id}`, `{digest}`, `{topic}`, `{time}`, `{1}` …"),
    ] = msgspec.field(default_factory=dict)


StepTable = AgentStepTable | ModelStepTable | HostOptions | SearchStepTable | UpsertStepTable | ForEachStepTable

STEP_TABLES: Mapping[str, type[StepTable]] = {
    "agent": AgentStepTable,
    "model": ModelStepTable,
    "step": HostOptions,
    "search": SearchStepTable,
    "upsert": UpsertStepTable,
    "for_each": ForEachStepTable,
}
"""A step's table, by the key that says what kind it is; `step` has one for each of `OPTIONS`."""

ALL_STEP_TABLES: Mapping[str, type[PlacedTable]] = {
    **{f"step {name}": table for name, table in STEP_TABLES.items() if name != "step"},
    **OPTIONS,
}
"""By name, for people."""


VectorName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^/\x00-\x1f]+$")]


Models = str | Annotated[list[str], Meta(min_length=1, max_length=MODELS_MAX)]


class VectorTable(_Table, frozen=True):
    """A vector of a point."""

    size: Annotated[int, Meta(ge=1, le=VECTOR_SIZE_MAX, description="Numbers of a vector")]
    distance: Annotated[Distance, Meta(description="`Cosine`, `Dot`, `Euclid` or `Manhattan`")]
    is_multi: Annotated[
        bool, Meta(description="Several vectors a point; nearness is the sum of each one's best (`max_sim`)")
    ] = msgspec.field(default=False, name="multi")
    model: Annotated[Models, Meta(description="Whose embeddings this vector is; default: the collection's `model`")] = (
        ""
    )

    def params(self) -> VectorParams:
        """What a collection with it is made with."""
        multi = MultiVector("max_sim") if self.is_multi else None
        return VectorParams(self.size, self.distance, multivector_config=multi)


class CollectionTable(_Table, frozen=True):
    """A collection that is made if it is not there; with options of its store it is made over HTTP."""

    vectors: VectorTable | None = None
    named: Annotated[
        dict[VectorName, VectorTable],
        Meta(max_length=VECTOR_COUNT_MAX, description="By name, vectors with the keys of `vectors`"),
    ] = {}
    sparse: Annotated[list[VectorName], Meta(max_length=VECTOR_COUNT_MAX, description="Names of sparse vectors")] = []
    model: Annotated[
        Models,
        Meta(description="Whose embeddings it holds: a model of this file, `NAME@NUMBER`, or several of one space"),
    ] = ""
    is_strict: Annotated[bool, Meta(description="Vectors whose model is not told are refused, with requests too")] = (
        msgspec.field(default=False, name="strict")
    )
    migrate: MigrateTable | None = None
    spread: SpreadTable | None = None
    encrypted: EncryptedTable | None = None

    def config(self) -> CollectionConfig:
        """What it is made with, apart from its models."""
        plain = None if self.vectors is None else self.vectors.params()
        named = {name: vector.params() for name, vector in self.named.items()}
        return CollectionConfig(plain, named, {name: SparseParams() for name in self.sparse})

    @property
    def dense(self) -> Mapping[str, VectorTable]:
        """All that are not sparse, by name; the one without a name is ""."""
        return self.named if self.vectors is None else {"": self.vectors, **self.named}

    @property
    def declared_models(self) -> Mapping[str | None, list[str]]:
        """As the file says them, by vector; None: of all that do not say their own. What is not said is not there."""
        said: dict[str | None, str | list[str]] = {None: self.model}
        said |= {name: vector.model for name, vector in self.dense.items()}
        listed = {name: [models] if isinstance(models, str) else models for name, models in said.items()}
        return {name: found for name, models in listed.items() if (found := [model for model in models if model])}

    def plain(self, vector: str = "") -> VectorTable:
        """The vector of this name, "" = the one without. Raises SettingError where it is none of one row of numbers."""
        plain = {name: table for name, table in self.dense.items() if not table.is_multi}
        if (found := plain.get(vector)) is not None:
            return found
        called = f"`{vector[:80]}`" if vector else "without a name"
        known = ", ".join(f"`{name}`" if name else "that without a name" for name in plain)
        raise SettingError(
            f"the collection has no plain vector {called}, which pipelines search and write",
            hint=f"it has: {known or 'none'}",
        )


def check_vectors(table: CollectionTable, place: Place) -> None:
    """Raises SettingError."""
    if table.vectors is None and not table.named and not table.sparse:
        raise (place / "vectors").about("is missing", hint="or give vectors names: `named`, `sparse`")
    if twice := [name for at, name in enumerate(table.sparse) if name in {*table.named, *table.sparse[:at]}]:
        raise (place / "sparse").wrong(twice[0], "a name that no other vector has")
    if table.migrate is not None:
        _check_ways(table, table.migrate, place / "migrate")


def _check_ways(table: CollectionTable, migrate: MigrateTable, place: Place) -> None:
    if (migrate.source is None) != (migrate.pipeline is None):
        raise (place / ("pipeline" if migrate.pipeline is None else "source")).about("is missing")
    if not migrate.ways:
        raise (place / "source").about("is missing", hint="or say it of vectors with names: `migrate.named`")
    plain = [name for name, vector in table.dense.items() if not vector.is_multi]
    for vector in migrate.ways:
        if vector not in plain:
            called = f"`{vector}`" if vector else "without a name"
            raise (place / "named" / vector if vector else place / "source").about(
                f"is of a vector {called}, and the collection has no such plain one",
                hint="it has: "
                + (", ".join(f"`{name}`" if name else "one without a name" for name in plain) or "none"),
            )


class PipelineTable(_Table, frozen=True):
    """Steps, each of which takes from those before it."""

    steps: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=STEPS_MAX, description="In order")]


class RepositoryTable(_Table, frozen=True):
    """How new versions of models are found."""

    watch_s: Annotated[
        float, Meta(ge=0, le=3600, description="Files of models are looked at so often; 0 = only when asked")
    ] = 0.0


class CacheTable(_Table, frozen=True):
    """What a node need not compute twice; 0 = off."""

    embeddings_mb: Annotated[int, Meta(ge=0, le=16_384, description="Memory for embeddings by their content")] = 32
    disk_mb: Annotated[
        int,
        Meta(ge=0, le=16_384, description="Disk, below `node.data`, for what that memory holds: it survives a restart"),
    ] = 0
    results_mb: Annotated[int, Meta(ge=0, le=16_384, description="Memory for answers to the same search")] = 16
    near_mb: Annotated[
        int,
        Meta(ge=0, le=16_384, description="Memory for lists that prove answers to near searches, made beside requests"),
    ] = 0


class LimitsTable(_Table, frozen=True):
    """What the HTTP interface takes."""

    body_bytes_max: Annotated[int, Meta(ge=1024, le=1 << 30, description="Largest body of a request, in bytes")] = (
        16 << 20
    )
    body_s: Annotated[float, Meta(ge=0.1, le=3600, description="Longest time for a body to arrive, in seconds")] = 20.0
    header_bytes_max: Annotated[int, Meta(ge=8192, le=1 << 20, description="Largest head of a request, in bytes")] = (
        64 << 10
    )
    connection_count_max: Annotated[int, Meta(ge=1, le=65_536, description="Connections at a time")] = 512
    handshake_count_max: Annotated[
        int, Meta(ge=1, le=65_536, description="TLS handshakes at a time; the oldest has to go for one more")
    ] = 128
    handshake_address_count_max: Annotated[
        int, Meta(ge=1, le=65_536, description="Of these, from one address, of IPv6 from one network of 64 bits")
    ] = 32


class TenantTable(_Table, frozen=True):
    """Somebody with collections, caches, tokens and quotas of their own."""

    name: Annotated[Name, Meta(description="As tokens and metrics have it")]
    models: Annotated[list[str], Meta(max_length=ENTRIES_MAX, description="Models of this file that it may ask")] = []
    pipelines: Annotated[
        list[str],
        Meta(max_length=ENTRIES_MAX, description="Pipelines of this file that it may ask, on collections of its own"),
    ] = []
    collections: Annotated[
        dict[Name, CollectionTable], Meta(max_length=ENTRIES_MAX, description="Made if they are not there")
    ] = {}
    quota: Annotated[QuotaTable, Meta(description="What it may use")] = QuotaTable()
    gateway: Annotated[
        TenantGatewayTable | None, Meta(description="What it has of the table `gateway`; default: nothing")
    ] = None


TABLES: Mapping[str, type[msgspec.Struct]] = {
    "node": NodeTable,
    "models": ModelTable,
    "agents": AgentTable,
    "collections": CollectionTable,
    "pipelines": PipelineTable,
    "limits": LimitsTable,
    "repository": RepositoryTable,
    "cache": CacheTable,
    "mqtt": MqttTable,
    "auth": AuthTable,
    "tls": TlsTable,
    "mesh": MeshTable,
    "placement": PlacementTable,
    "signatures": SignaturesTable,
    "telemetry": TelemetryTable,
    "encryption": EncryptionTable,
    "audit": AuditTable,
    "tenants": TenantTable,
    "updates": UpdatesTable,
    "gateway": GatewayTable,
}
"""Top-level tables; `models`, `agents`, `collections` and `pipelines` have one for each name, `tenants` is a list."""
