"""What the pages beside `/` read below `/api`, and nobody else."""

from littoral.making.builds import Builds
from littoral.node.making.api import build_routes
from littoral.node.node import Node
from littoral.node.shown.caches import cache_routes
from littoral.node.shown.collections import collection_routes
from littoral.node.shown.doctor import Doctor
from littoral.node.shown.gateway import gateway_routes
from littoral.node.shown.models import model_routes
from littoral.node.shown.mqtt import mqtt_route
from littoral.web import Answer, Protocol, Request, Route, json_answer

__all__ = ["shown_protocol"]


def shown_protocol(node: Node) -> Protocol:
    """JSON twins of the pages."""
    doctor = Doctor(node)

    async def look(_: Request) -> Answer:
        return json_answer(await doctor.look())

    routes = [
        Route("GET", "/api/doctor", look),
        *cache_routes(node),
        mqtt_route(node),
        *gateway_routes(node),
        *model_routes(node),
        *build_routes(node, node.builds or Builds(node.data / "builds")),
        *collection_routes(node),
    ]
    return Protocol((), routes)
