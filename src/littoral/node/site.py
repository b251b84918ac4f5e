"""The site file: one TOML file says what a node runs (docs/reference/site-file.md).

Unknown keys are errors. Everything that can be known from the file alone is checked here; what needs models and agents
is checked where they are opened (`wiring`).
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from littoral.errors import NotFoundError, RequestError, SettingError
from littoral.node.audit_tables import AuditTable
from littoral.node.encryption_tables import EncryptionTable, check_encrypted, check_encryption
from littoral.node.gateway_tables import GatewayTable, check_gateway, check_plain_keys
from littoral.node.mesh_tables import MeshTable, check_mesh
from littoral.node.migrate_tables import check_models
from littoral.node.mqtt_tables import MqttTable, check_mqtt
from littoral.node.payload_places import check_payload_places
from littoral.node.placement_checks import check_placement
from littoral.node.placement_tables import PlacementTable
from littoral.node.signature_tables import SignaturesTable
from littoral.node.site_problems import NAME_PATTERN, PATTERNS, Place, nearest_hint
from littoral.node.site_tables import (
    ENTRIES_MAX,
    STEP_TABLES,
    TABLES,
    AgentStepTable,
    AgentTable,
    CacheTable,
    CollectionTable,
    ForEachStepTable,
    LimitsTable,
    ModelStepTable,
    ModelTable,
    NodeTable,
    PipelineTable,
    RepositoryTable,
    SearchStepTable,
    StepTable,
    TenantTable,
    UpsertStepTable,
    check_vectors,
)
from littoral.node.telemetry_tables import TelemetryTable, check_telemetry
from littoral.node.tenant_tables import check_tenants, read_tenants
from littoral.node.updates_tables import UpdatesTable, check_updates, delivered_path
from littoral.runtime.builtin_agents import PREFIX
from littoral.runtime.host.options import OPTIONS, Ctc, Draw, HostOptions, TopK
from littoral.tables.addresses import Address, parse_address
from littoral.tables.exposure import Exposure
from littoral.tables.serving import AuthTable, TlsTable

__all__ = ["Address", "Site", "inner_steps", "parse_address", "parse_site", "parse_steps", "read_site"]

FILE_BYTES_MAX = 1 << 20
MEMORY_MB_MAX = 1024
NODE_MEMORY_MB_MAX = 1 << 20
DEADLINE_MS_MAX = 24 * 3600 * 1000
NAME = re.compile(NAME_PATTERN)

_T = TypeVar("_T", bound=msgspec.Struct)


class Site(NamedTuple):
    """What the file says; `pipelines` holds the steps of each. Paths are relative to the file's folder."""

    file: Path
    node: NodeTable
    models: Mapping[str, ModelTable]
    agents: Mapping[str, AgentTable]
    collections: Mapping[str, CollectionTable]
    pipelines: Mapping[str, tuple[StepTable, ...]]
    limits: LimitsTable
    repository: RepositoryTable = RepositoryTable()
    mqtt: MqttTable | None = None
    cache: CacheTable = CacheTable()
    mesh: MeshTable | None = None
    placement: PlacementTable | None = None
    auth: AuthTable | None = None
    tls: TlsTable | None = None
    signatures: SignaturesTable | None = None
    telemetry: TelemetryTable = TelemetryTable()
    encryption: EncryptionTable | None = None
    audit: AuditTable | None = None
    tenants: Sequence[TenantTable] = ()
    updates: UpdatesTable | None = None
    gateway: GatewayTable | None = None

    @property
    def listen(self) -> Address:
        return parse_address(self.node.listen)

    def listening_at(self, address: Address) -> "Site":
        """The same site at another address. Raises SettingError for one that others reach and should not."""
        _check_exposure(self, address, Place(str(self.file)) / "node" / "listen")
        return self._replace(node=msgspec.structs.replace(self.node, listen=str(address)))

    @property
    def scheme(self) -> str:
        """Of the addresses that it is asked at."""
        return "http" if self.tls is None else "https"

    @property
    def data(self) -> Path:
        return self.path_of(self.node.data)

    def path_of(self, path: str) -> Path:
        """A path of the file, from where this process is; of `fleet:NAME` the folder that deployments fill."""
        delivered = delivered_path(path, "models")
        return self.file.absolute().parent / path if delivered is None else self.data / delivered

    def agent_path(self, agent: AgentTable) -> str:
        """As `path_of`; `builtin:NAME` stays as it is."""
        if (delivered := delivered_path(agent.path, "agents")) is not None:
            return str(self.data / delivered)
        return agent.path if agent.path.startswith(PREFIX) else str(self.path_of(agent.path))


def read_site(path: Path) -> Site:
    """The checked site file. Raises NotFoundError, and SettingError for the first thing that is wrong in it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise NotFoundError(f"site file `{path}`: {error.strerror}") from error
    return parse_site(data, path)


def parse_site(data: bytes, path: Path) -> Site:
    """As `read_site`, from the file's bytes. path: for messages, and what paths inside are relative to."""
    place = Place(str(path))
    if len(data) > FILE_BYTES_MAX:
        raise place.about(f"over {FILE_BYTES_MAX} bytes")
    try:
        tables = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise place.about(f"is no UTF-8 text: byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise place.about(f"is no TOML: {error}") from error
    except ValueError as error:
        raise place.about("holds a number of thousands of digits") from error
    except RecursionError as error:
        raise place.about("is nested too deep") from error
    for key in tables:
        if key not in TABLES:
            raise place.unknown(key, TABLES)
    check_plain_keys(tables.get("gateway"), place / "gateway")
    return _checked(
        Site(
            path,
            _one(tables.get("node", {}), NodeTable, place / "node"),
            _several(tables, "models", ModelTable, place),
            _several(tables, "agents", AgentTable, place),
            _several(tables, "collections", CollectionTable, place),
            {
                name: _steps(table.steps, place / "pipelines" / name / "steps")
                for name, table in _several(tables, "pipelines", PipelineTable, place).items()
            },
            _one(tables.get("limits", {}), LimitsTable, place / "limits"),
            _one(tables.get("repository", {}), RepositoryTable, place / "repository"),
            _one(tables["mqtt"], MqttTable, place / "mqtt") if "mqtt" in tables else None,
            _one(tables.get("cache", {}), CacheTable, place / "cache"),
            _one(tables["mesh"], MeshTable, place / "mesh") if "mesh" in tables else None,
            _one(tables["placement"], PlacementTable, place / "placement") if "placement" in tables else None,
            _one(tables["auth"], AuthTable, place / "auth") if "auth" in tables else None,
            _one(tables["tls"], TlsTable, place / "tls") if "tls" in tables else None,
            _one(tables["signatures"], SignaturesTable, place / "signatures") if "signatures" in tables else None,
            _one(tables.get("telemetry", {}), TelemetryTable, place / "telemetry"),
            _one(tables["encryption"], EncryptionTable, place / "encryption") if "encryption" in tables else None,
            _one(tables["audit"], AuditTable, place / "audit") if "audit" in tables else None,
            read_tenants(
                tables.get("tenants", []),
                place / "tenants",
                lambda entry, at: _several(entry, "collections", CollectionTable, at),
            ),
            _one(tables["updates"], UpdatesTable, place / "updates") if "updates" in tables else None,
            _one(tables["gateway"], GatewayTable, place / "gateway") if "gateway" in tables else None,
        ),
        place,
    )


def _one(value: object, table: type[_T], place: Place) -> _T:
    try:
        return msgspec.convert(value, table)
    except msgspec.ValidationError as error:
        raise place.refused(error, value, table) from error


def _several(tables: Mapping[str, Any], kind: str, table: type[_T], place: Place) -> dict[str, _T]:
    entries = tables.get(kind, {})
    place /= kind
    if not isinstance(entries, dict):
        raise place.wrong(entries, f"tables by name, such as `[{kind}.NAME]`")
    if len(entries) > ENTRIES_MAX:
        raise place.about(f"{len(entries)} entries, at most {ENTRIES_MAX}")
    for name in entries:
        if not NAME.fullmatch(name):
            raise place.about(f"name `{name[:80]}`, must be {PATTERNS[NAME_PATTERN]}")
    return {name: _one(entry, table, place / name) for name, entry in entries.items()}


def _steps(steps: Sequence[Mapping[str, Any]], place: Place) -> tuple[StepTable, ...]:
    return tuple(_step(entry, place / index) for index, entry in enumerate(steps))


def parse_steps(steps: Sequence[Mapping[str, Any]], site: Site, place: Place) -> tuple[StepTable, ...]:
    """Steps of a pipeline that is not in the file, checked as those in it. Raises SettingError."""
    tables = _steps(steps, place)
    for index, table in enumerate(tables):
        _check_step(table, site, place / index)
    return tables


def inner_steps(table: ForEachStepTable, place: Place | None = None) -> tuple[StepTable, ...]:
    """The steps for each item. place: for messages; a file that was read has none to tell."""
    return _steps(table.for_each, place or Place(""))


def _step(entry: Mapping[str, Any], place: Place) -> StepTable:
    kinds = [kind for kind in STEP_TABLES if kind in entry]
    if not kinds and len(entry) == 1:
        raise place.unknown(next(iter(entry)), STEP_TABLES)
    if len(kinds) != 1:
        found = ", ".join(f"`{key}`" for key in entry) or "nothing"
        raise place.about(f"has {found}, needs exactly one of {', '.join(STEP_TABLES)}")
    if kinds[0] != "step":
        return _one(entry, STEP_TABLES[kinds[0]], place)
    if (table := OPTIONS.get(kind := str(entry["step"]))) is None:
        raise (place / "step").wrong(kind, f"one of {', '.join(OPTIONS)}")
    return _one(entry, table, place)


def _checked(site: Site, place: Place) -> Site:
    _check_address(site.node.listen, place / "node" / "listen")
    if site.node.grpc is not None:
        _check_address(site.node.grpc, place / "node" / "grpc")
        _check_exposure(site, parse_address(site.node.grpc), place / "node" / "grpc")
    _check_exposure(site, site.listen, place / "node" / "listen")
    for index, origin in enumerate(site.node.origins):
        _check_origin(origin, place / "node" / "origins" / index)
    _check_range(site.node.memory_mb, 1, NODE_MEMORY_MB_MAX, place / "node" / "memory_mb")
    for name, model in site.models.items():
        _check_instances(model, place / "models" / name)
    for name, agent in site.agents.items():
        _check_instances(agent, place / "agents" / name)
        _check_range(agent.memory_mb, 1, MEMORY_MB_MAX, place / "agents" / name / "memory_mb")
        _check_json(agent.config, place / "agents" / name / "config")
        _check_range(agent.deadline_ms, 1, DEADLINE_MS_MAX, place / "agents" / name / "deadline_ms")
    for name, steps in site.pipelines.items():
        for index, step in enumerate(steps):
            _check_step(step, site, place / "pipelines" / name / "steps" / index)
    if site.mqtt is not None:
        check_mqtt(site.mqtt, site.pipelines, place / "mqtt", {table.name: table.pipelines for table in site.tenants})
    if site.mesh is not None:
        _check_address(site.mesh.listen, place / "mesh" / "listen")
        if site.mesh.door is not None:
            _check_address(site.mesh.door, place / "mesh" / "door")
        for name, address in site.mesh.peers.items():
            _check_address(address, place / "mesh" / "peers" / name)
    for name, table in site.collections.items():
        here = place / "collections" / name
        check_vectors(table, here)
        _check_encrypted(table, site, here / "encrypted")
    check_mesh(site.mesh, site.node.name, site.collections, place)
    check_models(site.collections, site.models, site.pipelines, site.agents, place)
    check_placement(site, place, inner_steps)
    check_telemetry(site.telemetry, place / "telemetry")
    check_encryption(site.encryption, place / "encryption")
    check_encryption(site.mesh.encryption if site.mesh is not None else None, place / "mesh" / "encryption")
    check_tenants(site, place / "tenants", inner_steps)
    check_updates(site.updates, site.models, site.agents, place)
    check_gateway(site.gateway, site.pipelines, place / "gateway")
    return site


def _check_address(text: str, place: Place) -> None:
    try:
        parse_address(text)
    except SettingError as error:
        raise place.wrong(text, "HOST:PORT, such as `127.0.0.1:8642` or `[::1]:8642`") from error


def _check_encrypted(table: CollectionTable, site: Site, place: Place) -> None:
    if table.spread is None:
        check_encrypted(table.encrypted, site.encryption, place)
        return
    keys = None if site.mesh is None else site.mesh.encryption
    check_encrypted(table.encrypted, keys, place, keys="mesh.encryption", region=table.spread.region)


def _check_exposure(site: Site, address: Address, place: Place) -> None:
    exposure = Exposure(site.auth is not None, site.tls is not None, site.node.beyond_loopback)
    if (refusal := exposure.refusal(address.host)) is not None:
        told, hint = refusal
        raise place.about(f"at `{address}` {told}", hint=hint)


def _check_origin(text: str, place: Place) -> None:
    from littoral.web.origins import check_origin_text  # a supervisor reads this file too, and serves nothing

    try:
        check_origin_text(text)
    except SettingError as error:
        raise place.wrong(text, "an origin as browsers send it, such as `https://shop.example`") from error


def _check_instances(table: ModelTable | AgentTable, place: Place) -> None:
    if table.instances.max < table.instances.min:
        raise (place / "instances" / "max").wrong(
            table.instances.max, f"at least `instances.min`, which is {table.instances.min}"
        )


def _check_json(config: Mapping[str, Any], place: Place) -> None:
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise place.about("holds what JSON has not: a date, a time, nan or inf") from error


def _check_range(value: int | None, least: int, most: int, place: Place) -> None:
    if value is not None and not least <= value <= most:
        raise place.wrong(value, f"{least}..{most}")


def _check_step(step: StepTable, site: Site, place: Place) -> None:
    match step:
        case AgentStepTable():
            _check_known(step.agent, site.agents, "an agent of this file", place / "agent")
        case ModelStepTable():
            _check_known(step.model, site.models, "a model of this file", place / "model")
        case TopK() | Draw() | Ctc() if isinstance(step.labels, str):
            _check_known(step.labels, site.models, "a model of this file", place / "labels")
        case HostOptions():
            pass
        case ForEachStepTable():
            for index, inner in enumerate(inner_steps(step, place / "for_each")):
                if isinstance(inner, ForEachStepTable):
                    raise (place / "for_each" / index).about("stands in a `for_each` already")
                _check_step(inner, site, place / "for_each" / index)
        case SearchStepTable():
            _check_plain(step.search, step.using, site, place, ("search", "using"))
            try:
                step.options()
            except RequestError as error:
                raise place.about(error.message) from error
        case UpsertStepTable():
            _check_plain(step.upsert, step.vector, site, place, ("upsert", "vector"))
            _check_json(step.payload, place / "payload")
            try:
                check_payload_places(step.payload)
            except RequestError as error:
                raise (place / "payload").about(error.message) from error


def _check_plain(name: str, vector: str, site: Site, place: Place, keys: tuple[str, str]) -> None:
    """A collection with the vector that a step searches or writes. keys: of the collection, and of the vector."""
    _check_known(name, site.collections, "a collection of this file", place / keys[0])
    try:
        site.collections[name].plain(vector)
    except SettingError as error:
        hint = f"`{keys[1]}` names one; {error.hint}"
        raise (place / keys[bool(vector)]).about(error.message, hint=hint) from error


def _check_known(name: str, known: Mapping[str, object], what: str, place: Place) -> None:
    if name not in known:
        raise place.wrong(name, what, hint=nearest_hint(name, known))
