"""Addresses of a site: its own ports, the broker, the collector of traces."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from littoral.errors import ForbiddenError, LittoralError, UnauthorizedError
from littoral.mqtt.broker import parse_broker
from littoral.node.client import NodeClient
from littoral.node.site import Address, Site, parse_address
from littoral.telemetry.exporting import parse_endpoint
from littoral.telemetry.findings import Finding, Status

__all__ = ["Running", "examine_ports", "examine_services", "running_node"]

WAIT_S = 3.0
ANY_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (told, not bound)

Running = dict[str, dict[str, Any]]
"""What the node that runs says of its collections, by name."""


def running_node(site: Site) -> Running | None:
    """None where no node of this name answers at the site's address; nothing of its collections where it asks for a
    token that is not in `LITTORAL_TOKEN`."""
    if site.listen.port == 0:
        return None
    host = ANY_HOSTS.get(site.listen.host, site.listen.host)
    url = f"{site.scheme}://{f'[{host}]' if ':' in host else host}:{site.listen.port}"
    with contextlib.closing(NodeClient(url, timeout_s=WAIT_S, try_count_max=1)) as client:
        try:
            if client.call("GET", "/api/node")["name"] != site.node.name:
                return None
            return {found["name"]: found for found in client.call("GET", "/api/collections")}
        except (UnauthorizedError, ForbiddenError):
            return {}
        except (LittoralError, KeyError, TypeError):
            return None


def examine_ports(site: Site, *, is_running: bool) -> Iterator[Finding]:
    """Those that the node listens at."""
    wanted = {"http": site.listen}
    if site.node.grpc is not None:
        wanted["grpc"] = parse_address(site.node.grpc)
    for name, address in wanted.items():
        yield _port(name, address, is_running=is_running)


def _port(name: str, address: Address, *, is_running: bool) -> Finding:
    subject = f"{name} {address}"
    if address.port == 0:
        return Finding("port", subject, Status.OK, "any that is free")
    if is_running:
        return Finding("port", subject, Status.OK, "the node answers")
    try:
        family, _, _, _, place = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        socket.create_server(place[:2], family=family).close()
    except OSError as error:
        words = f"cannot be listened at: {error.strerror or error}, and no node of this site answers there"
        return Finding("port", subject, Status.FAIL, words, "end what uses it, or listen at another port")
    return Finding("port", subject, Status.OK, "is free")


def examine_services(site: Site) -> Iterator[Finding]:
    """What the node speaks to beside other nodes."""
    if site.mqtt is not None:
        yield _broker(site)
    if site.telemetry.traces.endpoint is not None:
        yield _collector(site)


def _broker(site: Site) -> Finding:
    assert site.mqtt is not None
    table = site.mqtt
    is_secured, host, port = parse_broker(table.broker)
    subject, hint = f"{host}:{port}", "does it run, and is `mqtt.broker` its address?"
    try:
        context = None
        if is_secured:
            context = ssl.create_default_context(cafile=None if table.ca is None else site.path_of(table.ca))
            if table.certificate is not None:
                key = None if table.key is None else site.path_of(table.key)
                context.load_cert_chain(site.path_of(table.certificate), key)
    except OSError as error:
        words = f"its certificates cannot be read: {error.strerror or error}"
        return Finding("broker", subject, Status.FAIL, words, "`mqtt.ca`, `mqtt.certificate`, `mqtt.key`")
    return _reached("broker", subject, host, port, context, hint)


def _collector(site: Site) -> Finding:
    table = site.telemetry.traces
    assert table.endpoint is not None
    endpoint = parse_endpoint(table.endpoint)
    if find_spec("opentelemetry") is None:
        words = "traces need an extra"
        return Finding("traces", str(endpoint), Status.FAIL, words, 'pip install "littoral[otel]"')
    try:
        ca = None if table.ca is None else site.path_of(table.ca)
        context = ssl.create_default_context(cafile=ca) if endpoint.is_secured else None
    except OSError as error:
        words = f"its certificates cannot be read: {error.strerror or error}"
        return Finding("traces", str(endpoint), Status.FAIL, words, "`telemetry.traces.ca`")
    hint = "does the collector run? Spans that wait are dropped when there are too many"
    return _reached("traces", str(endpoint), endpoint.host, endpoint.port, context, hint, Status.WARN)


def _reached(
    check: str,
    subject: str,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    hint: str,
    otherwise: Status = Status.FAIL,
) -> Finding:
    try:
        with socket.create_connection((host, port), WAIT_S) as connection:
            if context is not None:
                context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLError as error:
        return Finding(check, subject, otherwise, f"TLS fails: {error.reason or error}", "certificates, and the name")
    except OSError as error:
        return Finding(check, subject, otherwise, f"cannot be reached: {error.strerror or error}", hint)
    return Finding(check, subject, Status.OK, "is reached")
