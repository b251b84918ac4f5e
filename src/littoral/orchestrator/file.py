"""The orchestrator's file: one TOML file says where it listens, where its store and objects are (orchestrator-file.md).

Unknown keys are errors. Secrets do not stand in it: a database's password in its file or socket, keys of object storage
where its library looks for them.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from littoral.errors import NotFoundError, SettingError
from littoral.steps.door import FRAME_BYTES_MAX
from littoral.tables.addresses import Address, is_own_address, parse_address
from littoral.tables.broker import BrokerTable, check_broker
from littoral.tables.exposure import Exposure
from littoral.tables.problems import NAME_PATTERN, Place, nearest_hint
from littoral.tables.serving import AuthTable, BeyondLoopback, TlsTable
from littoral.tables.traces import RequestTraces, check_traces

__all__ = [
    "TABLES",
    "File",
    "InferenceNodeTable",
    "InferenceTable",
    "LimitsTable",
    "ObjectsTable",
    "OrchestratorTable",
    "SignalTable",
    "StoreTable",
    "parse_file",
    "read_file",
]

FILE_BYTES_MAX = 1 << 20

Text = Annotated[str, Meta(min_length=1, max_length=4096)]

_T = TypeVar("_T", bound=msgspec.Struct)


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class OrchestratorTable(_Table, frozen=True):
    """The orchestrator itself."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN, description="Of the fleet, in its audit log and metrics")] = "fleet"
    listen: Annotated[Text, Meta(description="Address and port; port 0 = any free one")] = "127.0.0.1:8680"
    url: Annotated[Text | None, Meta(description="What nodes reach it by; default: as it listens")] = None
    ca: Annotated[
        Text | None, Meta(description="File of PEM: the authority that nodes know it by, beside their machine's own")
    ] = None
    data: Annotated[Text, Meta(description="Folder of keys, audit log, and of store and objects, made if missing")] = (
        "data"
    )
    hosts: Annotated[
        list[Annotated[str, Meta(pattern=r"^[a-zA-Z0-9.-]{1,253}$")]],
        Meta(max_length=256, description="Names, with a dot, that it is asked by"),
    ] = []
    beyond_loopback: Annotated[
        BeyondLoopback, Meta(description="What may be lacking where others than this machine reach it")
    ] = "with token and TLS"
    poll_s: Annotated[float, Meta(ge=1, le=86_400, description="How often nodes check in, in seconds")] = 60.0
    offline_s: Annotated[
        float, Meta(ge=1, le=864_000, description="A node that said nothing for so long is offline, in seconds")
    ] = 180.0


class StoreTable(_Table, frozen=True):
    """Where rows are kept; without this table, in SQLite in the data folder."""

    postgres: Annotated[
        Text, Meta(description="Address of a PostgreSQL database, `postgresql://…` or keywords of libpq")
    ]


class ObjectsTable(_Table, frozen=True):
    """Where artifacts are kept; without this table, in the data folder."""

    url: Annotated[Text, Meta(description="Bucket and prefix of S3-compatible storage, such as `s3://fleet/artifacts`")]
    endpoint: Annotated[Text | None, Meta(description="Address of the storage, where it is not Amazon's")] = None
    region: Annotated[Text, Meta(description="Region")] = "us-east-1"


class SignalTable(BrokerTable, frozen=True):
    """A broker over which nodes hear of a deployment at once, beside their long poll."""

    topic: Annotated[
        str,
        Meta(
            pattern=r"^[^{}+#]{0,200}\{node\}[^{}+#]{0,200}$",
            description="Of a node's signals; `updates.mqtt` of the node is the same with its name for `{node}`",
        ),
    ] = "littoral/fleet/{node}"


class InferenceNodeTable(_Table, frozen=True):
    """A node of the data centre, with the table `placement`, that does steps of sites."""

    url: Annotated[Text, Meta(description="Where it answers, `https://…`; plain HTTP on this machine only")]
    token: Annotated[Text, Meta(description="File of its token with the role `steps`")]
    ca: Annotated[
        Text | None, Meta(description="File of PEM: the authority that it is known by, beside the machine's own")
    ] = None
    groups: Annotated[
        list[Annotated[str, Meta(pattern=NAME_PATTERN)]],
        Meta(max_length=256, description="Groups whose nodes it works for, nobody else's; default: all nodes"),
    ] = []


class InferenceTable(_Table, frozen=True):
    """Steps of sites that are exhausted; without this table none are taken."""

    nodes: Annotated[
        dict[Annotated[str, Meta(pattern=NAME_PATTERN)], InferenceNodeTable],
        Meta(min_length=1, max_length=64, description="Who does them, by name"),
    ]
    body_bytes_max: Annotated[
        int, Meta(ge=1024, le=FRAME_BYTES_MAX, description="Largest frame of tensors, in bytes")
    ] = 8 << 20
    deadline_ms: Annotated[
        int, Meta(ge=10, le=600_000, description="How long one is waited for at most, in milliseconds")
    ] = 10_000
    step_count_max: Annotated[int, Meta(ge=1, le=200, description="Steps under way")] = 32
    node_step_count_max: Annotated[int, Meta(ge=1, le=200, description="Of these, of one node of a site")] = 8
    node_steps_per_s: Annotated[float, Meta(gt=0, le=100_000, description="Of one node of a site, in the mean")] = 50.0


class LimitsTable(_Table, frozen=True):
    """What it takes."""

    body_bytes_max: Annotated[int, Meta(ge=1024, le=1 << 30, description="Largest body, artifacts apart, in bytes")] = (
        16 << 20
    )
    artifact_bytes_max: Annotated[int, Meta(ge=1024, le=1 << 40, description="Largest artifact, in bytes")] = 2 << 30
    connection_count_max: Annotated[int, Meta(ge=16, le=65_536, description="Connections at a time")] = 4096
    signal_count_max: Annotated[int, Meta(ge=1, le=65_536, description="Nodes that wait for a signal at a time")] = 1000
    node_count_max: Annotated[int, Meta(ge=1, le=1_000_000, description="Nodes")] = 10_000
    download_bytes_per_s_max: Annotated[
        Annotated[int, Meta(ge=65_536, le=1 << 40)] | None,
        Meta(description="Bytes a second that go to all nodes together; default: no cap"),
    ] = None
    event_count_max: Annotated[int, Meta(ge=100, le=10_000_000, description="Events that are kept")] = 100_000


TABLES: dict[str, type[_Table]] = {
    "orchestrator": OrchestratorTable,
    "auth": AuthTable,  # type: ignore[dict-item]
    "tls": TlsTable,  # type: ignore[dict-item]
    "store": StoreTable,
    "objects": ObjectsTable,
    "mqtt": SignalTable,  # type: ignore[dict-item]
    "inference": InferenceTable,
    "traces": RequestTraces,  # type: ignore[dict-item]
    "limits": LimitsTable,
}
"""By name, in the order of the reference."""


class File(NamedTuple):
    """What the file says. Paths are relative to its folder."""

    path: Path
    orchestrator: OrchestratorTable
    limits: LimitsTable = LimitsTable()
    auth: AuthTable | None = None
    tls: TlsTable | None = None
    store: StoreTable | None = None
    objects: ObjectsTable | None = None
    mqtt: SignalTable | None = None
    inference: InferenceTable | None = None
    traces: RequestTraces = RequestTraces()

    @property
    def listen(self) -> Address:
        return parse_address(self.orchestrator.listen)

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"

    @property
    def data(self) -> Path:
        return self.path_of(self.orchestrator.data)

    def path_of(self, path: str) -> Path:
        """A path of the file, from where this process is."""
        return self.path.absolute().parent / path

    def listening_at(self, address: Address) -> "File":
        """The same at another address. Raises SettingError for one that others reach and should not."""
        found = self._replace(orchestrator=msgspec.structs.replace(self.orchestrator, listen=str(address)))
        _check_exposure(found, address)
        return found


def read_file(path: Path) -> File:
    """Raises NotFoundError, and SettingError for the first thing that is wrong in it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise NotFoundError(f"orchestrator file `{path}`: {error.strerror}") from error
    return parse_file(data, path)


def parse_file(data: bytes, path: Path) -> File:
    """As `read_file`, from the file's bytes."""
    place = Place(str(path))
    if len(data) > FILE_BYTES_MAX:
        raise place.about(f"over {FILE_BYTES_MAX} bytes")
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise place.about(f"is no TOML: {error}") from error
    for key in tables:
        if key not in TABLES:
            raise SettingError(f"{place / key} is unknown", hint=nearest_hint(key, TABLES))
    found = File(
        path,
        _one(tables.get("orchestrator", {}), OrchestratorTable, place / "orchestrator"),
        _one(tables.get("limits", {}), LimitsTable, place / "limits"),
        _one(tables["auth"], AuthTable, place / "auth") if "auth" in tables else None,
        _one(tables["tls"], TlsTable, place / "tls") if "tls" in tables else None,
        _one(tables["store"], StoreTable, place / "store") if "store" in tables else None,
        _one(tables["objects"], ObjectsTable, place / "objects") if "objects" in tables else None,
        _one(tables["mqtt"], SignalTable, place / "mqtt") if "mqtt" in tables else None,
        _one(tables["inference"], InferenceTable, place / "inference") if "inference" in tables else None,
        _one(tables.get("traces", {}), RequestTraces, place / "traces"),
    )
    check_traces(found.traces, place / "traces")
    if found.mqtt is not None:
        check_broker(found.mqtt, place / "mqtt")
    if found.inference is not None:
        for name, node in found.inference.nodes.items():
            _check_secret(node.url, place / "inference" / "nodes" / name / "url")
    try:
        address = found.listen
    except SettingError as error:
        raise place.about(error.message) from error
    _check_exposure(found, address)
    return found


def _one(value: Any, table: type[_T], place: Place) -> _T:
    try:
        return msgspec.convert(value, table)
    except msgspec.ValidationError as error:
        raise place.refused(error, value, table) from error


def _check_secret(url: str, place: Place) -> None:
    """What goes there are the data of sites, and a token."""
    if not url.startswith("https://") and not is_own_address(url):
        raise place.wrong(url, "`https://…`, or `http://` and an address of this machine")


def _check_exposure(file: File, address: Address) -> None:
    allowed = file.orchestrator.beyond_loopback
    exposure = Exposure(file.auth is not None, file.tls is not None, allowed, "orchestrator")
    if (refusal := exposure.refusal(address.host)) is not None:
        told, hint = refusal
        raise (Place(str(file.path)) / "orchestrator" / "listen").about(f"at `{address}` {told}", hint=hint)
