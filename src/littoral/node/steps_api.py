"""`/api/steps`: steps of other sites, for whoever has a token with the role `steps`: the fleet's orchestrator.

The same as over the mesh: only what has the digest that is asked for, within `placement.share` and the power budget.
"""

from littoral.errors import NotFoundError
from littoral.node.node import Node
from littoral.node.placement.placement import Placement
from littoral.steps.door import FRAME, LOADS_TYPE
from littoral.web import Answer, Protocol, Request, Route
from littoral.web.caller import CALLER

__all__ = ["steps_protocol"]


def steps_protocol(node: Node) -> Protocol:
    def placement() -> Placement:
        if node.placement is None:
            raise NotFoundError("this node runs no steps of others", hint="the table `placement` of its site file")
        return node.placement

    async def loads(request: Request) -> Answer:
        return Answer(placement().service.loads(request.body.bytes_max), media_type=LOADS_TYPE)

    async def step(request: Request) -> Answer:
        came_s = node.clock.monotonic()
        service, caller = placement().service, f"http:{CALLER.get().partition('#')[0]}"
        body = await request.body.read()
        return Answer(await service.run(caller, body, came_s, node=node.name), media_type=FRAME)

    return Protocol((), [Route("GET", "/api/steps", loads), Route("POST", "/api/steps", step)])
