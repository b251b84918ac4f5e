"""`/fleet/v1/steps`: a node of a site that is exhausted asks what the data centre could run, and has a step done."""

from littoral.errors import NotFoundError
from littoral.orchestrator.inference import Inference
from littoral.orchestrator.node_api import NodeSide
from littoral.steps.door import FRAME, LOADS_TYPE
from littoral.web import Answer, Protocol, Request, Route

__all__ = ["steps_protocol"]


def steps_protocol(side: NodeSide, inference: Inference | None) -> Protocol:
    """With the token of an enrolled node alone, as everything that nodes ask."""

    def caller(request: Request) -> tuple[str, str, Inference]:
        """Name, group, and who does it."""
        node = side.caller(request)
        if inference is None:
            raise NotFoundError("this orchestrator takes no steps", hint="the table `inference` of its file")
        group = side.fleet.group_of(node)
        return node.name, "" if group is None else group.name, inference

    async def loads(request: Request) -> Answer:
        _, group, found = caller(request)
        return Answer(await found.loads(group), media_type=LOADS_TYPE)

    async def step(request: Request) -> Answer:
        came_s = side.fleet.clock.monotonic()
        name, group, found = caller(request)
        with found.admitting(name, int(request.headers.get("content-length", "0"))):
            body = await request.body.read()
            found.check_size(len(body))
            return Answer(await found.step(name, group, body, came_s), media_type=FRAME)

    return Protocol((), [Route("GET", "/fleet/v1/steps", loads), Route("POST", "/fleet/v1/steps", step)])
