"""Everything that a node answers over HTTP, put together: one protocol after the other."""

from littoral.node.access.access import Access
from littoral.node.access.session_api import session_protocol
from littoral.node.audit.api import audit_protocol
from littoral.node.backup.api import backup_protocol
from littoral.node.health import health_protocol
from littoral.node.logs_api import logs_protocol
from littoral.node.mesh_api import mesh_protocol
from littoral.node.mesh_changes_api import mesh_changes_protocol
from littoral.node.migration.api import migrations_protocol
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.oip import Inference, oip_protocol
from littoral.node.openai_api import openai_protocol
from littoral.node.openapi import openapi_protocol
from littoral.node.pages import api_protocol, page_protocol
from littoral.node.pipelines_api import pipelines_protocol
from littoral.node.placement_api import placement_protocol
from littoral.node.qdrant_api import qdrant_protocol
from littoral.node.shown.protocol import shown_protocol
from littoral.node.streams_api import streams_protocol
from littoral.web import Hosts, Origins, Router

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
    access = access or Access(None, frozenset(), node.clock)
    observed.sources.append(access.readings)
    inference = inference or Inference(node, observed)
    protocols = [
        page_protocol(),
        session_protocol(access, is_secure=is_secure),
        openapi_protocol(),
        api_protocol(node, observed),
        shown_protocol(node),
        logs_protocol(node),
        backup_protocol(node),
        audit_protocol(node),
        mesh_protocol(node),
        migrations_protocol(node),
        placement_protocol(node),
        mesh_changes_protocol(node),
        health_protocol(node, observed, lambda: router.busy_count),
        pipelines_protocol(node, observed),
        oip_protocol(inference),
        openai_protocol(node, observed),
        streams_protocol(node, observed),
        qdrant_protocol(node),
    ]
    if node.audit is not None:
        protocols = node.audit.protocols(protocols)
        access.watch_tokens(node.audit.tokens_changed)
    router = Router(
        protocols,
        observe=observed.answered,
        origins=Origins(node.origins),
        hosts=Hosts((node.name, *node.hosts)),
        admit=access.check,
        spans=None if node.traces is None else node.traces.spans,
        clock=node.clock,
    )
    return router
