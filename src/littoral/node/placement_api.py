"""`/api/placement`: what the scheduler sees: each step that may move, and what each node would take for it."""

from littoral.node.node import Node
from littoral.web import Answer, Protocol, Request, Route, json_answer

__all__ = ["placement_protocol"]


def placement_protocol(node: Node) -> Protocol:
    """JSON, for `littoral mesh placement` and for people with curl."""

    async def told(_: Request) -> Answer:
        if node.placement is None:
            return json_answer({"steps": None})
        return json_answer(node.placement.told(node.clock.monotonic()))

    return Protocol((), [Route("GET", "/api/placement", told)])
