"""Traces of a node, as the table `telemetry.traces` says."""

from contextlib import AbstractContextManager

from littoral.node.site import Site
from littoral.node.site_problems import Place
from littoral.tables import tracing
from littoral.tables.tracing import Traces

__all__ = ["Traces", "open_traces"]


def open_traces(site: Site) -> AbstractContextManager[Traces | None]:
    """As `tracing.open_traces`."""
    resource = {"service.name": "littoral", "service.instance.id": site.node.name}
    if site.mesh is not None:
        resource["service.namespace"] = site.mesh.site
    place = Place(str(site.file)) / "telemetry" / "traces"
    return tracing.open_traces(site.telemetry.traces, place, site.path_of, resource)
