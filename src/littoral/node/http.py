"""Everything that a node answers over HTTP, put together: one protocol after the other.

A tenant's requests go to a router of its own, whose handlers hold nothing but what is the tenant's.
"""

from collections.abc import Callable, Iterator, Sequence

from littoral.node.access.roles import RIGHTS
from littoral.node.audit.api import audit_protocol
from littoral.node.backup.api import backup_protocol
from littoral.node.gateway.api import gateway_protocol
from littoral.node.gateway.telling import gateway_readings
from littoral.node.health import health_protocol
from littoral.node.logs_api import logs_protocol
from littoral.node.mesh_api import mesh_protocol
from littoral.node.mesh_changes_api import mesh_changes_protocol
from littoral.node.migration.api import migrations_protocol
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.oip import Inference, oip_protocol
from littoral.node.openai_api import openai_protocol
from littoral.node.openapi import document
from littoral.node.pages import api_protocol, page_protocol
from littoral.node.pipelines_api import pipelines_protocol
from littoral.node.placement_api import placement_protocol
from littoral.node.qdrant_api import qdrant_protocol
from littoral.node.shown.protocol import shown_protocol
from littoral.node.steps_api import steps_protocol
from littoral.node.streams_api import streams_protocol
from littoral.node.tenancy.api import tenants_protocol
from littoral.node.tenancy.tenant import Tenant
from littoral.node.updates_api import updates_protocol
from littoral.telemetry import Reading
from littoral.web import Hosts, Leave, Origins, Protocol, Request, Route, Router
from littoral.web.access.access import Access
from littoral.web.access.session_api import session_protocol
from littoral.web.openapi import openapi_protocol

__all__ = ["application"]


def application(
    node: Node,
    observed: Observed | None = None,
    inference: Inference | None = None,
    access: Access | None = None,
    *,
    is_secure: bool = False,
) -> Router:
    """A handler for `littoral.web.serving`. observed, inference, access: shared with other servers of the same node.

    access: who may ask for what; None: anybody. is_secure: what it answers goes over TLS.
    """
    observed = observed or Observed(node)
    access = access or Access(None, frozenset(), node.clock, rights=RIGHTS)
    observed.sources.append(access.readings)
    observed.sources.append(lambda: _of_tenants(node))
    inference = inference or Inference(node, observed)
    tenants = _TenantRouters(node, lambda tenant: _router_of(tenant, observed, access, is_secure=is_secure))

    def elsewhere(request: Request) -> Router | None:
        return tenants.of(access.claimed_tenant(request)) if node.tenants else None

    def busy_count() -> int:
        return router.busy_count + tenants.busy_count

    protocols = _protocols(node, observed, inference, access, busy_count, is_secure=is_secure)
    if node.audit is not None:
        protocols = node.audit.protocols(protocols)
        access.watch_tokens(node.audit.tokens_changed)
    router = _router(protocols, node, observed, access.check, elsewhere)
    return router


class _TenantRouters:
    """Of the tenants that are there, each made once: of those that come later, when they first ask."""

    def __init__(self, node: Node, make: Callable[[Tenant], Router]) -> None:
        self._node = node
        self._make = make
        self._made: dict[str, tuple[Tenant, Router]] = {}
        for name in node.tenants:
            self.of(name)

    def of(self, name: str) -> Router | None:
        """None for nobody's."""
        if (tenant := self._node.tenants.get(name)) is None:
            return None
        known = self._made.get(name)
        if known is not None and known[0] is tenant:
            return known[1]
        self._made = {name: made for name, made in self._made.items() if name in self._node.tenants}
        router = self._make(tenant)
        tenant.http_count = lambda: router.busy_count
        self._made[name] = tenant, router
        return router

    @property
    def busy_count(self) -> int:
        return sum(router.busy_count for _, router in self._made.values())


def _of_tenants(node: Node) -> Iterator[Reading]:
    """And of everybody's gateway."""
    for tenant in node.tenants.values():
        yield from tenant.readings()
    for one in (node, *(tenant.node for tenant in node.tenants.values())):
        if one.gateway is not None:
            yield from gateway_readings(one.gateway)


def _router_of(tenant: Tenant, observed: Observed, access: Access, *, is_secure: bool) -> Router:
    """observed: the operator's, who sees that there are requests, and how long they take."""
    node = tenant.node

    def admit(request: Request, route: Route) -> Leave | None:
        if (leave := access.check(request, route, tenant.name)) is not None:
            tenant.rate.take()
        return leave

    protocols = _protocols(
        node, tenant.observed, tenant.inference, access, lambda: router.busy_count, is_secure=is_secure
    )
    if tenant.trail is not None:
        protocols = tenant.trail.protocols(protocols)
    router = _router(protocols, node, observed, admit)
    return router


def _router(
    protocols: Sequence[Protocol],
    node: Node,
    observed: Observed,
    admit: Callable[[Request, Route], Leave | None],
    elsewhere: Callable[[Request], Router | None] = lambda _: None,
) -> Router:
    return Router(
        protocols,
        observe=observed.answered,
        origins=Origins(node.origins),
        hosts=Hosts((node.name, *node.hosts)),
        admit=admit,
        elsewhere=elsewhere,
        spans=None if node.traces is None else node.traces.spans,
        clock=node.clock,
    )


def _protocols(
    node: Node,
    observed: Observed,
    inference: Inference,
    access: Access,
    busy_count: Callable[[], int],
    *,
    is_secure: bool,
) -> list[Protocol]:
    def tells(request: Request) -> bool:
        return access.is_from(request, node.tenant)

    return [
        page_protocol(has_gateway=node.gateway is not None),
        session_protocol(access, is_secure=is_secure),
        openapi_protocol(document),
        api_protocol(node, observed),
        shown_protocol(node),
        tenants_protocol(node),
        logs_protocol(node),
        backup_protocol(node),
        audit_protocol(node),
        mesh_protocol(node),
        migrations_protocol(node),
        placement_protocol(node),
        steps_protocol(node),
        mesh_changes_protocol(node),
        health_protocol(node, observed, busy_count, tells),
        pipelines_protocol(node, observed),
        oip_protocol(inference),
        openai_protocol(node, observed),
        gateway_protocol(node),
        streams_protocol(node, observed),
        updates_protocol(node),
        qdrant_protocol(node),
    ]
