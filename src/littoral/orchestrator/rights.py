"""What each request needs: roles of operators, by method and route.

A request that stands nowhere here needs `publisher`; a test fails for a route that is missing. Nodes show tokens of
their own, which their routes look at themselves: here these are `open`.
"""

from enum import StrEnum

from littoral.web.access.rights import Rights, read_table

__all__ = ["RIGHTS", "Role"]


class Role(StrEnum):
    """What a token is good for: each includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    PUBLISHER = "publisher"


_HTTP = """
open       GET    /
open       GET    /assets/{file}
open       GET    /pages/{page}
open       GET    /livez
open       GET    /readyz
open       GET    /api/openapi.json
open       GET    /api/session
open       POST   /api/session
open       DELETE /api/session
metrics    GET    /metrics
metrics    GET    /federate
viewer     GET    /api/fleet
viewer     GET    /api/fleet/artifacts
publisher  POST   /api/fleet/artifacts
viewer     GET    /api/fleet/artifacts/{kind}/{name}/{version}
publisher  DELETE /api/fleet/artifacts/{kind}/{name}/{version}
viewer     GET    /api/fleet/artifacts/{kind}/{name}/{version}/bytes
viewer     GET    /api/fleet/audit
viewer     GET    /api/fleet/audit/checkpoint
viewer     GET    /api/fleet/audit/key
viewer     GET    /api/fleet/claims
operator   POST   /api/fleet/claims
operator   DELETE /api/fleet/claims/{claim}
viewer     GET    /api/fleet/events
operator   GET    /api/fleet/export
viewer     GET    /api/fleet/groups
viewer     GET    /api/fleet/groups/{group}
operator   PUT    /api/fleet/groups/{group}
operator   DELETE /api/fleet/groups/{group}
viewer     GET    /api/fleet/history
viewer     GET    /api/fleet/inference
viewer     GET    /api/fleet/nodes
viewer     GET    /api/fleet/nodes/{node}
operator   PATCH  /api/fleet/nodes/{node}
operator   DELETE /api/fleet/nodes/{node}
operator   POST   /api/fleet/nodes/{node}/asks
operator   GET    /api/fleet/nodes/{node}/asks/{ask}
viewer     GET    /api/fleet/rollouts
operator   POST   /api/fleet/rollouts
viewer     GET    /api/fleet/rollouts/{rollout}
operator   POST   /api/fleet/rollouts/{rollout}/{act}
viewer     GET    /api/fleet/signing
publisher  POST   /api/fleet/signing/{role}/signatures
viewer     GET    /api/fleet/trust
viewer     GET    /api/fleet/uploads
publisher  POST   /api/fleet/uploads
viewer     GET    /api/fleet/uploads/{upload}
publisher  DELETE /api/fleet/uploads/{upload}
publisher  POST   /api/fleet/uploads/{upload}/feeds
publisher  DELETE /api/fleet/uploads/{upload}/feeds
publisher  POST   /api/fleet/uploads/{upload}/start
publisher  POST   /api/fleet/uploads/{upload}/cancel
open       POST   /fleet/v1/add-checkpoint
open       POST   /fleet/v1/asks/{ask}
open       POST   /fleet/v1/checkin
open       GET    /fleet/v1/director/{node}/metadata/{file}
open       POST   /fleet/v1/enrol
open       GET    /fleet/v1/image/metadata/{file}
open       GET    /fleet/v1/image/targets/{file}
open       POST   /fleet/v1/reports
open       GET    /fleet/v1/signal
open       GET    /fleet/v1/steps
open       POST   /fleet/v1/steps
open       GET    /fleet/v1/witness-key
"""

RIGHTS = Rights(
    {
        Role.VIEWER: frozenset({Role.VIEWER}),
        Role.OPERATOR: frozenset({Role.VIEWER, Role.OPERATOR}),
        Role.PUBLISHER: frozenset(Role),
    },
    dict(read_table(_HTTP, list(Role))),
)
"""Of an orchestrator."""
