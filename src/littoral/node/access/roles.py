"""What each request needs, in one table: of HTTP by method and route, of gRPC by method.

A request that stands nowhere here needs `admin`; a test fails for a route that is missing.
"""

from collections.abc import Mapping
from enum import StrEnum

from littoral.web.access.rights import Needed, Rights, read_table

__all__ = ["GRPC_ROLES", "HTTP_ROLES", "RIGHTS", "Role"]


class Role(StrEnum):
    """What a token is good for. `write` includes `read`, `admin` includes all; `steps` is the orchestrator's."""

    READ = "read"
    INFER = "infer"
    WRITE = "write"
    ADMIN = "admin"
    STEPS = "steps"


INCLUDED: Mapping[str, frozenset[str]] = {
    Role.READ: frozenset({Role.READ}),
    Role.INFER: frozenset({Role.INFER}),
    Role.WRITE: frozenset({Role.WRITE, Role.READ}),
    Role.ADMIN: frozenset(Role),
    Role.STEPS: frozenset({Role.STEPS}),
}

_HTTP = """
open       GET    /
read       GET    /aliases
read       GET    /api/agents
admin      GET    /api/audit
admin      GET    /api/audit/checkpoint
admin      GET    /api/audit/consistency
admin      GET    /api/audit/entries
admin      GET    /api/audit/key
admin      GET    /api/audit/proof/{index}
admin      GET    /api/audit/tile/{level}/{number}
admin      GET    /api/audit/verified
admin      GET    /api/audit/witnessed
admin      GET    /api/backup
admin      GET    /api/builds
admin      POST   /api/builds
admin      DELETE /api/builds/{build}
admin      GET    /api/builds/{build}
admin      POST   /api/builds/{build}/add
admin      POST   /api/builds/{build}/cancel
admin      DELETE /api/builds/{build}/feeds
admin      POST   /api/builds/{build}/feeds
admin      POST   /api/builds/{build}/load
admin      POST   /api/builds/{build}/start
read       GET    /api/caches
admin      DELETE /api/caches/{cache}
read       GET    /api/collections
read       GET    /api/collections/{collection}
admin      DELETE /api/collections/{collection}/migration
admin      POST   /api/collections/{collection}/migration
admin      POST   /api/collections/{collection}/migration/back
read       GET    /api/collections/{collection}/map
read       POST   /api/collections/{collection}/recall
admin      POST   /api/compared
read       GET    /api/dashboards
read       GET    /api/dashboards/{name}
admin      GET    /api/doctor
read       GET    /api/events
admin      POST   /api/examined
admin      GET    /api/logs
read       GET    /api/gateway
read       GET    /api/gateway/curve
read       GET    /api/gateway/entries
read       POST   /api/gateway/explain
admin      GET    /api/gateway/export
admin      POST   /api/gateway/import
read       GET    /api/gateway/misses
write      POST   /api/gateway/misses/{miss}
write      POST   /api/gateway/purge
read       GET    /api/mesh
admin      POST   /api/mesh/changes
read,infer GET    /api/models
read,infer GET    /api/models/{name}
admin      DELETE /api/models/{name}
admin      POST   /api/models/{name}/back
read,infer GET    /api/models/{name}/versions
read       GET    /api/mqtt
read,infer GET    /api/node
read,infer GET    /api/pipelines
open       GET    /api/openapi.json
read       GET    /api/placement
open       DELETE /api/session
open       GET    /api/session
open       POST   /api/session
steps      GET    /api/steps
steps      POST   /api/steps
read,infer GET    /api/tenants
read       GET    /api/updates
admin      POST   /api/updates/back
admin      POST   /api/updates/begin-again
admin      POST   /api/updates/from
admin      POST   /api/updates/now
open       GET    /assets/{file}
open       GET    /pages/{page}
read       GET    /cluster
admin      DELETE /cluster/peer/{peer}
admin      POST   /cluster/recover
read       GET    /cluster/telemetry
read       GET    /collections
write      POST   /collections/aliases
write      DELETE /collections/{collection}
read       GET    /collections/{collection}
write      PATCH  /collections/{collection}
write      PUT    /collections/{collection}
read       GET    /collections/{collection}/aliases
read       GET    /collections/{collection}/cluster
admin      POST   /collections/{collection}/cluster
read       GET    /collections/{collection}/exists
read       POST   /collections/{collection}/facet
write      PUT    /collections/{collection}/index
write      DELETE /collections/{collection}/index/{field}
read       GET    /collections/{collection}/optimizations
read       POST   /collections/{collection}/points
write      PUT    /collections/{collection}/points
write      POST   /collections/{collection}/points/batch
read       POST   /collections/{collection}/points/count
write      POST   /collections/{collection}/points/delete
read       POST   /collections/{collection}/points/discover
read       POST   /collections/{collection}/points/discover/batch
write      POST   /collections/{collection}/points/payload
write      PUT    /collections/{collection}/points/payload
write      POST   /collections/{collection}/points/payload/clear
write      POST   /collections/{collection}/points/payload/delete
read       POST   /collections/{collection}/points/query
read       POST   /collections/{collection}/points/query/batch
read       POST   /collections/{collection}/points/query/groups
read       POST   /collections/{collection}/points/recommend
read       POST   /collections/{collection}/points/recommend/batch
read       POST   /collections/{collection}/points/recommend/groups
read       POST   /collections/{collection}/points/scroll
read       POST   /collections/{collection}/points/search
read       POST   /collections/{collection}/points/search/batch
read       POST   /collections/{collection}/points/search/groups
read       POST   /collections/{collection}/points/search/matrix/offsets
read       POST   /collections/{collection}/points/search/matrix/pairs
write      PUT    /collections/{collection}/points/vectors
write      POST   /collections/{collection}/points/vectors/delete
read       GET    /collections/{collection}/points/{id}
read       GET    /collections/{collection}/shards
admin      PUT    /collections/{collection}/shards
admin      POST   /collections/{collection}/shards/delete
admin      GET    /collections/{collection}/shards/{shard}/snapshot
read       GET    /collections/{collection}/shards/{shard}/snapshots
admin      POST   /collections/{collection}/shards/{shard}/snapshots
admin      PUT    /collections/{collection}/shards/{shard}/snapshots/recover
admin      POST   /collections/{collection}/shards/{shard}/snapshots/upload
admin      DELETE /collections/{collection}/shards/{shard}/snapshots/{snapshot}
admin      GET    /collections/{collection}/shards/{shard}/snapshots/{snapshot}
read       GET    /collections/{collection}/snapshots
admin      POST   /collections/{collection}/snapshots
admin      PUT    /collections/{collection}/snapshots/recover
admin      POST   /collections/{collection}/snapshots/upload
admin      DELETE /collections/{collection}/snapshots/{snapshot}
admin      GET    /collections/{collection}/snapshots/{snapshot}
write      DELETE /collections/{collection}/vectors/{vector}
write      PUT    /collections/{collection}/vectors/{vector}
probes     GET    /healthz
admin      DELETE /issues
open       GET    /fleet/v1/image/targets/{file}
read       GET    /issues
probes     GET    /livez
read       GET    /locks
admin      POST   /locks
metrics    GET    /metrics
read,infer GET    /pipelines
infer      POST   /pipelines/{name}
infer      GET    /pipelines/{name}/stream
infer      POST   /pipelines/{name}/stream
read       GET    /quotas
admin      PUT    /quotas
probes     GET    /readyz
read       GET    /snapshots
admin      POST   /snapshots
admin      DELETE /snapshots/{snapshot}
admin      GET    /snapshots/{snapshot}
read       GET    /telemetry
infer      POST   /v1/chat/completions
infer      POST   /v1/completions
infer      POST   /v1/embeddings
infer      POST   /v1/littoral/feedback
read,infer GET    /v1/models
read,infer GET    /v1/models/{model}
read,infer GET    /v2
probes     GET    /v2/health/live
probes     GET    /v2/health/ready
read,infer GET    /v2/models/stats
read,infer GET    /v2/models/{model}
read,infer GET    /v2/models/{model}/config
infer      POST   /v2/models/{model}/infer
read,infer GET    /v2/models/{model}/ready
read,infer GET    /v2/models/{model}/stats
read,infer GET    /v2/models/{model}/versions/{version}
read,infer GET    /v2/models/{model}/versions/{version}/config
infer      POST   /v2/models/{model}/versions/{version}/infer
read,infer GET    /v2/models/{model}/versions/{version}/ready
read,infer GET    /v2/models/{model}/versions/{version}/stats
read,infer POST   /v2/repository/index
admin      POST   /v2/repository/models/{model}/load
admin      POST   /v2/repository/models/{model}/unload
"""

_GRPC = """
probes     ServerLive
probes     ServerReady
read,infer ServerMetadata
read,infer ModelReady
read,infer ModelMetadata
read,infer ModelConfig
read,infer ModelStatistics
infer      ModelInfer
infer      ModelStreamInfer
read,infer RepositoryIndex
admin      RepositoryModelLoad
admin      RepositoryModelUnload
"""


HTTP_ROLES: Mapping[str, Needed] = dict(read_table(_HTTP, list(Role)))
"""By `METHOD /pattern`."""

GRPC_ROLES: Mapping[str, Needed] = dict(read_table(_GRPC, list(Role)))
"""By method of the service."""

RIGHTS = Rights(INCLUDED, HTTP_ROLES, GRPC_ROLES)
"""Of a node."""
