"""What one site machine runs, as its protocols see it: models, agents, collections, pipelines by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from littoral.artifact.manifest import Manifest
from littoral.clock import SYSTEM, Clock
from littoral.errors import UnavailableError
from littoral.node.caches import Caches
from littoral.node.model_statistics import ModelStatistics
from littoral.node.site_tables import CacheTable
from littoral.runtime.agents import Agent
from littoral.runtime.batching import Batcher
from littoral.runtime.gate import Gate
from littoral.runtime.instance import Session
from littoral.runtime.memory_budget import MemoryBudget
from littoral.runtime.pipeline import Pipeline
from littoral.runtime.pool import Pool
from littoral.vectors.collections import Collections
from littoral.vectors.model_version import ModelVersion

if TYPE_CHECKING:
    from littoral.gateway.order import Gateway
    from littoral.making.builds import Builds
    from littoral.node.audit.trail import Trail
    from littoral.node.federation.federation import Federation
    from littoral.node.migration.migrations import Migrations
    from littoral.node.model_repository import ModelRepository
    from littoral.node.own_pipelines import OwnPipelines
    from littoral.node.placement.placement import Placement
    from littoral.node.request_log import RequestsTold
    from littoral.node.request_rate import Rate
    from littoral.node.sequences import Sequences
    from littoral.node.shown.mqtt import MqttTold
    from littoral.node.site import Site
    from littoral.node.tenancy.tenancy import Tenancy
    from littoral.node.tenancy.tenant import Tenant
    from littoral.node.traces import Traces
    from littoral.node.updates.service import Updates
    from littoral.telemetry import Log
    from littoral.vault import KeyRing

__all__ = [
    "Instances",
    "ModelFile",
    "Node",
    "ServedAgent",
    "ServedModel",
    "ServedPipeline",
    "ServedVersion",
    "StepDescription",
]


class Instances(NamedTuple):
    """How many warm instances a pool keeps, and makes at most."""

    min: int = 1
    max: int = 1


class ModelFile(NamedTuple):
    """A compiled model as it was opened. size_bytes: of the file."""

    manifest: Manifest
    digest: str
    size_bytes: int


@dataclass(frozen=True, eq=False)
class ServedVersion:
    """One version that is open. number: from 1."""

    number: int
    model: ModelFile
    pool: Pool[Session]
    statistics: ModelStatistics = field(default_factory=ModelStatistics)


@dataclass
class ServedModel:
    """serving: the version that answers who asks for none. versions: those that can be asked for, none if unloaded.
    statistics: of all versions since the start. is_shared: others ask it too, of whom nothing is told.

    `ModelRepository` replaces both in place, so that who holds a served model always has the newest.
    """

    name: str
    serving: ServedVersion
    instances: Instances
    versions: Mapping[int, ServedVersion]
    sequences: "Sequences[ServedVersion]"
    statistics: ModelStatistics = field(default_factory=ModelStatistics)
    is_shared: bool = False

    @property
    def model(self) -> ModelFile:
        return self.serving.model

    @property
    def pool(self) -> Pool[Session]:
        return self.serving.pool

    @property
    def is_loaded(self) -> bool:
        return bool(self.versions)


@dataclass
class ServedAgent:
    """`AgentRepository` replaces its pool in place, so that who holds it always has the newest."""

    name: str
    pool: Pool[Agent]
    instances: Instances


class StepDescription(NamedTuple):
    """kind: agent, model, step, search, upsert or for_each. uses: the agent, model, host step or collection it names.

    sources: the steps that it is given something by; `input` is the pipeline's own. digest: of its model.
    """

    name: str
    kind: str
    uses: str
    takes: str
    gives: str
    sources: tuple[str, ...] = ()
    digest: str = ""


@dataclass
class ServedPipeline:
    """As bound to the versions of its models that serve now; replaced in place as they are.

    embeds: the model whose vectors it gives, if it gives tensors that one made.
    """

    name: str
    pipeline: Pipeline
    steps: tuple[StepDescription, ...]
    embeds: ModelVersion | None = None

    def take(self, other: "ServedPipeline") -> None:
        """From now on it is bound as the other one is."""
        self.pipeline, self.steps, self.embeds = other.pipeline, other.steps, other.embeds


@dataclass
class Node:
    """Made by `wiring.open_node`. is_ready: false while it starts, and again when it stops.

    batchers: of the pools of models whose requests are computed together. budget: memory of all instances.
    federation: None without a table `mesh`. placement: None without a table `placement`.
    traces: None where none are recorded. log: of its process, if it has one.
    requests_told: those that have a line in it. site: the site file as it was read. mqtt: what its routes say now.
    keys: of what it seals, if it does. audit: what it tells its audit log, if it keeps one.
    tenants: by name, each with a node of its own, as it sees it; those who are there now. tenancy: by whom they come
    and go; None for a tenant's own.
    itself: in such a node, whose it is. gate, rate: of its inferences and its requests.
    builds: models that are being made here. updates: its part in a fleet, if it is in one.
    gateway: to language models, its own or its tenant's; None where it has none.
    own_pipelines: by which those of its site file come and go; None for a tenant's.
    undelivered: what of its site file waits for the fleet's first deployment.
    """

    name: str
    listen: str
    data: Path
    collections: Collections
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    models: Mapping[str, ServedModel] = field(default_factory=dict)
    agents: Mapping[str, ServedAgent] = field(default_factory=dict)
    pipelines: Mapping[str, ServedPipeline] = field(default_factory=dict)
    repository: "ModelRepository | None" = None
    caches: Caches = field(default_factory=lambda: Caches(CacheTable()))
    batchers: Mapping[Pool[Session], Batcher] = field(default_factory=dict)
    budget: MemoryBudget = field(default_factory=MemoryBudget)
    federation: "Federation | None" = None
    migrations: "Migrations | None" = None
    placement: "Placement | None" = None
    traces: "Traces | None" = None
    log: "Log | None" = None
    requests_told: "RequestsTold" = "failed"
    site: "Site | None" = None
    mqtt: "Callable[[], MqttTold] | None" = None
    keys: "KeyRing | None" = None
    builds: "Builds | None" = None
    audit: "Trail | None" = None
    updates: "Updates | None" = None
    own_pipelines: "OwnPipelines | None" = None
    undelivered: frozenset[str] = frozenset()
    tenants: "Mapping[str, Tenant]" = field(default_factory=dict)
    tenancy: "Tenancy | None" = None
    itself: "Tenant | None" = None
    gate: Gate | None = None
    rate: "Rate | None" = None
    gateway: "Gateway | None" = None
    clock: Clock = SYSTEM
    started_at: float = 0.0
    is_ready: bool = False
    _began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self.clock.monotonic()

    @property
    def uptime_s(self) -> float:
        """Since it was made, whatever the wall clock did meanwhile."""
        return self.clock.monotonic() - self._began_s

    @property
    def tenant(self) -> str:
        """Whose things it knows; '' = the operator's."""
        return "" if self.itself is None else self.itself.name

    def check_delivered(self, name: str) -> None:
        """Raises UnavailableError for a model or pipeline that no deployment has brought yet."""
        if name in self.undelivered:
            raise UnavailableError(
                f"`{name}`: no deployment of the fleet has brought it yet", hint="`littoral update status`"
            )

    def tell_ready(self, *, is_ready: bool, listen: str = "") -> None:
        """From now on it can do its work, or cannot. listen: where it does."""
        for node in (self, *(tenant.node for tenant in self.tenants.values())):
            node.is_ready = is_ready
            node.listen = listen or node.listen
