"""`GET /api/tenants`: quotas, and what is used of them. A tenant sees itself alone, the operator sees all."""

from littoral.node.node import Node
from littoral.web import Answer, Protocol, Request, Route, json_answer

__all__ = ["tenants_protocol"]


def tenants_protocol(node: Node) -> Protocol:
    """One entry a tenant; none on a node that has no tenants."""

    async def told(_: Request) -> Answer:
        found = [node.itself] if node.itself is not None else node.tenants.values()
        return json_answer([tenant.told() for tenant in found])

    return Protocol((), [Route("GET", "/api/tenants", told)])
